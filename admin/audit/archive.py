"""P6: every segment is there, unchanged and locked, and its rows are the invoices' rows one to one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from admin.audit.check import Check, Sources
from admin.audit.walk import BatchView, Page
from core.storage.pieces import pieces
from core.storage.ports import ObjectMissing, Segment

LOCKS_AT_ONCE: Final = 16
COMPARED: Final = (  # columns of a segment and of the invoices' rows that must agree
    "number",
    "seller_key",
    "request_id",
    "kind",
    "color",
    "issued_at",
    "net_total_minor",
    "tax_total_minor",
    "gross_total_minor",
    "buyer_tax_id",
    "body_sha256",
    "batch_id",
    "batch_position",
)
DANGLING: Final = (
    "SELECT b.batch_id, b.segment_id FROM batches b LEFT JOIN archive_segments s ON s.segment_id = b.segment_id"
    " WHERE b.segment_id IS NOT NULL AND s.segment_id IS NULL ORDER BY b.batch_id"
)


class SegmentsCheck(Check):
    """Objects exist with the recorded size and SHA-256; batches tile them; their rows equal the database's."""

    name = "segments match the database"
    promise = "P6"

    def page(self, page: Page) -> None:
        """Compares the batches of a page with the rows of their segment."""
        if page.segment is None:
            return
        for problem in page.problems:
            self.report.add(f"segment {page.segment.segment_id}", problem)
        for view in page.views:
            self._look(view)

    def _look(self, view: BatchView) -> None:
        """Compares one batch with its rows in the segment."""
        batch, subject = view.batch, f"batch {view.batch.batch_id}"
        if batch.block is not None:
            self.report.add(subject, "has a segment and still a block")
        rows = [row for row in view.rows if row is not None]
        if view.columns is None or len(rows) != len(view.columns):
            return  # the checks of batches and bodies say so
        self.report.examined += len(rows)
        compared = (row[: len(COMPARED)] for row in rows)  # a segment has no blue number but in the body
        for name, stored in zip(COMPARED, zip(*compared, strict=True), strict=True):
            archived: Sequence[Any] = getattr(view.columns, name)
            if archived != list(stored):
                at = next(place for place, value in enumerate(stored) if archived[place] != value)
                self.report.add(f"invoice {rows[at].number}", f"its {name} in the segment is not that of its row")

    async def finish(self, sources: Sources) -> None:
        """Looks for batches of segments that do not exist."""
        for batch_id, segment_id in await sources.snapshot.rows(DANGLING + " LIMIT 1000"):
            self.report.add(f"batch {batch_id}", f"its segment {segment_id} is not recorded")


class LocksCheck(Check):
    """Every segment's object is under a retention lock at least as long as recorded; orphans are noted."""

    name = "segments are locked"
    promise = "P6"

    async def finish(self, sources: Sources) -> None:
        """Asks the object store about every segment, some at once; then walks its keys beside the recorded ones."""
        waiting: list[Segment] = []
        async for segment in sources.snapshot.segments():
            waiting.append(segment)
            if len(waiting) == LOCKS_AT_ONCE:
                await self._look(sources, waiting)
                waiting = []
        await self._look(sources, waiting)
        await self._note_orphans(sources)

    async def _look(self, sources: Sources, segments: Sequence[Segment]) -> None:
        """Checks the locks of some segments at once."""
        asked = (sources.objects.retained_until_us(segment.object_key) for segment in segments)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for segment, answer in zip(segments, answers, strict=True):
            self.report.examined += 1
            if isinstance(answer, ObjectMissing):
                continue  # the segments check says so
            if isinstance(answer, BaseException):
                raise answer
            if answer < segment.retain_until_us:
                what = "has no retention lock" if not answer else "its retention lock ends too early"
                self.report.add(f"segment {segment.segment_id}", what)

    async def _note_orphans(self, sources: Sources) -> None:
        """Counts objects that no row points at: stored by a worker that died before it could record them. Harmless."""
        recorded = sources.snapshot.segments(order="object_key")
        current = await anext(recorded, None)
        orphans: list[str] = []
        async for key in sources.objects.keys("segments/"):
            while current is not None and current.object_key < key:
                current = await anext(recorded, None)
            if current is None or current.object_key != key:
                orphans.append(key)
        unknown = 0
        for some in pieces(orphans, 1_000):
            places = ",".join(["%s"] * len(some))
            sql = f"SELECT COUNT(*) FROM archive_segments WHERE object_key IN ({places})"  # noqa: S608 -- placeholders
            since = await sources.primary.rows(sql, some)  # recorded since the snapshot was taken
            unknown += len(some) - since[0][0]
        if unknown:
            why = "left by a worker that died, or written after what a restore went back to"
            self.report.notes.append(f"{unknown} stored objects belong to no segment ({why})")

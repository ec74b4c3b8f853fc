"""P4, P6: what is kept as a document belongs to an issued invoice, is locked, and says what was issued."""

from __future__ import annotations

import asyncio
import heapq
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from admin.audit.check import Check, Sources
from admin.audit.renderings import Likeness, Renderings
from core import limits
from core.documents.formats import FORMATS
from core.settings import SettingsError
from core.storage.bodies import Bodies, BodyCorrupt
from core.storage.pieces import pieces
from core.storage.ports import ObjectMissing
from core.storage.segment_reader import SegmentReader

PREFIX: Final = "documents/"
KEY: Final = re.compile(rf"documents/([a-z0-9]+)/([1-9][0-9]*)/([0-9]{{{limits.NUMBER_CHARS}}})\.([a-z.]+)", re.ASCII)
KEYS_AT_ONCE: Final = 1_000
LOCKS_AT_ONCE: Final = 16
READS_AT_ONCE: Final = 16


class DocumentsCheck(Check):
    """Every document's key names a format there is and an issued invoice; a sample of them is there and locked.

    Those of the newest invoices are rendered again and must be the same bytes, `Sources.documents` of them at most.
    Older versions are not compared, and where other keys sign now the signature is looked at instead.
    """

    name = "documents belong to invoices"
    promise = "P4"

    def __init__(self) -> None:
        super().__init__()
        self._newest: list[tuple[int, str, str, str]] = []  # a heap: issue time, key, format, number
        self._older_versions = 0

    async def finish(self, sources: Sources) -> None:
        """Walks the kept documents, some at once. 1 round trip to the primary for every 1,000 of them.

        2 to the primary and 1 or 2 to the object store for every document that is rendered again.
        """
        waiting: list[str] = []
        async for key in sources.objects.keys(PREFIX):
            waiting.append(key)
            if len(waiting) == KEYS_AT_ONCE:
                await self._look(sources, waiting)
                waiting = []
        await self._look(sources, waiting)
        await self._compare(sources)

    async def _look(self, sources: Sources, keys: Sequence[str]) -> None:
        """Checks some documents, and notes those worth rendering."""
        self.report.examined += len(keys)
        matches: dict[str, re.Match[str]] = {}
        for key in keys:
            match = KEY.fullmatch(key)
            made = FORMATS.get(match[1]) if match else None
            if match is None or made is None or match[4] != made.extension:
                self.report.add(f"object {key}", "is no document of a format there is")
            elif int(match[2]) > made.version:
                self.report.add(f"object {key}", "is of a version that there is not yet")
            else:
                matches[key] = match
        if not matches:
            return
        asked = sorted({match[3] for match in matches.values()})
        places = ",".join(["%s"] * len(asked))
        sql = f"SELECT number, issued_at_us FROM invoices WHERE number IN ({places})"  # noqa: S608 -- placeholders
        known = dict(await sources.primary.rows(sql, asked))
        for key, match in matches.items():
            if match[3] not in known:
                self.report.add(f"object {key}", "is the document of no invoice")
            elif int(match[2]) < FORMATS[match[1]].version:
                self._older_versions += 1
            elif sources.documents:
                candidate = (known[match[3]], key, match[1], match[3])
                room = len(self._newest) < sources.documents
                (heapq.heappush if room else heapq.heappushpop)(self._newest, candidate)
        sample = list(matches)[:: max(1, len(matches) // LOCKS_AT_ONCE)]
        await asyncio.gather(*(self._look_at_object(sources, key) for key in sample))

    async def _look_at_object(self, sources: Sources, key: str) -> None:
        if not await sources.objects.size(key):
            self.report.add(f"object {key}", "is empty")
        if not await sources.objects.retained_until_us(key):
            self.report.add(f"object {key}", "has no retention lock")

    async def _compare(self, sources: Sources) -> None:
        """Renders the newest documents again."""
        if self._older_versions:
            self.report.notes.append(f"{self._older_versions} of older versions were not rendered again")
        if not self._newest:
            return
        try:
            renderings = await asyncio.to_thread(Renderings, sources.rendering)
        except (OSError, SettingsError) as error:
            self.report.notes.append(f"nothing was rendered again, the keys cannot be opened here: {error}")
            return
        bodies = Bodies(
            batch=sources.reader.batch,
            segment=sources.reader.segment,
            archived=SegmentReader(objects=sources.objects).read_body,
        )
        seen: Counter[Likeness] = Counter()
        for some in pieces(self._newest, READS_AT_ONCE):
            rows = await sources.reader.by_number([number for *_, number in some])
            for _, key, format_name, number in some:
                try:
                    kept = await sources.objects.read(key, start=0, length=limits.DOCUMENT_BYTES_MAX)
                    body = await bodies.read(rows[number])
                    likeness = await asyncio.to_thread(renderings.compare, format_name, body, kept)
                except ObjectMissing:
                    continue  # told of those in the sample; an empty object has no bytes to read
                except (BodyCorrupt, OSError, ValueError) as error:
                    self.report.notes.append(f"object {key}: cannot be rendered here: {error}")
                    continue
                seen[likeness] += 1
                if likeness is Likeness.DIFFERENT:
                    self.report.add(f"object {key}", "is not what is rendered of its invoice")
        self.report.notes.append(f"{seen.total()} were rendered again")
        for likeness in (Likeness.UNSIGNED, Likeness.OTHER_KEY):
            if seen[likeness]:
                self.report.notes.append(f"{seen[likeness]} of them are {likeness.value}")

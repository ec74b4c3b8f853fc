"""The one walk over everything issued: batch by batch, bodies from blocks or segments beside the invoices' rows."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from admin.audit.snapshot import Row, Snapshot, chunks
from core.domain.body import NUMBER_TAG, time_part
from core.limits import SEGMENT_READ_BYTES_MAX
from core.storage import block, segments
from core.storage.block import BlockCorrupt
from core.storage.ports import BatchRow, ObjectMissing, ObjectStore, Segment
from core.storage.segments import Columns, SegmentCorrupt

READ_BYTES: Final = 8 * 1024 * 1024  # of an object at once


@dataclass(slots=True)
class BatchView:
    """A batch with all that is known of it. `problem` says why there are no bodies; rows may be missing (None)."""

    batch: BatchRow
    numbers: list[str]
    rows: list[Row | None]
    bodies: list[bytes] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    columns: Columns | None = None  # what its segment says, when it lies in one
    problem: str = ""


@dataclass(slots=True)
class Page:
    """Some batches. `segment` is where they lie, None: in the database. `problems` are those of the whole segment."""

    views: list[BatchView]
    segment: Segment | None = None
    problems: list[str] = field(default_factory=list)
    ends_segment: bool = False


async def walk(snapshot: Snapshot, objects: ObjectStore) -> AsyncIterator[Page]:
    """Walks everything: first what waits in the database, then segment by segment.

    Memory: some thousand invoices and the bytes of one segment. Raises BillowError(STORAGE_UNAVAILABLE).
    """
    async for batches in snapshot.waiting_batches():
        yield Page(views=[_from_block(view) for view in await _views(snapshot, batches)])
    async for segment in snapshot.segments():
        async for page in _walk_segment(snapshot, objects, segment):
            yield page


async def _views(snapshot: Snapshot, batches: Sequence[BatchRow]) -> list[BatchView]:
    """Reads the invoices' rows of some batches."""
    found = await snapshot.invoices([run for batch in batches for run in batch.runs])
    views = []
    for batch in batches:
        numbers = block.numbers(batch.runs)
        views.append(BatchView(batch=batch, numbers=numbers, rows=[found.get(number) for number in numbers]))
    return views


def _from_block(view: BatchView) -> BatchView:
    """Fills in the bodies of a batch that waits in the database."""
    if view.batch.block is None:
        view.problem = "has neither a block nor a segment"
        return view
    try:
        unpacked = block.unpack(view.batch.block)
    except BlockCorrupt as error:
        view.problem = str(error)
        return view
    head = time_part(view.batch.issued_at_us) + NUMBER_TAG
    view.request_ids = unpacked.request_ids
    view.bodies = [
        prepared + head + number.encode() for prepared, number in zip(unpacked.bodies, view.numbers, strict=False)
    ]
    return view


async def _walk_segment(snapshot: Snapshot, objects: ObjectStore, segment: Segment) -> AsyncIterator[Page]:
    """Walks one segment; its last page carries what is wrong with the whole of it."""
    batches = await snapshot.segment_batches(segment.segment_id)
    data, problems = await _fetch(objects, segment)
    problems += _tiling(segment, batches)
    reader = _Rows(data)
    for chunk in chunks(batches):
        views = await _views(snapshot, chunk)
        for view in views:
            columns = reader.take(view.batch.items)
            if columns is None or len(columns) != view.batch.items:
                view.problem = f"segment {segment.segment_id} does not hold its rows"
                continue
            view.columns, view.bodies, view.request_ids = columns, columns.body, columns.request_id
        yield Page(views=views, segment=segment)
    if data is not None and not reader.at_end():
        problems.append("has more rows than its batches")
    if reader.problem:
        problems.append(reader.problem)
    yield Page(views=[], segment=segment, problems=problems, ends_segment=True)


async def _fetch(objects: ObjectStore, segment: Segment) -> tuple[bytes | None, list[str]]:
    """Reads a segment's object; returns None and why when that is impossible."""
    size = await objects.size(segment.object_key)
    if size is None:
        return None, [f"object {segment.object_key} is missing"]
    if size > SEGMENT_READ_BYTES_MAX:
        return None, [f"object has {size} bytes, more than a segment can have"]
    parts = bytearray()
    try:
        while len(parts) < size:
            parts += await objects.read(segment.object_key, start=len(parts), length=READ_BYTES)
    except ObjectMissing:
        return None, [f"object {segment.object_key} is missing"]
    data = bytes(parts)
    problems = []
    if size != segment.size_bytes:
        problems.append(f"object has {size} bytes, recorded are {segment.size_bytes}")
    if hashlib.sha256(data).digest() != segment.sha256:
        problems.append("the object's SHA-256 is not the one recorded")
    return data, problems


def _tiling(segment: Segment, batches: Sequence[BatchRow]) -> list[str]:
    """Checks that the batches cover the segment's rows without gap or overlap."""
    problems = []
    row = 0
    for batch in batches:
        if batch.segment_row != row:
            problems.append(f"batch {batch.batch_id} begins at row {batch.segment_row}, not {row}")
        row = (batch.segment_row or 0) + batch.items
    if row != segment.invoices:
        problems.append(f"its batches have {row} rows, recorded are {segment.invoices}")
    return problems


class _Rows:
    """Takes a segment's rows in order, however they are grouped in the file."""

    def __init__(self, data: bytes | None) -> None:
        self.problem = ""
        self._groups: Iterator[Columns] = iter(()) if data is None else segments.rows(data)
        self._buffer = Columns()
        self._start = 0

    def take(self, count: int) -> Columns | None:
        """Returns the next `count` rows, fewer at the end, or None when the file cannot be read."""
        while not self.problem and len(self._buffer) - self._start < count:
            group = self._next()
            if group is None:
                break
            self._buffer = self._buffer.slice(self._start, len(self._buffer))
            self._start = 0
            self._buffer.extend(group)
        if self.problem:
            return None
        taken = self._buffer.slice(self._start, self._start + count)
        self._start += len(taken)
        return taken

    def at_end(self) -> bool:
        """Tells whether every row was taken."""
        return self._start == len(self._buffer) and (bool(self.problem) or self._next() is None)

    def _next(self) -> Columns | None:
        """Reads the next row group."""
        try:
            return next(self._groups, None)
        except SegmentCorrupt as error:
            self.problem = str(error)
            return None

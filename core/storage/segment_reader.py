"""Reads one body out of a segment in the object store, by ranges: the footer once, then one column chunk a body."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from core.storage.ports import ObjectStore, Segment
from core.storage.segments import BODY_COLUMN, SegmentCorrupt, check_format, open_parquet

FOOTER_GUESS_BYTES: Final = 64 * 1024  # holds the footer of 20 row groups and more; a longer one costs a second read
TRAILER_BYTES: Final = 8  # length of the footer, "PAR1"
FOOTERS_MAX: Final = 64  # remembered footers, some 10 to 100 KiB each


class SegmentReader:
    """Reads bodies for the server. Remembers the footers of the segments used last."""

    def __init__(self, *, objects: ObjectStore) -> None:
        self._objects = objects
        self._footers: OrderedDict[int, pq.FileMetaData] = OrderedDict()

    async def read_body(self, segment: Segment, row: int) -> bytes:
        """Returns the canonical body in row `row` of a segment.

        1 round trip to the object store when the segment's footer is remembered, else 2 (3 for a very long footer).
        Raises BillowError(STORAGE_UNAVAILABLE), ObjectMissing, SegmentCorrupt. The caller compares the digest.
        """
        footer = self._footers.get(segment.segment_id)
        if footer is None:
            footer = await self._read_footer(segment)
            self._footers[segment.segment_id] = footer
            if len(self._footers) > FOOTERS_MAX:
                self._footers.popitem(last=False)
        else:
            self._footers.move_to_end(segment.segment_id)
        group, offset = _locate(footer, row)
        chunk = footer.row_group(group).column(BODY_COLUMN)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        data = await self._objects.read(segment.object_key, start=start, length=chunk.total_compressed_size)
        window = _Window(data=data, start=start, size=segment.size_bytes)
        return await asyncio.to_thread(_decode, window, footer, group, offset)

    async def _read_footer(self, segment: Segment) -> pq.FileMetaData:
        """Reads and parses a footer; 1 round trip, 2 when it is longer than guessed."""
        tail = await self._tail(segment, FOOTER_GUESS_BYTES)
        needed = int.from_bytes(tail[-TRAILER_BYTES:-4], "little") + TRAILER_BYTES
        if len(tail) < min(needed, segment.size_bytes):
            tail = await self._tail(segment, needed)
        try:
            footer = await asyncio.to_thread(pq.read_metadata, pa.BufferReader(tail))
        except (pa.ArrowException, OSError) as error:
            raise SegmentCorrupt(f"{segment.object_key}: {error}") from error
        check_format(footer)
        return footer

    async def _tail(self, segment: Segment, length: int) -> bytes:
        """Reads the last bytes of a segment."""
        start = max(0, segment.size_bytes - length)
        return await self._objects.read(segment.object_key, start=start, length=segment.size_bytes - start)


class _Window(io.RawIOBase):
    """A file of which only one range is there. Reading beside it is an error, not an end of file."""

    def __init__(self, *, data: bytes, start: int, size: int) -> None:
        self._data = data
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        begin = self._position - self._start
        end = begin + size
        if size < 0 or begin < 0 or end > len(self._data):
            raise SegmentCorrupt(f"bytes {self._position} to {self._position + size} were not fetched")
        self._position += size
        return self._data[begin:end]


def _locate(footer: pq.FileMetaData, row: int) -> tuple[int, int]:
    """Returns the row group of a row and its place in it."""
    offset = row
    for group in range(footer.num_row_groups):
        count = footer.row_group(group).num_rows
        if 0 <= offset < count:
            return group, offset
        offset -= count
    raise SegmentCorrupt(f"row {row} of a segment of {footer.num_rows}")


def _decode(window: _Window, footer: pq.FileMetaData, group: int, offset: int) -> bytes:
    """Decodes one body from its column chunk; blocks for a few milliseconds."""
    try:
        table = open_parquet(window, footer).read_row_group(group, columns=["body"], use_threads=False)
        return bytes(table.column(0)[offset].as_py())
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SegmentCorrupt(f"a body cannot be read: {error}") from error

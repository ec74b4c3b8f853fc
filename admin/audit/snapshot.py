# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""The database as it was at one moment, read in pages ordered by key, so that ten million invoices need little memory.

One connection holds a consistent snapshot (REPEATABLE READ) for the whole audit: issuing and archiving go on beside it
and are not seen, so nothing half-finished is taken for a fault.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import aiomysql

from core.limits import CLAIM_FETCH_INVOICES_MAX, READ_RUNS_MAX
from core.storage.block import Run, merged, unpack_runs
from core.storage.mysql.pool import Primary, rows
from core.storage.pieces import pieces
from core.storage.ports import BatchRow, Segment

PAGE_ROWS: Final = 1_000


class Row(NamedTuple):
    """An invoice's row; columns as in the table."""

    number: str
    seller_key: int
    request_id: str
    kind: int
    color: int
    issued_at_us: int
    net_total_minor: int
    tax_total_minor: int
    gross_total_minor: int
    buyer_tax_id: str
    body_sha256: bytes
    batch_id: int
    batch_position: int
    blue_number: str


INVOICE_COLUMNS: Final = (
    "number, seller_key, CONVERT(request_id USING latin1), kind, color, issued_at_us,"
    " net_total_minor, tax_total_minor, gross_total_minor, COALESCE(buyer_tax_id, ''), body_sha256,"
    " batch_id, batch_position, COALESCE(blue_number, '')"
)


class NumberRange(NamedTuple):
    """A number range's row."""

    range_id: int
    seller_key: int
    kind: int
    first_number: str
    last_number: str
    size: int
    used: int
    color: int


class Snapshot:
    """Reads from the snapshot. One reader at a time: it is one connection."""

    def __init__(self, connection: aiomysql.Connection) -> None:
        self._connection = connection

    async def rows(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs one statement; 1 round trip."""
        return await rows(self._connection, sql, arguments)

    async def value(self, sql: str, arguments: Sequence[Any] = ()) -> Any:
        """Runs a statement that returns one value."""
        return (await self.rows(sql, arguments))[0][0]

    async def waiting_batches(self) -> AsyncIterator[list[BatchRow]]:
        """Pages the batches not archived, with blocks, some thousand invoices a page."""
        async for page in self._batch_heads("segment_id IS NULL", ()):
            for chunk in chunks(page):
                found = await self.rows(
                    "SELECT batch_id, block FROM batches"
                    f" WHERE batch_id IN ({','.join(str(batch.batch_id) for batch in chunk)})"
                )
                blocks = dict(found)
                yield [_with_block(batch, blocks[batch.batch_id]) for batch in chunk]

    async def segment_batches(self, segment_id: int) -> list[BatchRow]:
        """Reads the batches of a segment in row order; a block that is still there is given as empty bytes."""
        found = [batch async for page in self._batch_heads("segment_id = %s", (segment_id,)) for batch in page]
        return sorted(found, key=lambda batch: (batch.segment_row or 0, batch.batch_id))

    async def _batch_heads(self, condition: str, arguments: tuple[Any, ...]) -> AsyncIterator[list[BatchRow]]:
        """Pages batches by id without their blocks."""
        after = 0
        while True:
            found = await self.rows(
                "SELECT batch_id, issued_at_us, items, runs, IF(block IS NULL, NULL, ''), segment_id, segment_row"
                f" FROM batches WHERE {condition} AND batch_id > %s ORDER BY batch_id LIMIT {PAGE_ROWS}",
                (*arguments, after),
            )
            if not found:
                return
            after = found[-1][0]
            yield [
                BatchRow(row[0], row[1], row[2], unpack_runs(row[3]), None if row[4] is None else b"", row[5], row[6])
                for row in found
            ]

    async def segments(self, order: str = "segment_id") -> AsyncIterator[Segment]:
        """Walks the segments by id, or by `object_key`."""
        after: int | str = 0 if order == "segment_id" else ""
        while True:
            found = await self.rows(
                "SELECT segment_id, object_key, sha256, size_bytes, invoices, created_at_us, retain_until_us"
                f" FROM archive_segments WHERE {order} > %s ORDER BY {order} LIMIT {PAGE_ROWS}",
                (after,),
            )
            if not found:
                return
            after = found[-1][0 if order == "segment_id" else 1]
            for row in found:
                yield Segment(*row)

    async def ranges(self) -> AsyncIterator[NumberRange]:
        """Walks the number ranges by their first number."""
        after = ""
        while True:
            found = await self.rows(
                "SELECT range_id, seller_key, kind, first_number, last_number, size, used, color FROM number_ranges"
                f" WHERE first_number > %s ORDER BY first_number LIMIT {PAGE_ROWS}",
                (after,),
            )
            if not found:
                return
            after = found[-1][3]
            for row in found:
                yield NumberRange(*row)

    async def invoices(self, runs: Sequence[Run]) -> dict[str, Row]:
        """Reads the invoices that these runs name, by number."""
        found: dict[str, Row] = {}
        for some in pieces(merged(runs), READ_RUNS_MAX):
            condition = " OR ".join(["number BETWEEN %s AND %s"] * len(some))
            arguments = [f"{bound:020d}" for run in some for bound in run]
            rows_found = await self.rows(f"SELECT {INVOICE_COLUMNS} FROM invoices WHERE {condition}", arguments)
            found |= {row[0]: Row._make(row) for row in rows_found}
        return found


def _with_block(batch: BatchRow, block: bytes | None) -> BatchRow:
    """The batch with its block."""
    return BatchRow(batch.batch_id, batch.issued_at_us, batch.items, batch.runs, block, None, None)


def chunks(batches: Sequence[BatchRow]) -> Iterator[list[BatchRow]]:
    """Cuts batches into pieces of at most some thousand invoices, or one batch."""
    chunk: list[BatchRow] = []
    invoices = 0
    for batch in batches:
        if chunk and invoices + batch.items > CLAIM_FETCH_INVOICES_MAX:
            yield chunk
            chunk, invoices = [], 0
        chunk.append(batch)
        invoices += batch.items
    if chunk:
        yield chunk


@asynccontextmanager
async def open_snapshot(primary: Primary) -> AsyncIterator[Snapshot]:
    """Opens a snapshot of now."""
    async with primary.connection() as connection:
        await rows(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await rows(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        yield Snapshot(connection)
        await connection.rollback()

# ruff: noqa: S608 -- what is put into SQL text here is constants, placeholders and integers formatted as integers
"""The outbox on MySQL: `batches` rows without a segment, leased to workers.

Batch ids do not grow in commit order, so a worker claims what is free instead of following a position. FOR UPDATE
SKIP LOCKED lets workers claim side by side; the lease is the truth about who has what. A lease that ran out is free
for the next claim, so nobody has to look for the dead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiomysql
import zstandard

from core.limits import CASES_MAX, CLAIM_FETCH_INVOICES_MAX
from core.storage.block import unpack_runs
from core.storage.mysql.pool import Primary, rows
from core.storage.pieces import pieces
from core.storage.ports import BatchRow, Claim, LeaseLost, PackedSegment

NOW_US = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
MS = 1_000  # microseconds

Free = tuple[int, int]  # batch_id, items


class MySQLOutboxStore:
    """The OutboxStore of core/storage/ports.py. `primary` is asked for the present primary before every use."""

    def __init__(self, *, primary: Callable[[], Primary]) -> None:
        self._primary = primary

    async def claim(self, wanted: Claim) -> list[BatchRow]:
        """Leases free batches; see the port."""
        leased = await self._lease(wanted)
        kept: list[BatchRow] = []
        bytes_left = wanted.bytes_max
        for chunk in _chunks(leased):
            if bytes_left <= 0:
                break
            for batch in await self._read(chunk):
                if kept and bytes_left <= 0:
                    break
                kept.append(batch)
                bytes_left -= zstandard.frame_content_size(batch.block or b"")
        surplus = [batch_id for batch_id, _ in leased[len(kept) :]]
        if surplus:
            await self.release(owner=wanted.owner, batch_ids=surplus)
        return kept

    async def _lease(self, wanted: Claim) -> list[Free]:
        """Picks and leases free batches in one transaction; 2 round trips, or 4 when it leases any."""
        async with self._transaction() as connection:
            found = await rows(
                connection,
                f"SELECT batch_id, items, issued_at_us <= {NOW_US} - %s OR issued_at_us > {NOW_US} + %s FROM batches"
                f" WHERE segment_id IS NULL AND (lease_until_us <= {NOW_US} OR lease_until_us > {NOW_US} + %s)"
                " ORDER BY batch_id LIMIT %s FOR UPDATE SKIP LOCKED",
                (wanted.age_min_ms * MS, wanted.age_min_ms * MS, wanted.lease_max_ms * MS, wanted.batches_max),
            )
            picked = _pick([(row[0], row[1]) for row in found], wanted.invoices_max)
            full = len(picked) < len(found) or len(found) == wanted.batches_max
            full = full or sum(items for _, items in picked) >= wanted.invoices_max
            if not (full or any(row[2] for row in found)):
                return []
            await _execute(
                connection,
                f"UPDATE batches SET lease_owner = %s, lease_until_us = {NOW_US} + %s"
                f" WHERE batch_id IN ({_integers(batch_id for batch_id, _ in picked)})",
                (wanted.owner, wanted.lease_ms * MS),
            )
        return picked

    async def _read(self, leased: Sequence[Free]) -> list[BatchRow]:
        """Reads leased batches with their blocks, in order; 1 round trip."""
        found = await self._primary().rows(
            "SELECT batch_id, issued_at_us, items, runs, block FROM batches"
            f" WHERE batch_id IN ({_integers(batch_id for batch_id, _ in leased)}) ORDER BY batch_id"
        )
        return [BatchRow(row[0], row[1], row[2], unpack_runs(row[3]), row[4], None, None) for row in found]

    async def release(self, *, owner: str, batch_ids: Sequence[int] | None = None) -> int:
        """Gives leases back; see the port."""
        if batch_ids is not None and not batch_ids:
            return 0
        only = "" if batch_ids is None else f" AND batch_id IN ({_integers(batch_ids)})"
        released = await self._primary().write(
            "UPDATE batches SET lease_owner = NULL, lease_until_us = 0"
            f" WHERE segment_id IS NULL AND lease_owner = %s{only}",
            (owner,),
        )
        return released.rows

    async def archive(self, *, owner: str, packed: PackedSegment, now_us: int) -> int:
        """Records the segment; see the port."""
        async with self._transaction() as connection:
            segment_id = await self._insert_segment(connection, packed, now_us)
            first_row = moved = 0
            for some in pieces(packed.batches, CASES_MAX):
                cases = []
                for batch in some:
                    cases.append(f"WHEN {batch.batch_id:d} THEN {first_row:d}")
                    first_row += batch.items
                moved += await _execute(
                    connection,
                    "UPDATE batches SET segment_id = %s, block = NULL, lease_owner = NULL, lease_until_us = 0,"
                    f" segment_row = CASE batch_id {' '.join(cases)} END"
                    f" WHERE batch_id IN ({_integers(batch.batch_id for batch in some)})"
                    " AND lease_owner = %s AND segment_id IS NULL",
                    (segment_id, owner),
                )
            if moved != len(packed.batches) or first_row != packed.invoices:
                raise LeaseLost(f"{moved} of {len(packed.batches)} batches are still leased to {owner}")
        return segment_id

    @staticmethod
    async def _insert_segment(connection: aiomysql.Connection, packed: PackedSegment, now_us: int) -> int:
        """Inserts the segment's row; raises LeaseLost when there is one: its batches are archived already."""
        async with connection.cursor() as cursor:
            await cursor.execute(
                "INSERT INTO archive_segments"
                " (object_key, sha256, size_bytes, invoices, created_at_us, retain_until_us)"
                " SELECT %s, %s, %s, %s, %s, %s FROM DUAL"
                " WHERE NOT EXISTS (SELECT 1 FROM archive_segments WHERE object_key = %s)",
                (
                    packed.object_key,
                    packed.sha256,
                    packed.size_bytes,
                    packed.invoices,
                    now_us,
                    packed.retain_until_us,
                    packed.object_key,
                ),
            )
            if cursor.rowcount != 1:
                raise LeaseLost(f"segment {packed.object_key} is recorded already")
            return int(cursor.lastrowid)

    async def backlog(self) -> tuple[int, int]:
        """Counts what is not archived; see the port. 1 round trip, over the index by_segment only."""
        found = await self._primary().rows(
            "SELECT waiting.batches, COALESCE(oldest.issued_at_us, 0)"
            " FROM (SELECT COUNT(*) AS batches, MIN(batch_id) AS first FROM batches WHERE segment_id IS NULL) waiting"
            " LEFT JOIN batches oldest ON oldest.batch_id = waiting.first"
        )
        return int(found[0][0]), int(found[0][1])

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiomysql.Connection]:
        """A transaction on the primary: committed at the end; after an error its connection is closed."""
        primary = self._primary()
        async with primary.connection() as connection:
            await primary.begin(connection)
            yield connection
            await connection.commit()


async def _execute(connection: aiomysql.Connection, sql: str, arguments: Sequence[Any] = ()) -> int:
    """Runs a writing statement and returns the number of rows it changed; 1 round trip."""
    async with connection.cursor() as cursor:
        return int(await cursor.execute(sql, tuple(arguments)))


def _pick(free: Sequence[Free], invoices_max: int) -> list[Free]:
    """Takes batches from the front while they hold at most `invoices_max` invoices, but at least one."""
    picked: list[Free] = []
    left = invoices_max
    for batch_id, items in free:
        if picked and items > left:
            break
        picked.append((batch_id, items))
        left -= items
    return picked


def _chunks(leased: Sequence[Free]) -> Iterator[list[Free]]:
    """Cuts the leased batches into pieces whose blocks are read at once."""
    chunk: list[Free] = []
    items_of_chunk = 0
    for batch_id, items in leased:
        if chunk and items_of_chunk + items > CLAIM_FETCH_INVOICES_MAX:
            yield chunk
            chunk, items_of_chunk = [], 0
        chunk.append((batch_id, items))
        items_of_chunk += items
    if chunk:
        yield chunk


def _integers(values: Iterator[int] | Sequence[int]) -> str:
    """Writes integers as the inside of an IN list."""
    return ",".join(f"{value:d}" for value in values)

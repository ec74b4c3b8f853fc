# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""A feed of committed batches for one consumer: every batch exactly once, whatever dies, and nothing on issuing's path.

Batch ids do not grow in commit order, so a position alone would lose batches. A consumer has a watermark, below which
all is consumed, and a row in `batch_feed_done` for each batch above it. Both are written in the transaction in which
the consumer writes what it makes of the batches: that is what makes it exactly once. One transaction a consumer is
under way at a time (its row is locked, others skip it).

The watermark moves over consecutive ids. Over a hole, an id that a rollback used up, it moves only when a batch above
was consumed HOLE_AGE_MS ago and a locking read of the hole finds neither a row nor a lock: an id is taken microseconds
before its row is inserted and locked, and the lock is held until the commit is visible, even while it waits for a
replica.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiomysql
import pymysql

from core.limits import FEED_TRIM_MAX
from core.storage.block import Run, unpack_runs
from core.storage.mysql.pool import Primary, rows

NOW_US: Final = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
HOLE_AGE_MS: Final = 30_000
LOCKED: Final = frozenset({1205, 3572})  # NOWAIT met a lock, in MariaDB's words and in MySQL's


def consumed(batch_id: str) -> str:
    """Returns the condition that a consumer has had the batch of that column; its values: the consumer, twice."""
    return (
        f"({batch_id} <= COALESCE((SELECT through_batch_id FROM batch_feeds WHERE consumer = %s), 0) OR EXISTS"
        f" (SELECT 1 FROM batch_feed_done d WHERE d.consumer = %s AND d.batch_id = {batch_id}))"
    )


@dataclass(frozen=True, slots=True)
class FedBatch:
    """A committed batch. The runs say which numbers of which sellers are in it; no block is read for them."""

    batch_id: int
    issued_at_us: int
    items: int
    runs: list[Run]


@dataclass(frozen=True, slots=True)
class Taken:
    """Batches the consumer has not had yet, and the open transaction in which to write what becomes of them.

    `alone`: no other process consumes until the transaction ends; without, there are no batches.
    """

    batches: list[FedBatch]
    connection: aiomysql.Connection
    alone: bool


class MySQLBatchFeed:
    """The feed of one consumer, at most 32 ASCII characters. `primary` is asked for the primary before every use."""

    def __init__(self, *, primary: Callable[[], Primary], consumer: str, hole_age_ms: int = HOLE_AGE_MS) -> None:
        self._primary = primary
        self._consumer = consumer
        self._hole_age_ms = hole_age_ms

    @asynccontextmanager
    async def take(self, *, batches_max: int, always: bool = False) -> AsyncIterator[Taken]:
        """Lends up to `batches_max` batches, by id; leaving the block commits, an error in it takes all back.

        No batches: there are none, or another process is at it. 2 round trips and no lock when there are none, unless
        `always`, which is for who has more to do under the lock; 8 with batches, and those for moving the watermark.
        Raises STORAGE_UNAVAILABLE; then it is not known whether it was committed, and taking again finds out.
        """
        primary = self._primary()
        async with primary.connection() as connection:
            if not always and not await self._any(connection):
                yield Taken([], connection, alone=False)
                return
            await primary.write_on(
                connection,
                "INSERT INTO batch_feeds (consumer, through_batch_id) SELECT %s, 0 FROM DUAL"
                " WHERE NOT EXISTS (SELECT 1 FROM batch_feeds WHERE consumer = %s)"
                " ON DUPLICATE KEY UPDATE through_batch_id = batch_feeds.through_batch_id",
                (self._consumer, self._consumer),
            )
            await primary.begin(connection)
            locked = await rows(
                connection,
                "SELECT through_batch_id FROM batch_feeds WHERE consumer = %s FOR UPDATE SKIP LOCKED",
                (self._consumer,),
            )
            found: list[FedBatch] = []
            if locked:
                found = await self._fresh(connection, int(locked[0][0]), batches_max)
            yield Taken(found, connection, bool(locked))
            if found:
                await self._note(connection, found)
            await connection.commit()
            if found:
                await self._move(primary, connection)

    async def _any(self, connection: aiomysql.Connection) -> bool:
        """Tells whether there is anything to take, without a lock and outside a transaction; 2 round trips."""
        known = await rows(
            connection, "SELECT through_batch_id FROM batch_feeds WHERE consumer = %s", (self._consumer,)
        )
        return bool(await self._fresh(connection, int(known[0][0]) if known else 0, 1))

    async def _fresh(self, connection: aiomysql.Connection, through: int, batches_max: int) -> list[FedBatch]:
        """Reads batches above the watermark that are not consumed."""
        found = await rows(
            connection,
            "SELECT b.batch_id, b.issued_at_us, b.items, b.runs FROM batches b FORCE INDEX (PRIMARY)"
            " LEFT JOIN batch_feed_done d ON d.consumer = %s AND d.batch_id = b.batch_id"
            " WHERE b.batch_id > %s AND d.batch_id IS NULL ORDER BY b.batch_id LIMIT %s",
            (self._consumer, through, batches_max),
        )
        return [FedBatch(row[0], row[1], row[2], unpack_runs(row[3])) for row in found]

    async def _note(self, connection: aiomysql.Connection, batches: list[FedBatch]) -> None:
        """Notes that the batches are consumed."""
        places = ",".join([f"(%s, %s, {NOW_US})"] * len(batches))
        values = [value for batch in batches for value in (self._consumer, batch.batch_id)]
        await rows(connection, f"INSERT INTO batch_feed_done (consumer, batch_id, done_at_us) VALUES {places}", values)

    async def _move(self, primary: Primary, connection: aiomysql.Connection) -> None:
        """Moves the watermark as far as it goes and deletes the rows below it, in a transaction of its own."""
        await primary.begin(connection)
        locked = await rows(
            connection,
            "SELECT through_batch_id FROM batch_feeds WHERE consumer = %s FOR UPDATE SKIP LOCKED",
            (self._consumer,),
        )
        through = moved = int(locked[0][0]) if locked else 0
        if locked:
            done = await rows(
                connection,
                f"SELECT batch_id, done_at_us < {NOW_US} - %s FROM batch_feed_done"
                " WHERE consumer = %s ORDER BY batch_id LIMIT %s",
                (self._hole_age_ms * 1_000, self._consumer, FEED_TRIM_MAX),
            )
            for batch_id, old in done:
                if batch_id > moved + 1 and not (old and await self._empty(connection, moved, batch_id)):
                    break
                moved = batch_id
        if moved > through:
            await rows(
                connection,
                "DELETE FROM batch_feed_done WHERE consumer = %s AND batch_id <= %s",
                (self._consumer, moved),
            )
            await rows(
                connection,
                "UPDATE batch_feeds SET through_batch_id = %s WHERE consumer = %s",
                (moved, self._consumer),
            )
        await connection.commit()

    @staticmethod
    async def _empty(connection: aiomysql.Connection, above: int, below: int) -> bool:
        """Tells whether there is neither a batch between two ids nor one on its way; 1 round trip."""
        sql = "SELECT batch_id FROM batches WHERE batch_id > %s AND batch_id < %s LIMIT 1 FOR UPDATE NOWAIT"
        try:
            return not await rows(connection, sql, (above, below))
        except pymysql.err.OperationalError as error:
            if error.args[0] in LOCKED:
                return False
            raise

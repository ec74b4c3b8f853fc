# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""Collection on MySQL: numbering received invoices behind the feed of committed batches, and reading them.

Why a cursor over positions is complete (docs/adr/0018): the feed gives every committed batch to one transaction, which
writes the positions of its invoices and that it had the batch, or neither. Positions of a buyer are given under the
lock of its head, which is held until they are committed; so position p is visible wherever p + 1 is, and nothing ever
appears below a position that somebody has read. Replicas commit in the primary's order and keep that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import aiomysql

from core.domain.errors import BillowError, Reason
from core.limits import COLLECT_BATCHES_MAX, COLLECT_FILL_ROWS_MAX, COLLECT_ROWS_MAX, READ_RUNS_MAX
from core.storage.block import merged
from core.storage.collection_port import Received
from core.storage.mysql.batch_feed import FedBatch, MySQLBatchFeed, consumed
from core.storage.mysql.pool import Primary, Replicas, read, rows
from core.storage.pieces import pieces

CONSUMER: Final = "collection"

_RECEIVED = (
    "SELECT STRAIGHT_JOIN r.position, i.number, i.kind, i.color, i.issued_at_us, s.tax_id, s.name, i.net_total_minor,"
    " i.tax_total_minor, i.gross_total_minor, COALESCE(i.blue_number, ''), COALESCE(b.red_total_minor, 0),"
    " COALESCE(e.state, 1), COALESCE(e.period, 0) FROM received_invoices r FORCE INDEX (PRIMARY)"
    " JOIN invoices i FORCE INDEX (PRIMARY) ON i.number = r.number"
    " JOIN sellers s FORCE INDEX (PRIMARY) ON s.seller_key = i.seller_key"
    " LEFT JOIN red_balances b ON b.blue_number = i.number LEFT JOIN invoice_entries e ON e.number = i.number"
    " WHERE r.buyer_tax_id = %s AND r.position > %s ORDER BY r.position LIMIT %s"
)

# one buyer at a time; what is consumed by the feed and has no position yet. Under READ COMMITTED it locks no invoice
_FILL = (
    "INSERT INTO received_invoices (buyer_tax_id, position, number)"
    " SELECT i.buyer_tax_id, %s + ROW_NUMBER() OVER (ORDER BY i.batch_id, i.batch_position), i.number"
    " FROM invoices i FORCE INDEX (by_buyer) LEFT JOIN received_invoices r FORCE INDEX (by_number)"
    f" ON r.number = i.number WHERE i.buyer_tax_id = %s AND r.number IS NULL AND {consumed('i.batch_id')}"
    " ORDER BY i.batch_id, i.batch_position LIMIT %s"
)

FOLLOW: Final = (
    "INSERT INTO received_heads (buyer_tax_id, last_position, filled) VALUES (%s, 0, 0)"
    " ON DUPLICATE KEY UPDATE last_position = last_position"
)

Arrived = tuple[str, str]  # buyer's taxpayer id, number


class MySQLCollector:
    """The Collector of core/storage/collection_port.py."""

    def __init__(self, *, primary: Callable[[], Primary], feed: MySQLBatchFeed | None = None) -> None:
        self._primary = primary
        self._feed = feed or MySQLBatchFeed(primary=primary, consumer=CONSUMER)

    async def follow(self, buyer_tax_id: str) -> None:
        """Follows a buyer; see the port."""
        await self._primary().write(FOLLOW, (buyer_tax_id,))

    async def collect(self) -> bool:
        """Numbers invoices; see the port."""
        unfilled = await self._primary().rows("SELECT 1 FROM received_heads WHERE filled = 0 LIMIT 1")
        async with self._feed.take(batches_max=COLLECT_BATCHES_MAX, always=bool(unfilled)) as taken:
            filled = taken.alone and bool(unfilled) and await _fill(taken.connection)
            if taken.batches:
                arrived = await _arrived(taken.connection, taken.batches)
                if arrived:
                    await _number(taken.connection, arrived)
            return filled or len(taken.batches) == COLLECT_BATCHES_MAX


class MySQLReceivedStore:
    """The ReceivedStore of core/storage/collection_port.py: from a fresh replica, without one from the primary."""

    def __init__(self, *, primary: Callable[[], Primary], replicas: Callable[[], Replicas]) -> None:
        self._primary = primary
        self._replicas = replicas

    async def received(self, buyer_tax_id: str, *, after: int, items_max: int) -> list[Received]:
        """Reads the next invoices; see the port."""
        values = (buyer_tax_id, after, items_max)
        replica = self._replicas().pick()
        if replica is not None:
            try:
                return [_received(row) for row in await read(replica, _RECEIVED, values)]
            except BillowError as error:
                if error.reason is not Reason.STORAGE_UNAVAILABLE:
                    raise
        return [_received(row) for row in await read(self._primary().node, _RECEIVED, values)]


def _received(row: Sequence[Any]) -> Received:
    """Builds a received invoice; COALESCE makes decimals of unsigned columns."""
    return Received(*(*row[:11], *map(int, row[11:])))


async def _fill(connection: aiomysql.Connection) -> bool:
    """Numbers some of what a newly followed buyer received before; False when no buyer waits for that.

    Only the one that consumes the feed may do it: what it consumes later it numbers itself.
    """
    waiting = await rows(connection, "SELECT buyer_tax_id, last_position FROM received_heads WHERE filled = 0 LIMIT 1")
    if not waiting:
        return False
    buyer, last = waiting[0]
    async with connection.cursor() as cursor:
        found = await cursor.execute(_FILL, (last, buyer, CONSUMER, CONSUMER, COLLECT_FILL_ROWS_MAX))
    await rows(
        connection,
        "UPDATE received_heads SET last_position = last_position + %s, filled = %s WHERE buyer_tax_id = %s",
        (found, found < COLLECT_FILL_ROWS_MAX, buyer),
    )
    return True


async def _arrived(connection: aiomysql.Connection, batches: Sequence[FedBatch]) -> list[Arrived]:
    """Reads the invoices of followed buyers in whole batches, by batch and position."""
    wanted = {batch.batch_id for batch in batches}
    runs = merged(run for batch in batches for run in batch.runs)
    found: list[tuple[Any, ...]] = []
    for some in pieces(runs, READ_RUNS_MAX):
        condition = " OR ".join(["i.number BETWEEN %s AND %s"] * len(some))
        bounds = [f"{bound:020d}" for run in some for bound in run]
        found += await rows(
            connection,
            "SELECT STRAIGHT_JOIN i.batch_id, i.batch_position, i.buyer_tax_id, i.number"
            " FROM invoices i FORCE INDEX (PRIMARY) JOIN received_heads h FORCE INDEX (PRIMARY)"
            f" ON h.buyer_tax_id = i.buyer_tax_id AND h.filled = 1 WHERE {condition}",
            bounds,
        )
    return [(row[2], row[3]) for row in sorted(found) if row[0] in wanted]


async def _number(connection: aiomysql.Connection, arrived: Sequence[Arrived]) -> None:
    """Gives each invoice the next position of its buyer; heads are locked by ascending taxpayer id."""
    numbers: dict[str, list[str]] = {}
    for buyer, number in arrived:
        numbers.setdefault(buyer, []).append(number)
    values: list[tuple[str, int, str]] = []
    for buyers in pieces(sorted(numbers), COLLECT_ROWS_MAX):
        counts = [value for buyer in buyers for value in (buyer, len(numbers[buyer]))]
        await rows(
            connection,
            f"INSERT INTO received_heads (buyer_tax_id, last_position) VALUES {_tuples(2, len(buyers))}"
            " ON DUPLICATE KEY UPDATE last_position = last_position + VALUES(last_position)",
            counts,
        )
        heads = await rows(
            connection,
            f"SELECT buyer_tax_id, last_position FROM received_heads WHERE buyer_tax_id IN {_tuples(len(buyers), 1)}",
            buyers,
        )
        for buyer, last in heads:
            first = int(last) - len(numbers[buyer]) + 1
            values += [(buyer, first + place, number) for place, number in enumerate(numbers[buyer])]
    for some in pieces(values, COLLECT_ROWS_MAX):
        await rows(
            connection,
            f"INSERT INTO received_invoices (buyer_tax_id, position, number) VALUES {_tuples(3, len(some))}",
            [value for row in some for value in row],
        )


def _tuples(width: int, count: int) -> str:
    """Returns so many rows of so many placeholders."""
    return ",".join([f"({','.join(['%s'] * width)})"] * count)

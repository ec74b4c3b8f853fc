# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""The deliveries on MySQL as workers and pullers take them.

A lease is a due time in the future and an owner, so a lease that ran out is simply due again. Claims are made endpoint
by endpoint over the index `due`: what waits for one is never in the way of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import aiomysql

from core.limits import FAN_OUT_ROWS_MAX
from core.storage.block import Run
from core.storage.delivery_port import DeliveryState, Due, Endpoint, EndpointKind, EndpointState, Outcome
from core.storage.mysql import delivery_outcomes, delivery_rows
from core.storage.mysql.batch_feed import NOW_US, FedBatch, MySQLBatchFeed
from core.storage.mysql.pool import Primary, rows
from core.storage.pieces import pieces

_PENDING, _ACTIVE = int(DeliveryState.PENDING), int(EndpointState.ACTIVE)
CONSUMER: Final = "delivery"

Rule = tuple[int, int, int]  # endpoint_key, seller_key, since_us
Value = tuple[int, int, str, int]  # seller_key, endpoint_key, number, created_at_us


class MySQLDeliveryQueue:
    """The DeliveryQueue of core/storage/delivery_port.py. `primary` is asked for the primary before every use."""

    def __init__(self, *, primary: Callable[[], Primary]) -> None:
        self._primary = primary
        self._feed = MySQLBatchFeed(primary=primary, consumer=CONSUMER)

    # --- standing rules -------------------------------------------------------------------------------------------
    async def fan_out(self, *, batches_max: int) -> int:
        """Makes the deliveries of standing rules; see the port."""
        async with self._feed.take(batches_max=batches_max) as taken:
            sellers = sorted({run.seller_key for batch in taken.batches for run in batch.runs})
            if sellers:
                rules = await rows(
                    taken.connection,
                    "SELECT endpoint_key, seller_key, since_us FROM delivery_endpoints"
                    f" WHERE seller_key IN ({_places(sellers)}) AND every_invoice AND state = %s",
                    (*sellers, _ACTIVE),
                )
                await _insert(taken.connection, _ordered(taken.batches, rules))
        return len(taken.batches)

    # --- leases ---------------------------------------------------------------------------------------------------
    async def due_endpoints(self, *, kinds: Sequence[EndpointKind], items_max: int) -> dict[int, int]:
        """Returns endpoints with something due; see the port. One look into the index for each active endpoint."""
        found = await self._primary().rows(
            "SELECT e.endpoint_key, e.failures FROM delivery_endpoints e"
            f" WHERE e.state = %s AND e.kind IN ({_places(kinds)}) AND e.open_until_us <= {NOW_US}"
            " AND EXISTS (SELECT 1 FROM deliveries d FORCE INDEX (due)"
            f" WHERE d.endpoint_key = e.endpoint_key AND d.due_at_us <= {NOW_US})"
            " ORDER BY RAND() LIMIT %s",
            (_ACTIVE, *map(int, kinds), items_max),
        )
        return dict(found)

    async def claim(self, endpoint_key: int, *, owner: str, items_max: int, lease_ms: int) -> list[Due]:
        """Leases due deliveries; see the port."""
        primary = self._primary()
        async with primary.connection() as connection:
            await primary.begin(connection)
            found = await rows(
                connection,
                f"SELECT {delivery_rows.ENDPOINT} FROM delivery_endpoints e WHERE e.endpoint_key = %s AND e.state = %s",
                (endpoint_key, _ACTIVE),
            )
            picked = await rows(
                connection,
                "SELECT delivery_id FROM deliveries FORCE INDEX (due)"
                f" WHERE endpoint_key = %s AND due_at_us <= {NOW_US}"
                " ORDER BY due_at_us LIMIT %s FOR UPDATE SKIP LOCKED",
                (endpoint_key, items_max if found else 0),
            )
            leased: list[tuple[Any, ...]] = []
            if picked:
                ids = [row[0] for row in picked]
                await rows(
                    connection,
                    f"UPDATE deliveries SET lease_owner = %s, due_at_us = {NOW_US} + %s"
                    f" WHERE delivery_id IN ({_places(ids)})",
                    (owner, lease_ms * 1_000, *ids),
                )
                leased = await rows(
                    connection,
                    f"SELECT d.delivery_id, d.attempts, d.tries, d.created_at_us, {delivery_rows.FACTS}"
                    " FROM deliveries d JOIN invoices i ON i.number = d.number"
                    " JOIN sellers s ON s.seller_key = d.seller_key"
                    f" WHERE d.delivery_id IN ({_places(ids)}) ORDER BY d.delivery_id",
                    ids,
                )
            await connection.commit()
        return [_due(row, delivery_rows.endpoint(found[0])) for row in leased]

    async def finish(self, owner: str, outcomes: Sequence[Outcome]) -> int:
        """Notes attempts and what follows; see the port."""
        return await delivery_outcomes.finish(self._primary(), owner, outcomes)

    async def release(self, owner: str, delivery_ids: Sequence[int]) -> None:
        """Gives leases back; see the port."""
        await delivery_outcomes.release(self._primary(), owner, delivery_ids)

    async def give_up(self, *, failures_min: int, due_for_ms: int, items_max: int) -> int:
        """Fails what waits for endpoints that do not recover; see the port."""
        return await delivery_outcomes.give_up(
            self._primary(), failures_min=failures_min, due_for_ms=due_for_ms, items_max=items_max
        )


def _due(row: tuple[Any, ...], endpoint: Endpoint) -> Due:
    facts = delivery_rows.facts(row[4:])
    return Due(delivery_id=row[0], endpoint=endpoint, attempts=row[1], tries=row[2], facts=facts, created_at_us=row[3])


def _ordered(batches: Sequence[FedBatch], rules: Sequence[Rule]) -> list[Value]:
    """Returns the deliveries that the rules want of the batches."""
    wanted: list[Value] = []
    for batch in batches:
        for run in batch.runs:
            for endpoint_key, seller_key, since_us in rules:
                if seller_key == run.seller_key and batch.issued_at_us >= since_us:
                    wanted += [(seller_key, endpoint_key, number, batch.issued_at_us) for number in _numbers(run)]
    return wanted


def _numbers(run: Run) -> list[str]:
    first = int(run.first_number)
    return [f"{first + place:020d}" for place in range(run.count)]


async def _insert(connection: aiomysql.Connection, wanted: Sequence[Value]) -> None:
    """Inserts deliveries, due at once; one ordered by hand before stays as it is."""
    for some in pieces(wanted, FAN_OUT_ROWS_MAX):
        values: list[Any] = []
        for seller_key, endpoint_key, number, created_at_us in some:
            values += [seller_key, endpoint_key, number, created_at_us]
        await rows(
            connection,
            "INSERT INTO deliveries (seller_key, endpoint_key, number, created_at_us, state, due_at_us) VALUES "
            + ",".join([f"(%s, %s, %s, %s, {_PENDING:d}, {NOW_US})"] * len(some))
            + " ON DUPLICATE KEY UPDATE delivery_id = delivery_id",
            values,
        )


def _places(values: Sequence[object]) -> str:
    """Writes the inside of an IN list."""
    return ",".join(["%s"] * len(values))

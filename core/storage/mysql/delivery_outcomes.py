# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""Noting what came of attempts: many outcomes in one transaction, with as many statements as for one.

Rows are locked in this order: deliveries by id, then endpoints by key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiomysql

from core.limits import CASES_MAX, ENDPOINTS_GIVEN_UP_MAX
from core.storage.delivery_port import DeliveryState, EndpointKind, EndpointState, Outcome
from core.storage.mysql.batch_feed import NOW_US
from core.storage.mysql.pool import Primary, rows
from core.storage.pieces import pieces

DETAIL_BYTES_MAX: Final = 200  # the column's
GIVEN_UP: Final = "given up: the endpoint failed for as long as the schedule lasts"
_FAILED: Final = int(DeliveryState.FAILED)
_ACTIVE, _DISABLED = int(EndpointState.ACTIVE), int(EndpointState.DISABLED)
_ATTEMPTS: Final = (
    "INSERT INTO delivery_attempts (delivery_id, attempt, at_us, duration_us, delivered, code, detail) VALUES "
)


async def finish(primary: Primary, owner: str, outcomes: Sequence[Outcome]) -> int:
    """Notes outcomes; see `DeliveryQueue.finish`."""
    if not outcomes:
        return 0
    ids = sorted({outcome.delivery_id for outcome in outcomes})
    async with primary.connection() as connection:
        await primary.begin(connection)
        locked = await rows(
            connection,
            f"SELECT delivery_id FROM deliveries WHERE delivery_id IN ({_places(ids)}) AND lease_owner = %s"
            " ORDER BY delivery_id FOR UPDATE",
            (*ids, owner),
        )
        leased = {row[0] for row in locked}
        held = [outcome for outcome in outcomes if outcome.delivery_id in leased]
        if held:
            for some in pieces(held, CASES_MAX):
                await _note_deliveries(connection, some)
            await _note_attempts(connection, held)
            await _note_endpoints(connection, held)
        await connection.commit()
    return len(held)


async def release(primary: Primary, owner: str, delivery_ids: Sequence[int]) -> None:
    """Gives leases back; see `DeliveryQueue.release`."""
    if delivery_ids:
        await primary.write(
            f"UPDATE deliveries SET lease_owner = NULL, due_at_us = {NOW_US}"
            f" WHERE delivery_id IN ({_places(delivery_ids)}) AND lease_owner = %s",
            (*delivery_ids, owner),
        )


async def give_up(primary: Primary, *, failures_min: int, due_for_ms: int, items_max: int) -> int:
    """Fails what waits for endpoints that do not recover; see `DeliveryQueue.give_up`."""
    given_up = 0
    async with primary.connection() as connection:
        await primary.begin(connection)
        failing = await rows(
            connection,
            "SELECT endpoint_key FROM delivery_endpoints WHERE state = %s AND kind <> %s AND failures >= %s"
            f" AND since_us <= {NOW_US} - %s ORDER BY RAND() LIMIT %s",
            (_ACTIVE, int(EndpointKind.PULL), failures_min, due_for_ms * 1_000, ENDPOINTS_GIVEN_UP_MAX),
        )
        for (endpoint_key,) in sorted(failing):
            found = await rows(
                connection,
                f"SELECT delivery_id, attempts, {NOW_US} FROM deliveries FORCE INDEX (due)"
                f" WHERE endpoint_key = %s AND due_at_us <= {NOW_US} - %s"
                " ORDER BY due_at_us LIMIT %s FOR UPDATE SKIP LOCKED",
                (endpoint_key, due_for_ms * 1_000, items_max - given_up),
            )
            if found:
                await _fail(connection, found)
            given_up += len(found)
            if given_up >= items_max:
                break
        await connection.commit()
    return given_up


async def _fail(connection: aiomysql.Connection, found: Sequence[tuple[int, int, int]]) -> None:
    """Fails locked deliveries, given with their attempts and the present time."""
    values: list[Any] = []
    for delivery_id, attempts, now_us in found:
        values += [delivery_id, attempts + 1, now_us, GIVEN_UP.encode()]
    await rows(connection, _ATTEMPTS + ",".join(["(%s, %s, %s, 0, 0, 0, %s)"] * len(found)), values)
    ids = [row[0] for row in found]
    await rows(
        connection,
        "UPDATE deliveries SET state = %s, due_at_us = NULL, lease_owner = NULL, attempts = attempts + 1,"
        f" finished_at_us = {NOW_US} WHERE delivery_id IN ({_places(ids)})",
        (_FAILED, *ids),
    )


async def _note_deliveries(connection: aiomysql.Connection, held: Sequence[Outcome]) -> None:
    """Writes what follows into the deliveries, which are locked; 1 round trip."""
    cases, values = " WHEN %s THEN %s" * len(held), []
    states, dues, finishes, tries = [], [], [], []
    for outcome in held:
        key, attempt = outcome.delivery_id, outcome.attempt
        states += [key, int(outcome.state)]
        dues += [key, outcome.due_at_us]
        finishes += [key, None if outcome.due_at_us is not None else attempt.at_us + attempt.duration_us]
        tries += [key, int(outcome.counts)]
    ids = [outcome.delivery_id for outcome in held]
    values = [*states, *dues, *finishes, *tries, *ids]
    await rows(
        connection,
        f"UPDATE deliveries SET state = CASE delivery_id{cases} END, due_at_us = CASE delivery_id{cases} END,"
        f" finished_at_us = CASE delivery_id{cases} END, tries = tries + CASE delivery_id{cases} END,"
        f" attempts = attempts + 1, lease_owner = NULL WHERE delivery_id IN ({_places(ids)})",
        values,
    )


async def _note_attempts(connection: aiomysql.Connection, held: Sequence[Outcome]) -> None:
    """Writes the attempts; 1 round trip."""
    values: list[Any] = []
    for outcome in held:
        attempt = outcome.attempt
        values += [outcome.delivery_id, attempt.attempt, attempt.at_us, attempt.duration_us]
        values += [attempt.delivered, attempt.code, _detail(attempt.detail)]
    await rows(connection, _ATTEMPTS + ",".join(["(%s, %s, %s, %s, %s, %s, %s)"] * len(held)), values)


@dataclass(slots=True)
class _News:
    """What outcomes say of one endpoint, in their order."""

    succeeded: bool = False
    failures: int = 0  # since the last success among them
    open_until_us: int = 0
    disable: str = ""

    def add(self, outcome: Outcome) -> None:
        """Takes one more outcome."""
        if outcome.disable:
            self.disable = outcome.disable
        elif outcome.attempt.delivered:
            self.succeeded, self.failures, self.open_until_us = True, 0, 0
        elif outcome.counts:
            self.failures += 1
            self.open_until_us = max(self.open_until_us, outcome.open_until_us)


async def _note_endpoints(connection: aiomysql.Connection, held: Sequence[Outcome]) -> None:
    """Closes, opens or disables endpoints. 1 round trip, and 1 or 2 for each endpoint that changes.

    An endpoint that works is only read: its row would otherwise be what all workers wait for.
    """
    news: dict[int, _News] = {}
    for outcome in held:
        news.setdefault(outcome.endpoint_key, _News()).add(outcome)
    failing = await rows(
        connection,
        f"SELECT endpoint_key FROM delivery_endpoints WHERE endpoint_key IN ({_places(list(news))}) AND failures > 0",
        sorted(news),
    )
    had_failed = {row[0] for row in failing}
    for endpoint_key, told in sorted(news.items()):
        if told.disable:
            sql = "UPDATE delivery_endpoints SET state = %s, state_reason = %s WHERE endpoint_key = %s AND state = %s"
            await rows(connection, sql, (_DISABLED, _detail(told.disable), endpoint_key, _ACTIVE))
        if told.succeeded and (told.failures or endpoint_key in had_failed):
            sql = "UPDATE delivery_endpoints SET failures = %s, open_until_us = %s WHERE endpoint_key = %s"
            await rows(connection, sql, (told.failures, told.open_until_us, endpoint_key))
        elif told.failures:
            sql = (
                "UPDATE delivery_endpoints SET failures = failures + %s,"
                " open_until_us = GREATEST(open_until_us, %s) WHERE endpoint_key = %s"
            )
            await rows(connection, sql, (told.failures, told.open_until_us, endpoint_key))


def _detail(text: str) -> bytes:
    """Cuts a text to what its column holds, never inside a character."""
    return text.encode()[:DETAIL_BYTES_MAX].decode(errors="ignore").encode()


def _places(values: Sequence[object]) -> str:
    """Writes the inside of an IN list."""
    return ",".join(["%s"] * len(values))

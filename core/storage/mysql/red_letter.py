# ruff: noqa: S608 -- what is put into SQL text here is constants, integers and placeholders
"""Red invoices on MySQL: one durable transaction a commit, their blue ones locked while it is decided.

The order of locks of the whole platform: first rows of `invoices` by number, then `red_confirmations` by id, then
`number_ranges` by id, then `credit_quotas` by seller. Blue issuing takes the last two only, account entry a row of
`invoices` only; so nothing can deadlock (docs/adr/0014). The unique key (seller_key, request_id) is the truth of
idempotency here too.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import aiomysql
import pymysql

from core.domain.errors import BillowError, Reason
from core.domain.red_letter import Sums, unpack_sums
from core.limits import COMMIT_ATTEMPTS_MAX, OPEN_RANGES_MAX, RANGE_MOVES_MAX
from core.storage import block
from core.storage.allocation import RangeState, Stock, allocate, answer_known, stocks
from core.storage.mysql import issuing_sql, red_sql
from core.storage.mysql.batch_feed import NOW_US
from core.storage.mysql.issued_rows import issued_from, lookups
from core.storage.mysql.issuing import RETRY_AWAY_MS, RETRY_BASE_MS
from core.storage.mysql.pool import DEADLOCK, DUPLICATE_KEY, LOCK_TIMEOUT, Primary, rows, unavailable
from core.storage.mysql.red_forms import FORM_COLUMNS, form_from
from core.storage.ports import Answer, Issued
from core.storage.red_decision import LockedBlue, RedRound
from core.storage.red_letter_port import Form, RedDraft, RedShape

Key = tuple[int, str]
Accepted = list[tuple[RedDraft, RedShape]]
RED = 2  # InvoiceColor.RED


class BookedInvoices(Protocol):
    """Tells which invoices their buyers have booked, asked in the transaction that has locked them."""

    async def among(self, connection: aiomysql.Connection, numbers: Collection[str]) -> set[str]:
        """Returns those of the numbers that are booked; 1 round trip."""
        ...


class _RangesMoved(Exception):
    """The ranges found ended before they were locked."""


class MySQLRedStore:
    """The RedStore of core/storage/red_letter_port.py on the present primary; `primary` allows several statements.

    While it is away a commit keeps trying for `away_wait_ms`; other failures are repeated COMMIT_ATTEMPTS_MAX times.
    """

    def __init__(
        self,
        *,
        primary: Callable[[], Primary],
        booked: BookedInvoices,
        now_us: Callable[[], int],
        away_wait_ms: int,
    ) -> None:
        self._primary = primary
        self._booked = booked
        self._now_us = now_us
        self._away_wait_ms = away_wait_ms

    async def commit(self, drafts: Sequence[RedDraft]) -> list[Answer]:
        """Issues the drafts; see the port."""
        give_up_at = asyncio.get_running_loop().time() + self._away_wait_ms / 1_000
        attempt = moves = 0
        while True:
            try:
                return await self._attempt(drafts)
            except _RangesMoved as error:
                moves += 1
                if moves >= RANGE_MOVES_MAX:
                    raise unavailable("number ranges end faster than they can be taken") from error
            except pymysql.err.MySQLError as error:
                attempt += 1
                known = error.args[0] == DUPLICATE_KEY and "by_request" in str(error.args[1])
                if not known and error.args[0] not in (DEADLOCK, LOCK_TIMEOUT):
                    raise
                if attempt >= COMMIT_ATTEMPTS_MAX:
                    raise unavailable(error) from error
                await asyncio.sleep(random.uniform(0, RETRY_BASE_MS * 2**attempt) / 1_000)
            except BillowError as error:
                if error.reason is not Reason.STORAGE_UNAVAILABLE:
                    raise
                if asyncio.get_running_loop().time() >= give_up_at:
                    raise
                await asyncio.sleep(random.uniform(0.5, 1) * RETRY_AWAY_MS / 1_000)

    async def _attempt(self, drafts: Sequence[RedDraft]) -> list[Answer]:
        """Tries one transaction for all drafts."""
        primary = self._primary()
        async with primary.connection() as connection:
            # failures that leave the connection in order are handed out as values, so that it is kept
            try:
                answers: list[Answer] | Exception = await self._transaction(primary, connection, drafts)
            except (_RangesMoved, pymysql.err.IntegrityError) as error:
                await connection.rollback()
                answers = error
            except pymysql.err.OperationalError as error:
                if error.args[0] not in (DEADLOCK, LOCK_TIMEOUT):
                    raise
                await connection.rollback()
                answers = error
        if isinstance(answers, Exception):
            raise answers
        return answers

    async def _transaction(
        self, primary: Primary, connection: aiomysql.Connection, drafts: Sequence[RedDraft]
    ) -> list[Answer]:
        """Locks, decides and writes."""
        await primary.begin(connection)
        blues = await self._lock_blues(connection, drafts)
        known = await _known(connection, drafts)  # after the locks: whoever was before us has committed
        fresh: dict[Key, RedDraft] = {}
        for draft in drafts:
            if (draft.seller_key, draft.request_id) not in known:
                fresh.setdefault((draft.seller_key, draft.request_id), draft)
        if not fresh:
            await connection.rollback()
            await primary.confirm_on(connection)
            return _answers(drafts, known, {})
        numbers = sorted({draft.blue_number for draft in fresh.values()})
        sums = await _balances(connection, numbers)
        booked = await self._booked.among(connection, numbers)
        forms = await _lock_forms(connection, fresh.values())
        states, had_ranges = await _lock_ranges(connection, fresh.values())
        free = {stock: sum(state.size - state.used for state in found) for stock, found in states.items()}
        deciding = RedRound(blues=blues, sums=sums, booked=booked, forms=forms, free=free, had_ranges=had_ranges)
        refused: dict[Key, BillowError] = {}
        accepted: Accepted = []
        for key, draft in fresh.items():
            outcome = deciding.decide(draft)
            if isinstance(outcome, BillowError):
                refused[key] = outcome
            else:
                accepted.append((draft, outcome))
        if accepted:
            accepted.sort(key=lambda pair: (pair[0].seller_key, pair[0].kind))
            for item in await self._write(connection, accepted, states, deciding.sums):
                known[item.seller_key, item.request_id] = item
        else:
            await connection.rollback()
            if known:
                await primary.confirm_on(connection)
        return _answers(drafts, known, refused)

    async def _write(
        self,
        connection: aiomysql.Connection,
        accepted: Accepted,
        states: dict[Stock, list[RangeState]],
        sums: dict[str, Sums],
    ) -> list[Issued]:
        """Numbers and writes the accepted ones, and commits; 1 round trip."""
        drafts = [shape.draft for _, shape in accepted]
        allocation = allocate(stocks(drafts), states)
        issued_at_us = self._now_us()
        packed = block.pack([draft.request_id for draft in drafts], [draft.prepared for draft in drafts])
        insert, issued = red_sql.insert_reds(accepted, allocation.numbers, issued_at_us)
        statements = [
            issuing_sql.take_numbers(allocation.taken),
            issuing_sql.insert_batch(issued_at_us, len(issued), allocation.runs, packed),
            insert,
            red_sql.write_balances(accepted, sums),
            *red_sql.use_forms(accepted, allocation.numbers),
            "COMMIT",
        ]
        async with connection.cursor() as cursor:
            await cursor.execute("; ".join(statements))
            while await cursor.nextset():
                pass
        return issued

    async def _lock_blues(self, connection: aiomysql.Connection, drafts: Sequence[RedDraft]) -> dict[str, LockedBlue]:
        """Locks the blue invoices in the order of their numbers."""
        numbers = sorted({draft.blue_number for draft in drafts})
        sql = (
            "SELECT number, seller_key, color FROM invoices FORCE INDEX (PRIMARY)"
            f" WHERE number IN ({_places(numbers)}) ORDER BY number FOR UPDATE"
        )
        return {row[0]: LockedBlue(row[1], row[2]) for row in await rows(connection, sql, numbers)}

    async def taken(self, blue_number: str) -> Sums:
        """Reads what was taken; see the port."""
        async with self._primary().connection() as connection:
            return (await _balances(connection, [blue_number])).get(blue_number, {})

    async def booked(self, blue_number: str) -> bool:
        """Tells whether the buyer has booked it; see the port."""
        async with self._primary().connection() as connection:
            return bool(await self._booked.among(connection, [blue_number]))

    async def time_us(self) -> int:
        """The database's clock; see the port."""
        ((now_us,),) = await self._primary().rows(f"SELECT {NOW_US}")
        return int(now_us)

    async def changed(self, *, since_us: int, after: str, items_max: int) -> list[str]:
        """Lists changed balances; see the port."""
        sql = (
            "SELECT blue_number FROM red_balances FORCE INDEX (by_change)"
            " WHERE changed_at_us >= %s AND blue_number > %s ORDER BY blue_number LIMIT %s"
        )
        return [row[0] for row in await self._primary().rows(sql, (since_us, after, items_max))]


def _answers(drafts: Sequence[RedDraft], known: dict[Key, Issued], refused: dict[Key, BillowError]) -> list[Answer]:
    """Puts the answers into the order of the drafts; a known request is compared with its digest (P2)."""
    answers: list[Answer] = []
    for draft in drafts:
        key = (draft.seller_key, draft.request_id)
        if key in refused:
            answers.append(refused[key])
        else:
            answers.append(answer_known(draft, known[key].request_sha256) or known[key])
    return answers


async def _known(connection: aiomysql.Connection, drafts: Sequence[RedDraft]) -> dict[Key, Issued]:
    """Looks the request ids up; 1 round trip for every LOOKUP_SELLERS_MAX sellers."""
    found: dict[Key, Issued] = {}
    for sql, values in lookups(drafts):
        for row in await rows(connection, sql, values):
            item = issued_from(row)
            found[item.seller_key, item.request_id] = item
    return found


async def _balances(connection: aiomysql.Connection, numbers: Sequence[str]) -> dict[str, Sums]:
    sql = f"SELECT blue_number, line_sums FROM red_balances WHERE blue_number IN ({_places(numbers)})"
    return {row[0]: unpack_sums(row[1]) for row in await rows(connection, sql, numbers)}


async def _lock_forms(connection: aiomysql.Connection, drafts: Any) -> dict[str, Form]:
    """Locks the forms in the order of their ids; no round trip without any.

    What an ASCII column cannot hold is not asked for: MySQL would refuse the statement, and with it the whole batch.
    """
    named = {draft.confirmation_id for draft in drafts}
    wanted = sorted(name for name in named if name and name.isascii())
    if not wanted:
        return {}
    sql = (
        f"SELECT {FORM_COLUMNS} FROM red_confirmations FORCE INDEX (PRIMARY)"
        f" WHERE confirmation_id IN ({_places(wanted)}) ORDER BY confirmation_id FOR UPDATE"
    )
    return {form.confirmation_id: form for form in map(form_from, await rows(connection, sql, wanted))}


async def _lock_ranges(
    connection: aiomysql.Connection, drafts: Any
) -> tuple[dict[Stock, list[RangeState]], set[Stock]]:
    """Locks enough open red ranges of every stock, in the order of their ids; tells which stocks have any range.

    Found first and locked by id then: a locking search would wait for the ranges of blue invoices beside them.
    """
    needed: dict[Stock, int] = {}
    for draft in drafts:
        needed[draft.seller_key, draft.kind] = needed.get((draft.seller_key, draft.kind), 0) + 1
    ids: dict[Stock, list[int]] = {}
    enough: set[Stock] = set()
    had: set[Stock] = set()
    for stock, count in needed.items():
        sql = (
            f"SELECT range_id, size - used FROM number_ranges WHERE seller_key = %s AND kind = %s AND color = {RED}"
            " AND used < size ORDER BY range_id LIMIT %s"
        )
        found = await rows(connection, sql, (*stock, count + OPEN_RANGES_MAX))
        ids[stock] = [row[0] for row in found]
        if sum(row[1] for row in found) >= count:
            enough.add(stock)
        if found:
            had.add(stock)
        else:
            sql = f"SELECT 1 FROM number_ranges WHERE seller_key = %s AND kind = %s AND color = {RED} LIMIT 1"
            if await rows(connection, sql, stock):
                had.add(stock)
    wanted = sorted(range_id for found in ids.values() for range_id in found)
    locked: dict[int, RangeState] = {}
    if wanted:
        sql = (
            "SELECT range_id, first_number, size, used FROM number_ranges"
            f" WHERE range_id IN ({_places(wanted)}) ORDER BY range_id FOR UPDATE"
        )
        for range_id, first, size, used in await rows(connection, sql, wanted):
            locked[range_id] = RangeState(range_id, int(first), size, used)
    states = {stock: [locked[range_id] for range_id in found if range_id in locked] for stock, found in ids.items()}
    for stock in enough:
        if sum(state.size - state.used for state in states[stock]) < needed[stock]:
            raise _RangesMoved
    return states, had


def _places(values: Sequence[Any]) -> str:
    """Returns a placeholder for each value."""
    return ",".join(["%s"] * len(values))

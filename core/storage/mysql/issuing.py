"""Issuing on MySQL: one durable transaction a batch, two round trips, exactly once per request id.

The unique key (seller_key, request_id) is the truth of idempotency: the insert is tried first, and only a duplicate
key makes it look the request ids up (docs/adr/0007), and those of the same sellers first until one finds nothing: who
sends a batch again sends many (docs/adr/0049). That also settles an unknown outcome: after a connection lost
during COMMIT the same insert is tried again, and finds either nothing or itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiomysql
import pymysql

from core.domain.errors import BillowError, Reason
from core.limits import COMMIT_ATTEMPTS_MAX, RANGE_MOVES_MAX
from core.storage import block
from core.storage.allocation import (
    Allocation,
    RangeState,
    Stock,
    allocate,
    answer_known,
    shortage,
    stocks,
)
from core.storage.credit import MonthUse, Shares, month_of, share_out
from core.storage.mysql import issuing_sql, range_lookup
from core.storage.mysql.issued_rows import issued_from, lookups
from core.storage.mysql.issuing_quota import QuotaSellers, count_quotas, lock_quotas, uses_from
from core.storage.mysql.pool import DEADLOCK, DUPLICATE_KEY, LOCK_TIMEOUT, Primary, unavailable
from core.storage.ports import Answer, Draft, Issued

RETRY_BASE_MS = 5
RETRY_AWAY_MS = 200
REPEATING_SELLERS_MAX = 10_000  # that are looked up first; of more, only after their insert has failed
STOCKS_KNOWN_MAX = 100_000  # stocks whose open ranges are remembered; the memory starts anew beyond
PACK_IN_THREAD_BYTES = 256 * 1024  # compressing more than this would hold the event loop for a millisecond or more

Key = tuple[int, str]


class _KnownRequests(Exception):
    """Request ids of the plan are, or may be, in the table already: look them up first."""


class _RangesMoved(Exception):
    """The ranges remembered do not suffice: look them up again."""


class _Plan:
    """The drafts of one commit that are still to be written, by stock, and the answers so far, by key."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.answers: dict[Key, Answer] = {}
        unique: dict[Key, Draft] = {}
        for draft in drafts:
            unique.setdefault((draft.seller_key, draft.request_id), draft)
        self.drafts = sorted(unique.values(), key=lambda draft: (draft.seller_key, draft.kind))
        self.arrived = unique.values()  # in the order they came in; some may have their answer
        self.block: bytes | None = None
        self.looked_up: set[int] = set()  # sellers whose request ids were

    def sellers(self) -> set[int]:
        """The sellers of the drafts that are still to be written."""
        return {draft.seller_key for draft in self.drafts}

    def settle(self, key: Key, answer: Answer) -> None:
        """Notes an answer; its draft is dropped by the next `shrink`."""
        self.answers[key] = answer

    def shrink(self) -> None:
        """Drops the drafts that have their answer."""
        self.drafts = [draft for draft in self.drafts if (draft.seller_key, draft.request_id) not in self.answers]
        self.block = None

    async def packed(self) -> bytes:
        """Returns the block of the drafts, made once; large ones in a thread."""
        if self.block is None:
            self.block = await _pack(self.drafts)
        return self.block


async def _pack(drafts: Sequence[Draft]) -> bytes:
    """Packs bodies into a block; large ones in a thread."""
    request_ids = [draft.request_id for draft in drafts]
    bodies = [draft.prepared for draft in drafts]
    if sum(map(len, bodies)) > PACK_IN_THREAD_BYTES:
        return await asyncio.to_thread(block.pack, request_ids, bodies)
    return block.pack(request_ids, bodies)


@dataclass(slots=True)
class _Quotas:
    """What the credit quotas of a commit's sellers decided: the answers they gave, and what they count."""

    answers: dict[Key, Answer] = field(default_factory=dict)  # refused, or found to be issued already
    statement: str = ""  # to be written with the invoices; empty without any quota


_NO_QUOTAS = _Quotas()


@dataclass(slots=True)
class _Locked:
    """What the first round trip of a transaction has locked."""

    ranges: Sequence[tuple[Any, ...]]  # rows of issuing_sql.lock_ranges
    limited: list[int]  # sellers whose ranges say that they have a credit quota
    uses: Mapping[int, MonthUse] = field(default_factory=dict)
    month: int = 0  # the month that `uses` tells of; 0 when not all of the limited ones are in it


class MySQLIssuingStore:
    """The IssuingStore of core/storage/ports.py on the present primary.

    `primary` is asked for the primary before every attempt, so that a failover in between is followed. While it is
    away a commit keeps trying for `away_wait_ms`; other failures are repeated COMMIT_ATTEMPTS_MAX times at most.
    """

    def __init__(self, *, primary: Callable[[], Primary], now_us: Callable[[], int], away_wait_ms: int) -> None:
        self._primary = primary
        self._now_us = now_us
        self._away_wait_ms = away_wait_ms
        self._range_ids: dict[Stock, list[int]] = {}
        self._repeating: set[int] = set()  # sellers whose last request ids that were looked up were known
        self._quota_sellers = QuotaSellers()

    async def commit(self, drafts: Sequence[Draft]) -> list[Answer]:
        """Issues the drafts; see the port."""
        plan = _Plan(drafts)
        give_up_at = asyncio.get_running_loop().time() + self._away_wait_ms / 1_000
        attempt = moves = 0
        # sellers whose request ids are to be looked up before anything is tried
        unsure = self._repeating & plan.sellers() if self._repeating else set[int]()
        while plan.drafts:
            try:
                if unsure:
                    if not await self._settle_known(plan, unsure) and attempt >= COMMIT_ATTEMPTS_MAX:
                        raise unavailable("request ids collide and are not found")
                    unsure = set()
                await self._attempt(plan)
            except _RangesMoved as error:
                moves += 1
                if moves >= RANGE_MOVES_MAX:
                    raise unavailable("number ranges end faster than they can be taken") from error
            except _KnownRequests:
                attempt += 1
                unsure = plan.sellers()
            except pymysql.err.OperationalError as error:
                attempt += 1
                if error.args[0] not in (DEADLOCK, LOCK_TIMEOUT):
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
        return [self._answer(plan, draft) for draft in drafts]

    @staticmethod
    def _answer(plan: _Plan, draft: Draft) -> Answer:
        """Returns the answer of a draft; one that shares a key with another in the commit is compared with it."""
        answer = plan.answers[draft.seller_key, draft.request_id]
        if isinstance(answer, Issued):
            return answer_known(draft, answer.request_sha256) or answer
        return answer

    async def _attempt(self, plan: _Plan) -> None:
        """Tries one transaction for all drafts of the plan and settles them."""
        needed = stocks(plan.drafts)
        await self._find_ranges(plan, needed)
        if not plan.drafts:
            return
        await plan.packed()
        primary = self._primary()
        async with primary.connection() as connection:
            # failures that leave the connection in order are handed out as values, so that it is kept
            outcome = await self._transaction(connection, plan, needed, primary)
        if isinstance(outcome, Exception):
            raise outcome
        issued, quotas = outcome
        for item in issued:
            plan.settle((item.seller_key, item.request_id), item)
        for key, answer in quotas.answers.items():
            plan.settle(key, answer)
        plan.shrink()

    async def _transaction(
        self, connection: aiomysql.Connection, plan: _Plan, needed: Mapping[Stock, int], primary: Primary
    ) -> tuple[list[Issued], _Quotas] | Exception:
        """Takes the numbers, writes the invoices and commits; 2 round trips, 3 when it has to roll back.

        With credit quotas: 1 more the first time that this process meets a quota, 1 when any goes beyond.
        """
        drafts, packed, quotas = plan.drafts, await plan.packed(), _NO_QUOTAS
        async with connection.cursor() as cursor:
            try:
                locked = await self._lock(cursor, needed, primary.epoch)
                issued_at_us = self._now_us()
                if locked.limited:
                    quotas = await self._apply_quotas(cursor, plan, locked, month_of(issued_at_us))
                if quotas.answers:
                    drafts = [draft for draft in drafts if (draft.seller_key, draft.request_id) not in quotas.answers]
                    if not drafts:
                        await connection.rollback()
                        if any(isinstance(answer, Issued) for answer in quotas.answers.values()):
                            await primary.confirm_on(connection)
                        return [], quotas
                    needed, packed = stocks(drafts), await _pack(drafts)
                allocation = self._allocate(needed, locked.ranges)
                insert, issued = issuing_sql.insert_invoices(drafts, allocation.numbers, issued_at_us)
                batch = issuing_sql.insert_batch(issued_at_us, len(issued), allocation.runs, packed)
                take = issuing_sql.take_numbers(allocation.taken)
                await cursor.execute(f"{take}; {quotas.statement}{batch}; {insert}; COMMIT")
                while await cursor.nextset():
                    pass
            except pymysql.err.IntegrityError as error:
                await connection.rollback()
                if error.args[0] == DUPLICATE_KEY and "by_request" in str(error.args[1]):
                    return _KnownRequests()
                raise
            except _RangesMoved as error:
                await connection.rollback()
                return error
            except pymysql.err.OperationalError as error:
                if error.args[0] not in (DEADLOCK, LOCK_TIMEOUT):
                    raise
                await connection.rollback()  # 1205 undoes only its statement
                return error
        return issued, quotas

    async def _lock(self, cursor: aiomysql.Cursor, needed: Mapping[Stock, int], epoch: int) -> _Locked:
        """Starts the transaction and locks the ranges, and the quotas of sellers that had one; 1 round trip.

        Raises STORAGE_UNAVAILABLE when the database is in another epoch than this process (docs/adr/0029).
        """
        ids = self._range_ids
        lock = issuing_sql.lock_ranges([range_id for stock in needed for range_id in ids[stock]])
        guessed = self._quota_sellers.among(stock[0] for stock in needed)
        month = month_of(self._now_us()) if guessed else 0
        await cursor.execute(f"{lock}; {lock_quotas(guessed, month)}" if guessed else lock)
        await cursor.nextset()
        ranges = await cursor.fetchall()
        if any(row[6] != epoch for row in ranges):
            raise unavailable("the primary has changed")
        limited = sorted({row[5] for row in ranges if row[4]})
        locked = _Locked(ranges, limited)
        if guessed:
            await cursor.nextset()
            locked.uses = uses_from(await cursor.fetchall())
            locked.month = month if guessed == limited else 0
        if limited or guessed:
            self._quota_sellers.saw(guessed, limited)
        return locked

    async def _apply_quotas(self, cursor: aiomysql.Cursor, plan: _Plan, locked: _Locked, month: int) -> _Quotas:
        """Decides under lock which drafts the quotas let pass.

        Before one is refused the seller's request ids are looked up, under the same lock: what was issued already
        counts nothing and is answered as it was (P2). 1 round trip when any goes beyond its quota, and 1 when
        the quotas are not locked yet or the month has changed since.
        """
        uses = locked.uses
        if locked.month != month:
            await cursor.execute(lock_quotas(locked.limited, month))
            uses = uses_from(await cursor.fetchall())
        answers: dict[Key, Answer] = {}
        waiting = {(draft.seller_key, draft.request_id) for draft in plan.drafts}
        drafts = [draft for draft in plan.arrived if (draft.seller_key, draft.request_id) in waiting]
        shares = share_out(drafts, uses, month)
        if shares.refused:
            beyond = {key[0] for key in shares.refused}
            for item in await _issued_before(cursor, [draft for draft in drafts if draft.seller_key in beyond]):
                answers[item.seller_key, item.request_id] = item
            fresh = [draft for draft in drafts if (draft.seller_key, draft.request_id) not in answers]
            shares = share_out(fresh, uses, month)
        answers.update(shares.refused)
        return _Quotas(answers, _count(shares, uses, month))

    def _allocate(self, needed: Mapping[Stock, int], locked: Sequence[tuple[Any, ...]]) -> Allocation:
        """Decides the numbers from the locked ranges; raises _RangesMoved when they do not suffice."""
        states = {row[0]: RangeState(row[0], int(row[1]), row[2], row[3]) for row in locked}
        open_ranges = {
            stock: [states[range_id] for range_id in self._range_ids[stock] if range_id in states] for stock in needed
        }
        allocation = allocate(needed, open_ranges)
        if allocation.short:
            for stock in allocation.short:
                del self._range_ids[stock]
            raise _RangesMoved
        return allocation

    async def _find_ranges(self, plan: _Plan, needed: dict[Stock, int]) -> None:
        """Makes sure that enough open ranges are remembered for every stock; settles drafts that cannot have one.

        Costs nothing while the ranges last. When one has ended: 1 round trip a stock; 1 for all when there are several,
        as when a process starts, and 1 more for those whose first few ranges do not suffice. Raises _KnownRequests
        before it refuses anything: an answer given once is given again though the ranges are used up by now.
        """
        if len(self._range_ids) > STOCKS_KNOWN_MAX:
            self._range_ids.clear()
        unknown = {stock: count for stock, count in needed.items() if stock not in self._range_ids}
        if len(unknown) > 1:
            self._range_ids |= await range_lookup.first(self._primary(), unknown)
        for stock, count in unknown.items():
            if stock in self._range_ids:
                continue
            range_ids, left = await range_lookup.enough(self._primary(), stock, count)
            if range_ids:
                self._range_ids[stock] = range_ids
            if left >= count:
                continue
            if stock[0] not in plan.looked_up:
                raise _KnownRequests
            had_ranges = left > 0 or await range_lookup.any_at_all(self._primary(), stock)
            self._settle_short(plan, stock, keep=left, had_ranges=had_ranges)
            if left:
                needed[stock] = left
            else:
                del needed[stock]

    @staticmethod
    def _settle_short(plan: _Plan, stock: Stock, *, keep: int, had_ranges: bool) -> None:
        """Answers all drafts of a stock beyond the first `keep` that no number is left."""
        of_stock = [draft for draft in plan.drafts if (draft.seller_key, draft.kind) == stock]
        for draft in of_stock[keep:]:
            plan.settle((draft.seller_key, draft.request_id), shortage(stock, had_ranges=had_ranges))
        plan.shrink()

    async def _settle_known(self, plan: _Plan, sellers: set[int]) -> int:
        """Looks these sellers' request ids up on the primary, answers those it finds, and returns how many they were.

        1 round trip for every LOOKUP_SELLERS_MAX sellers, and 1 when any is found: nobody is told of an invoice that no
        replica has received.
        """
        primary = self._primary()
        drafts = [draft for draft in plan.drafts if draft.seller_key in sellers]
        found = [issued_from(row) for sql, values in lookups(drafts) for row in await primary.rows(sql, values)]
        if found:
            await primary.confirm()  # there, and nowhere else: another primary may not have them
        for item in found:
            item.repeated = True
            plan.settle((item.seller_key, item.request_id), item)
        plan.shrink()
        plan.looked_up |= sellers
        self._note_repeating(sellers, {item.seller_key for item in found})
        return len(found)

    def _note_repeating(self, sellers: set[int], found: set[int]) -> None:
        """Remembers which of the sellers that were looked up had sent known requests again."""
        self._repeating -= sellers
        if len(self._repeating) < REPEATING_SELLERS_MAX:
            self._repeating |= found


async def _issued_before(cursor: aiomysql.Cursor, drafts: Iterable[Draft]) -> list[Issued]:
    """Looks request ids up inside the transaction; READ COMMITTED shows all that was committed before its locks."""
    found: list[Issued] = []
    for sql, values in lookups(drafts):
        await cursor.execute(sql, values)
        found += [issued_from(row) for row in await cursor.fetchall()]
    for item in found:
        item.repeated = True
    return found


def _count(shares: Shares, uses: Mapping[int, MonthUse], month: int) -> str:
    """The statement that counts what is taken, ready to be joined to others."""
    return f"{count_quotas(shares.taken, uses, month)}; " if shares.taken else ""

"""Red-letter: issuing red invoices against what is left of their blue ones, and telling the cache before answering."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core import limits
from core.domain.errors import BillowError, Reason
from core.domain.red_letter import Sums
from core.storage.ports import Answer, InvoiceReader, IssueCache, Issued, SellerRecord, VerificationCache
from core.storage.red_letter_port import RedDraft, RedStore
from server.services.auth import Caller
from server.services.patience import Patience
from server.services.reading import ReadingService
from server.services.sellers import SellerDirectory

LOG = logging.getLogger(__name__)

WAITING_MAX = 2_000  # red invoices of one process under way, before new ones are refused
OVERLOAD_RETRY_MS = 500


@dataclass(frozen=True, slots=True)
class Blue:
    """A blue invoice that was read."""

    issued: Issued
    body: bytes
    seller: SellerRecord


class RedLetterService:
    """Issues red invoices (P2 to P4, P7). From the commit on the work belongs to a task of the server.

    Every answer comes after the cache has the new state of the blue invoice, or is known to be away (P7): a check that
    starts after it sees the new state, or, where the cache is away, asks a replica that is at most
    `mysql.replica_lag_max_ms` behind. The worker's job puts recent balances into the cache again, for what a late
    reader of an old state or a cache that was away may have left there.
    """

    def __init__(
        self,
        *,
        store: RedStore,
        reading: ReadingService,
        sellers: SellerDirectory,
        primary: InvoiceReader,
        issue_cache: IssueCache,
        entries: VerificationCache,
        wait_max_ms: int,
    ) -> None:
        self._store = store
        self._reading = reading
        self._sellers = sellers
        self._primary = primary
        self._issue_cache = issue_cache
        self._entries = entries
        self._patiently = Patience(wait_max_ms=wait_max_ms)
        self._wait_max_s = wait_max_ms / 1_000
        self._tasks: set[asyncio.Task[Any]] = set()
        self._under_way = 0

    async def blues(self, caller: Caller, numbers: Sequence[str]) -> dict[str, Blue]:
        """Reads blue invoices of the tenant with their bodies; those it does not have are missing (P8).

        Round trips as ReadingService.get_invoice, for each; at most RED_READS_MAX are read at once.
        """
        found: dict[str, Blue] = {}
        slots = asyncio.Semaphore(limits.RED_READS_MAX)

        async def read(number: str) -> None:
            async with slots:
                one = await self._reading.invoice_of_any(number)
                if one is not None and one[1].tenant_key == caller.tenant_key:
                    found[number] = Blue(one[0].issued, await self._reading.read_body(one[0]), one[1])

        await asyncio.gather(*map(read, set(numbers)))
        return found

    async def taken(self, number: str) -> Sums:
        """Reads what the reds of an invoice took so far; 1 round trip."""
        return await self._patiently(lambda: self._store.taken(number))

    async def issue(self, drafts: Sequence[RedDraft | BillowError]) -> list[Answer]:
        """Issues the good ones of some drafts and answers each, in order.

        Raises OVERLOADED when none was accepted, TimeoutError when it takes too long: then it may have been done.
        Round trips a transaction of RED_COMMIT_ITEMS_MAX: as RedStore.commit, 1 to read, 2 to the cache.
        """
        good = [draft for draft in drafts if isinstance(draft, RedDraft)]
        if self._under_way + len(good) > WAITING_MAX:
            words = f"{self._under_way} red invoices are under way already"
            raise BillowError(Reason.OVERLOADED, words, retry_delay_ms=OVERLOAD_RETRY_MS)
        self._under_way += len(good)
        task = self._own(self._see_through(good))
        async with asyncio.timeout(self._wait_max_s):
            answers = iter(await asyncio.shield(task))
        return [next(answers) if isinstance(draft, RedDraft) else draft for draft in drafts]

    def _own(self, work: Coroutine[Any, Any, list[Answer]]) -> asyncio.Task[list[Answer]]:
        """Lets work go on whatever becomes of its caller."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[list[Answer]]) -> None:
        """Takes note of a task's end, whether or not anybody still waits for it."""
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            LOG.warning("red invoices may be committed and not answered", extra={"reason": str(task.exception())})

    async def _see_through(self, drafts: Sequence[RedDraft]) -> list[Answer]:
        """Commits the drafts in parts and tells the cache after each."""
        answers: list[Answer] = []
        blue_of = {(draft.seller_key, draft.request_id): draft.blue_number for draft in drafts}
        try:
            for part in cut(drafts):
                committed = await self._commit(part)
                await self._tell(committed, blue_of)
                answers += committed
        finally:
            self._under_way -= len(drafts)
        return answers

    async def _commit(self, part: Sequence[RedDraft]) -> list[Answer]:
        """Commits one part; a failure is the answer of each of its drafts, as in server/coalescer.py."""
        try:
            return await self._store.commit(part)
        except BillowError as error:
            return [error] * len(part)
        except Exception:
            LOG.exception("a red commit failed", extra={"items": len(part)})
            return [BillowError(Reason.INTERNAL, "a fault inside Billow")] * len(part)

    async def _tell(self, committed: Sequence[Answer], blue_of: Mapping[tuple[int, str], str]) -> None:
        """Puts the blue invoices' new state into the cache, and the red ones; 1 round trip to read, 2 to the cache.

        Repeats tell it again: the first answer may have been lost before it.
        """
        issued = [answer for answer in committed if isinstance(answer, Issued)]
        if not issued:
            return
        numbers = sorted({blue_of[item.seller_key, item.request_id] for item in issued})
        found = await self._patiently(lambda: self._primary.verification_entries(numbers))
        await self._entries.replace(list(found.values()))
        tax_ids = self._sellers.tax_ids({item.seller_key for item in issued})
        await self._issue_cache.remember(issued, tax_ids, answers=False)  # the store is asked for those

    async def close(self) -> None:
        """Waits until nothing is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)


def cut(drafts: Sequence[RedDraft]) -> list[list[RedDraft]]:
    """Cuts drafts into parts that one transaction takes."""
    parts: list[list[RedDraft]] = []
    size = 0
    for draft in drafts:
        full = not parts or len(parts[-1]) >= limits.RED_COMMIT_ITEMS_MAX
        if full or size + draft.bytes_max > limits.COMMIT_BYTES_MAX:
            parts.append([])
            size = 0
        parts[-1].append(draft)
        size += draft.bytes_max
    return parts

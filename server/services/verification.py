"""Verification: cache, then a fresh replica, then the primary; "not found" is the primary's word only (P7)."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from core import limits
from core.domain import verification
from core.domain.errors import BillowError, Reason
from core.domain.invoice import Items
from core.domain.verification import Check, Outcome, Result
from core.storage.ports import InvoiceReader, VerificationCache, VerificationEntry
from server.services.gather import Gather
from server.services.patience import Patience

LOG = logging.getLogger(__name__)

BACKGROUND_WRITES_MAX = 16  # into the cache; beyond, what was read is not remembered

Checks = Items[Check]
Entries = dict[str, VerificationEntry]


class VerificationMetrics(Protocol):
    """What is measured of checks."""

    def verified(self, outcome: str, items: int) -> None:
        """So many checks had this outcome."""

    def read(self, what: str, source: str) -> None:
        """A batched read of something was answered by a source: replica or primary."""


class VerificationService:
    """Checks invoices of any tenant. `now_us` is the wall clock.

    While the primary is away checks that need it wait for up to `wait_max_ms`, then raise STORAGE_UNAVAILABLE: a store
    that cannot be asked is never answered as "not found".
    """

    def __init__(
        self,
        *,
        cache: VerificationCache,
        replicas: InvoiceReader,
        primary: InvoiceReader,
        metrics: VerificationMetrics,
        now_us: Callable[[], int],
        wait_max_ms: int,
    ) -> None:
        self._cache = cache
        self._replicas = replicas
        self._primary = primary
        self._metrics = metrics
        self._now_us = now_us
        self._patiently = Patience(wait_max_ms=wait_max_ms)
        self._writes: set[asyncio.Task[None]] = set()
        self._singles = Gather[str, VerificationEntry](
            read=self._entries, items_max=limits.VERIFY_READ_ITEMS_MAX, waiting_max=limits.VERIFY_WAITING_MAX
        )

    async def verify(self, check: Check) -> Result:
        """Checks one invoice for a caller with a key; raises OVERLOADED when too many checks wait.

        Round trips, shared with the checks that arrive at the same time: 1 to the cache; after a miss 1 to a replica;
        what is not there either, 1 to the primary.
        """
        result = verification.before_lookup(check, self._today())
        if result is None:
            entry = await self.find(check.number)
            result = verification.NOT_FOUND if entry is None else verification.compare(check, entry)
        self._metrics.verified(Outcome(result[0]).name, 1)
        return result

    async def find(self, number: str) -> VerificationEntry | None:
        """Finds what checking an invoice needs to know of it; None: no such invoice, on the primary's word (P7).

        Raises OVERLOADED when too many checks wait. Round trips as `verify`.
        """
        return await self._singles.get(number)

    async def may_check_publicly(self, number: str) -> bool:
        """Counts one more check of an invoice that exists for a caller without a key; False: too many today.

        1 round trip to the cache.
        """
        (count,) = await self._cache.count_public_checks((number,), self._today())
        return count <= limits.PUBLIC_CHECKS_A_DAY_MAX

    async def verify_publicly(self, check: Check) -> Result:
        """Checks number, date and total for a caller without a key, at most PUBLIC_CHECKS_A_DAY_MAX times a day.

        Raises API_KEY_MISSING when more is asked. Round trips as `verify`, and 1 to the cache for an invoice that
        exists: made-up numbers are not counted, they cannot be guessed at.
        """
        if verification.needs_key(check):
            words = "without an API key only number, issue_date and gross_total_minor can be checked"
            raise BillowError(Reason.API_KEY_MISSING, words)
        result = verification.before_lookup(check, self._today())
        if result is None:
            entry = await self.find(check.number)
            if entry is None:
                result = verification.NOT_FOUND
            else:
                allowed = await self.may_check_publicly(check.number)
                result = verification.compare(check, entry) if allowed else verification.TOO_MANY_CHECKS
        self._metrics.verified(Outcome(result[0]).name, 1)
        return result

    async def verify_batch(self, checks: Checks) -> list[Result]:
        """Checks up to BATCH_ITEMS_MAX invoices for a caller with a key; results in order.

        Round trips as `verify`, for the whole batch.
        """
        today = self._today()
        before = verification.before_lookup
        known = [before(check, today) for check in checks]
        numbers = list({check.number: None for check, result in zip(checks, known, strict=True) if result is None})
        entries = await self._entries(numbers) if numbers else {}
        compare = verification.compare
        results: list[Result] = []
        for check, result in zip(checks, known, strict=True):
            if result is not None:
                results.append(result)
                continue
            entry = entries.get(check.number)
            results.append(verification.NOT_FOUND if entry is None else compare(check, entry))
        for outcome, items in Counter(result[0] for result in results).items():
            self._metrics.verified(Outcome(outcome).name, items)
        return results

    def _today(self) -> int:
        """Returns the present date where the invoices are issued, yyyymmdd."""
        return verification.date_of(self._now_us())

    async def _entries(self, numbers: Sequence[str]) -> Entries:
        """Returns the entries of the invoices that exist, by number."""
        cached = await self._cache.entries(numbers)
        found = {number: entry for number, entry in cached.items() if entry is not None}
        if len(cached) < len(numbers):
            found |= await self._read([number for number in numbers if number not in cached])
        return found

    async def _read(self, numbers: Sequence[str]) -> Entries:
        """Reads what the cache does not know and remembers it."""
        found: Entries = {}
        try:
            found = await self._replicas.verification_entries(numbers)
            self._metrics.read("entries", "replica")
        except BillowError as error:
            if error.reason is not Reason.STORAGE_UNAVAILABLE:
                raise
        missing = [number for number in numbers if number not in found]
        if missing:
            found |= await self._patiently(lambda: self._primary.verification_entries(missing))
            self._metrics.read("entries", "primary")
        absent = [number for number in missing if number not in found]
        self._later(self._cache.remember(list(found.values()), absent))
        return found

    def _later(self, write: Coroutine[Any, Any, None]) -> None:
        """Lets a write into the cache go on by itself: nobody waits for it."""
        if len(self._writes) >= BACKGROUND_WRITES_MAX:
            write.close()
            return
        task = asyncio.create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def close(self) -> None:
        """Waits until nothing is under way."""
        await self._singles.close()
        while self._writes:
            await asyncio.gather(*self._writes, return_exceptions=True)

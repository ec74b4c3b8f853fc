"""What follows red invoices: their blue ones' balances put into the cache again, and unanswered forms voided.

A red invoice is answered after the cache has its blue one's new state (server/services/red_letter.py). Two things may
still bring an old state back: a reader that read a replica before the red and remembers it after the cache was
emptied, and a cache that was away when it was told and returns with what it had. Both are over within
REASSERT_INTERVAL_MS and a read (P7): every balance that changed within the last REASSERT_WINDOW_MS, longer than any
reader may take, is put there again and again, and while the cache cannot be told, the window stays open at its start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from core.limits import RED_EXPIRE_ITEMS_MAX, RED_REASSERT_ITEMS_MAX
from core.storage.ports import InvoiceReader, VerificationCache
from core.storage.red_letter_port import FormStore, RedStore

REASSERT_INTERVAL_MS: Final = 250
REASSERT_WINDOW_MS: Final = 10_000  # a replica's lag, a read, a write into the cache, and clocks that differ
EXPIRE_INTERVAL_MS: Final = 5_000


class ReassertJob:
    """Puts recent balances into the cache. `cached_s` is how long an entry lives there: what is older has gone."""

    name = "red-balances"

    def __init__(
        self,
        *,
        reds: RedStore,
        primary: InvoiceReader,
        entries: VerificationCache,
        cached_s: int,
        now_us: Callable[[], int],
    ) -> None:
        self._reds = reds
        self._primary = primary
        self._entries = entries
        self._now_us = now_us
        self._reach_us = (cached_s * 1_000 + REASSERT_WINDOW_MS) * 1_000
        self._since_us = now_us() - self._reach_us
        self._began_us = 0  # when the round under way began
        self._after = ""  # how far it has come
        self._told = True  # whether the cache took all of it

    async def step(self) -> bool:
        """Tells the cache one page of the balances changed since; see the port of Loop. 3 round trips."""
        if not self._after:
            now_us = self._now_us()
            if now_us < self._began_us - REASSERT_WINDOW_MS * 500:
                self._since_us = now_us - self._reach_us  # the clock was ahead: changes seemed too old; begin anew
            self._began_us, self._told = now_us, True
        page = await self._reds.changed(since_us=self._since_us, after=self._after, items_max=RED_REASSERT_ITEMS_MAX)
        if page:
            numbers = [number for number, _ in page]
            found = await self._primary.verification_entries(numbers)
            if not await self._entries.replace(list(found.values())):
                self._told = False
        if len(page) == RED_REASSERT_ITEMS_MAX:
            self._after = page[-1][0]
            return True
        self._after = ""
        if self._told:
            self._since_us = max(self._since_us, self._began_us - REASSERT_WINDOW_MS * 1_000)
        return False

    async def idle(self) -> None:
        """Waits for the next round."""
        await asyncio.sleep(REASSERT_INTERVAL_MS / 1_000)


class ExpireJob:
    """Voids confirmation forms that nobody answered in time. Whoever looks sees them as void before, too."""

    name = "red-forms"

    def __init__(self, *, forms: FormStore, now_us: Callable[[], int]) -> None:
        self._forms = forms
        self._now_us = now_us

    async def step(self) -> bool:
        """Voids some; see the port of Loop."""
        return await self._forms.expire(now_us=self._now_us(), items_max=RED_EXPIRE_ITEMS_MAX) > 0

    async def idle(self) -> None:
        """Waits until some more may be overdue."""
        await asyncio.sleep(EXPIRE_INTERVAL_MS / 1_000)

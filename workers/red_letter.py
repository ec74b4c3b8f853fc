"""What follows red invoices: their blue ones' balances put into the cache again, and unanswered forms voided.

A red invoice is answered after the cache has its blue one's new state (server/services/red_letter.py). Two things may
still bring an old state back: a reader that read a replica before the red and remembers it after the cache was
emptied, and a cache that was away when it was told and returns with what it had. Both are over within
REASSERT_INTERVAL_MS and a read (P7): every balance that changed within the last REASSERT_WINDOW_MS, longer than any
reader may take, is put there again and again, and while the cache cannot be told, the window stays open at its start.
When something changed the database says, so servers' clocks do not matter; and when its own jumps, all is told again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from core.limits import RED_EXPIRE_ITEMS_MAX, RED_REASSERT_ITEMS_MAX
from core.storage.ports import InvoiceReader, VerificationCache
from core.storage.red_letter_port import FormStore, RedStore

REASSERT_INTERVAL_MS: Final = 250
REASSERT_WINDOW_MS: Final = 10_000  # a replica's lag, a read, a write into the cache, clocks of databases that differ
JUMP_US: Final = REASSERT_WINDOW_MS * 1_000 // 2  # less is within the window
EXPIRE_INTERVAL_MS: Final = 5_000


class ReassertJob:
    """Puts recent balances into the cache.

    `cached_s` is how long an entry lives there: what is older has gone. `clock`: seconds, never set.
    """

    name = "red-balances"

    def __init__(
        self,
        *,
        reds: RedStore,
        primary: InvoiceReader,
        entries: VerificationCache,
        cached_s: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reds = reds
        self._primary = primary
        self._entries = entries
        self._clock = clock
        self._reach_us = (cached_s * 1_000 + REASSERT_WINDOW_MS) * 1_000
        self._since_us = 0
        self._began_us: int | None = None  # when the round under way began, by the database's clock
        self._began_s = 0.0  # and by ours
        self._after = ""  # how far it has come
        self._told = True  # whether the cache took all of it

    async def step(self) -> bool:
        """Tells the cache one page of the balances changed since; see the port of Loop. 4 round trips."""
        if not self._after:
            await self._begin()
        page = await self._reds.changed(since_us=self._since_us, after=self._after, items_max=RED_REASSERT_ITEMS_MAX)
        if page:
            found = await self._primary.verification_entries(page)
            if not await self._entries.replace(list(found.values())):
                self._told = False
        if len(page) == RED_REASSERT_ITEMS_MAX:
            self._after = page[-1]
            return True
        self._after = ""
        if self._told and self._began_us is not None:
            self._since_us = max(self._since_us, self._began_us - REASSERT_WINDOW_MS * 1_000)
        return False

    async def _begin(self) -> None:
        """Begins a round; the first one, and one after the database's clock was set, reach to all that is cached."""
        now_s, now_us = self._clock(), await self._reds.time_us()
        jump_us = 0 if self._began_us is None else now_us - self._began_us - int((now_s - self._began_s) * 1_000_000)
        if self._began_us is None or abs(jump_us) > JUMP_US:
            self._since_us = now_us - self._reach_us - max(0, jump_us)
        self._began_s, self._began_us, self._told = now_s, now_us, True

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

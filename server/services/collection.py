"""Collection: the invoices that taxpayers received, page by page and as they come (docs/adr/0018)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

from core.domain.errors import BillowError, Reason, Violation
from core.limits import RECEIVED_MESSAGE_ITEMS_MAX, SUBSCRIPTIONS_MAX
from core.storage.collection_port import Received, ReceivedStore
from core.storage.entry_port import TaxIdStore, tax_id_not_proven
from server.services import paging
from server.services.auth import Caller
from server.services.patience import Patience
from server.services.registry_rules import refuse
from server.services.tax_ids import tax_id_faults

LOOK_MS: Final = 500  # between two looks of a subscription that has all there is
SIGN_OF_LIFE_MS: Final = 10_000
RETRY_MS: Final = 1_000
POSITION_MAX: Final = 2**63 - 1


class CollectionService:
    """Gives a tenant what was issued to the taxpayer ids it has proved, by whomever: the one exception to P8.

    `draining` is set when the server is about to stop: subscriptions then end, so that they hold up nothing.
    """

    def __init__(
        self,
        *,
        store: ReceivedStore,
        tax_ids: TaxIdStore,
        draining: asyncio.Event,
        wait_max_ms: int,
        look_ms: int = LOOK_MS,
        subscriptions_max: int = SUBSCRIPTIONS_MAX,
    ) -> None:
        self._store = store
        self._tax_ids = tax_ids
        self._draining = draining
        self._patiently = Patience(wait_max_ms=wait_max_ms)
        self._look_ms = look_ms
        self._subscriptions_max = subscriptions_max
        self._subscriptions = 0

    async def list_received(self, caller: Caller, *, buyer_tax_id: str, after: int, page_size: int) -> list[Received]:
        """Reads the next invoices after a position; 2 round trips.

        Raises INVALID_REQUEST, TAX_ID_NOT_PROVEN. While the database is away it waits for up to `wait_max_ms`.
        """
        _check(buyer_tax_id, after)
        items_max = paging.size_of(page_size)
        return await self._patiently(lambda: self._next(caller, buyer_tax_id, after, items_max))

    async def subscribe(self, caller: Caller, *, buyer_tax_id: str, after: int) -> AsyncGenerator[list[Received], None]:
        """Yields the invoices after a position and each new one as it comes; an empty list is a sign of life.

        Looks every `look_ms` and then has the proof confirmed again: 2 round trips. Waits while the database is away.
        Raises as list_received, OVERLOADED when there are too many subscriptions, SHUTTING_DOWN to end it.
        """
        _check(buyer_tax_id, after)
        if self._subscriptions >= self._subscriptions_max:
            words = "too many subscriptions on this server"
            raise BillowError(Reason.OVERLOADED, words, retry_delay_ms=RETRY_MS)
        self._subscriptions += 1
        try:
            told_at = time.monotonic()
            while not self._draining.is_set():
                found = await self._look(caller, buyer_tax_id, after)
                if found or time.monotonic() - told_at >= SIGN_OF_LIFE_MS / 1_000:
                    yield found
                    told_at = time.monotonic()
                    after = found[-1].position if found else after
                if len(found) < RECEIVED_MESSAGE_ITEMS_MAX:
                    await self._pause()
            raise BillowError(Reason.SHUTTING_DOWN, "the server is stopping: go on at another", retry_delay_ms=0)
        finally:
            self._subscriptions -= 1

    async def _look(self, caller: Caller, buyer_tax_id: str, after: int) -> list[Received]:
        """Reads the next invoices; none while the database is away."""
        try:
            return await self._next(caller, buyer_tax_id, after, RECEIVED_MESSAGE_ITEMS_MAX)
        except BillowError as error:
            if error.reason is not Reason.STORAGE_UNAVAILABLE:
                raise
            return []

    async def _next(self, caller: Caller, buyer_tax_id: str, after: int, items_max: int) -> list[Received]:
        if not await self._tax_ids.is_proven(caller.tenant_key, buyer_tax_id):
            raise tax_id_not_proven(buyer_tax_id)
        return await self._store.received(buyer_tax_id, after=after, items_max=items_max)

    async def _pause(self) -> None:
        """Waits for the next look, or for the server's end."""
        try:
            async with asyncio.timeout(self._look_ms / 1_000):
                await self._draining.wait()
        except TimeoutError:
            return


def _check(buyer_tax_id: str, after: int) -> None:
    """Raises INVALID_REQUEST with every faulty field."""
    faults = tax_id_faults(buyer_tax_id, "buyer_tax_id")
    if not 0 <= after <= POSITION_MAX:
        faults.append(Violation("after_position", "POSITION", "must not be negative"))
    refuse(faults)

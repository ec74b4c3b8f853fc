"""What the contract of delivery is tested on: MySQL and its twin."""

from __future__ import annotations

import secrets
import time
from typing import Protocol

from core.storage.allocation import RangeState
from core.storage.delivery_port import DeliveryQueue, Endpoint, EndpointKind, EndpointState, EndpointStore
from core.storage.memory.delivery import MemoryDelivery
from core.storage.memory.issuing import MemoryIssuingStore
from core.storage.memory.tables import MemoryTables
from core.storage.mysql.delivery_queue import MySQLDeliveryQueue
from core.storage.mysql.endpoints import MySQLEndpointStore
from core.storage.ports import Issued
from tests.contract.issuing_subjects import GENERAL
from tests.support.databases import OwnStores
from tests.support.invoices import tax_id
from tests.support.issuing import TestSeller


class DeliverySubject(Protocol):
    """Both ports of delivery, and a seller that issues."""

    store: EndpointStore
    queue: DeliveryQueue

    async def seller(self) -> TestSeller:
        """Registers a seller."""
        ...

    async def issue(self, seller: TestSeller, invoices: int) -> list[Issued]:
        """Issues so many invoices in one batch."""
        ...


class MemoryDeliverySubject:
    """The twin."""

    def __init__(self) -> None:
        self._tables = MemoryTables()
        self._names: dict[int, tuple[str, str]] = {}
        self._serial = 0
        self._issuing = MemoryIssuingStore(tables=self._tables, now_us=now_us)
        both = MemoryDelivery(tables=self._tables, sellers=self._names, now_us=now_us)
        self.store: EndpointStore = both
        self.queue: DeliveryQueue = both

    async def seller(self) -> TestSeller:
        """Registers a seller."""
        key = len(self._names) + 1
        self._names[key] = ("s", "seller")
        first = 26 * 10**18 + key * 10**12
        self._tables.ranges[key, GENERAL] = [RangeState(range_id=key, first_number=first, size=10**6, used=0)]
        return TestSeller(seller_key=key, tax_id=tax_id(key))

    async def issue(self, seller: TestSeller, invoices: int) -> list[Issued]:
        """Issues over the same tables."""
        first, self._serial = self._serial, self._serial + invoices
        drafts = [seller.draft(f"r-{serial}", serial=serial) for serial in range(first, self._serial)]
        return [answer for answer in await self._issuing.commit(drafts) if isinstance(answer, Issued)]


class MySQLDeliverySubject:
    """The real ones on a database of their own."""

    def __init__(self, stores: OwnStores) -> None:
        self._stores = stores
        self.store: EndpointStore = MySQLEndpointStore(primary=lambda: stores.primary)
        self.queue: DeliveryQueue = MySQLDeliveryQueue(primary=lambda: stores.primary)

    async def seller(self) -> TestSeller:
        """Registers a seller."""
        return await self._stores.issuer.seller()

    async def issue(self, seller: TestSeller, invoices: int) -> list[Issued]:
        """Issues through the real issuing store."""
        return await self._stores.issuer.issue(seller, invoices)


def endpoint_of(
    seller: TestSeller,
    *,
    kind: EndpointKind = EndpointKind.WEBHOOK,
    target: str = "https://example.com/",
    every_invoice: bool = True,
) -> Endpoint:
    """A new endpoint of a seller, not yet stored."""
    return Endpoint(
        endpoint_key=0,
        endpoint_id=secrets.token_hex(8),
        seller_key=seller.seller_key,
        kind=kind,
        target=target,
        every_invoice=every_invoice,
        state=EndpointState.ACTIVE,
        state_reason="",
        secret=bytes(range(32)),
        old_secret=b"",
        old_secret_until_us=0,
        failures=0,
        open_until_us=0,
        created_at_us=now_us(),
    )


def now_us() -> int:
    """The present time."""
    return time.time_ns() // 1_000

"""What the contracts of the registry, the readers and the caches are tested on: the real stores and their twins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from core.domain.kinds import InvoiceKind
from core.domain.parties import Party
from core.settings import MySQLSettings
from core.storage.allocation import RangeState
from core.storage.memory.issuing import MemoryIssuingStore
from core.storage.memory.reader import MemoryInvoiceReader
from core.storage.memory.registry import MemoryRegistryStore
from core.storage.memory.tables import MemoryTables
from core.storage.mysql.issuing import MySQLIssuingStore
from core.storage.mysql.pool import Node, Primary, Replicas
from core.storage.mysql.reader import PrimaryReader, ReplicaReader
from core.storage.mysql.registry import MySQLRegistryStore
from core.storage.ports import InvoiceReader, Issued, IssuingStore, SellerRecord
from core.storage.registry_port import NumberRangeRecord, RegistryStore, TenantRecord
from tests.support.invoices import tax_id
from tests.support.issuing import TestSeller

GENERAL = int(InvoiceKind.GENERAL)
REPLICA_WAIT_S = 10.0

_serials = count(time.time_ns() // 1_000_000 % 10**9)


def now_us() -> int:
    """The present time."""
    return time.time_ns() // 1_000


def new_serial() -> int:
    """A number that no other test of this database has."""
    return next(_serials)


async def new_tenant(registry: RegistryStore) -> TenantRecord:
    """Creates a tenant."""
    return await registry.create_tenant(TenantRecord(0, f"tenant-{new_serial()}", "租户", now_us()))


async def new_seller(registry: RegistryStore, tenant_key: int, seller_id: str = "") -> SellerRecord:
    """Registers a seller."""
    serial = new_serial()
    party = Party(
        name=f"卖方 {serial}", tax_id=tax_id(serial), address="路 1 号", phone="1", bank_name="b", bank_account="2"
    )
    record = SellerRecord(0, tenant_key, seller_id or f"seller-{serial}", "cn", party, now_us())
    return await registry.create_seller(record)


def new_range(seller_key: int, *, size: int = 1_000) -> NumberRangeRecord:
    """A range that touches no other."""
    first = (26 * 10**9 + new_serial()) * 10**9 + 5 * 10**8  # other test data keeps to the first million
    return NumberRangeRecord(0, seller_key, GENERAL, f"{first:020d}", f"{first + size - 1:020d}", 0, now_us())


class Books(Protocol):
    """A registry, an issuing store and a reader over the same data."""

    @property
    def registry(self) -> RegistryStore:
        """Tenants, keys, sellers, ranges."""
        ...

    @property
    def issuing(self) -> IssuingStore:
        """Writes."""
        ...

    @property
    def reader(self) -> InvoiceReader:
        """Reads what was written."""
        ...

    async def add_range(self, seller: SellerRecord, size: int) -> None:
        """Gives a seller numbers."""
        ...

    async def redden(self, number: str, red_total_minor: int) -> None:
        """Sets the sum of the red invoices of an invoice."""
        ...

    async def settle(self, numbers: Sequence[str]) -> None:
        """Waits until the reader has the invoices."""
        ...


async def issue(books: Books, seller: SellerRecord, request_ids: Sequence[str]) -> list[Issued]:
    """Issues an invoice for each request id in one commit, and waits until the reader has them."""
    drafter = TestSeller(seller_key=seller.seller_key, tax_id=seller.party.tax_id)
    drafts = [drafter.draft(request_id, serial=position + 1) for position, request_id in enumerate(request_ids)]
    answers = [answer for answer in await books.issuing.commit(drafts) if isinstance(answer, Issued)]
    assert len(answers) == len(request_ids)
    await books.settle([answer.number for answer in answers])
    return answers


class MemoryBooks:
    """The twins."""

    def __init__(self) -> None:
        self.tables = MemoryTables()
        self.registry = MemoryRegistryStore()
        self.issuing = MemoryIssuingStore(tables=self.tables, now_us=now_us)
        self.reader = MemoryInvoiceReader(tables=self.tables, registry=self.registry)

    async def add_range(self, seller: SellerRecord, size: int) -> None:
        """Puts a range into the tables."""
        added = await self.registry.add_number_range(new_range(seller.seller_key, size=size))
        state = RangeState(added.range_id, int(added.first_number), size, 0)
        self.tables.ranges.setdefault((seller.seller_key, GENERAL), []).append(state)

    async def redden(self, number: str, red_total_minor: int) -> None:
        """Changes the row."""
        row = self.tables.invoices[number]
        self.tables.invoices[number] = type(row)(row.issued, row.batch_id, row.batch_position, red_total_minor)

    async def settle(self, numbers: Sequence[str]) -> None:
        """Nothing to wait for."""

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class _Nodes:
    primary: Node
    replicas: list[Node]


class MySQLBooks:
    """The real stores; reads from the primary or from the replica."""

    def __init__(self, settings: MySQLSettings, *, from_replica: bool) -> None:
        self._writer = Node(settings, settings.primary)
        self._nodes = _Nodes(Node(settings, settings.primary), [Node(settings, item) for item in settings.replicas])
        self.primary = Primary(self._nodes.primary)
        replicas = Replicas(self._nodes.replicas)
        self.registry = MySQLRegistryStore(primary=lambda: self.primary, replicas=lambda: replicas)
        writer = Primary(self._writer)
        self.issuing = MySQLIssuingStore(primary=lambda: writer, now_us=now_us, away_wait_ms=5_000)
        self.reader: PrimaryReader | ReplicaReader = PrimaryReader(primary=lambda: self.primary)
        if from_replica:
            self.reader = ReplicaReader(replicas=lambda: replicas)

    async def add_range(self, seller: SellerRecord, size: int) -> None:
        """Adds a range."""
        await self.registry.add_number_range(new_range(seller.seller_key, size=size))

    async def redden(self, number: str, red_total_minor: int) -> None:
        """Writes the balance and waits until the reader has it."""
        await self.primary.rows(
            "REPLACE INTO red_balances (blue_number, red_total_minor) VALUES (%s, %s)", (number, red_total_minor)
        )
        await self._catch_up()

    async def settle(self, numbers: Sequence[str]) -> None:
        """Waits for the replica."""
        await self._catch_up()

    async def _catch_up(self) -> None:
        ((position,),) = await self.primary.rows("SELECT @@GLOBAL.gtid_binlog_pos")
        for node in self._nodes.replicas:
            async with node.connection() as connection, connection.cursor() as cursor:
                await cursor.execute("SELECT MASTER_GTID_WAIT(%s, %s)", (position, REPLICA_WAIT_S))
                assert (await cursor.fetchone())[0] == 0

    async def close(self) -> None:
        """Closes all connections."""
        for node in (self._writer, self._nodes.primary, *self._nodes.replicas):
            node.drop()

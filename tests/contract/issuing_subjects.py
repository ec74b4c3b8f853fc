"""What the issuing contract is tested on: the MySQL store and its in-memory twin."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from core.domain.kinds import InvoiceKind
from core.settings import MySQLSettings
from core.storage import block
from core.storage.allocation import RangeState
from core.storage.memory.issuing import MemoryIssuingStore
from core.storage.memory.quotas import MemoryQuotaStore
from core.storage.memory.tables import MemoryTables
from core.storage.mysql.issuing import MySQLIssuingStore
from core.storage.mysql.pool import Node, Primary
from core.storage.mysql.quotas import MySQLQuotaStore
from core.storage.ports import BatchRow, IssuingStore
from core.storage.quota_port import QuotaStore
from tests.support.invoices import tax_id
from tests.support.issuing import TestIssuer, TestSeller

GENERAL = int(InvoiceKind.GENERAL)
AWAY_WAIT_MS = 5_000


def now_us() -> int:
    """The present time."""
    return time.time_ns() // 1_000


class Subject(Protocol):
    """A store with what the tests need to prepare and to look behind it. `shift_us`: how far its clock is ahead."""

    shift_us: int

    @property
    def store(self) -> IssuingStore:
        """The store."""
        ...

    @property
    def quotas(self) -> QuotaStore:
        """The credit quotas of its sellers."""
        ...

    async def seller(self, *, ranges: Sequence[int] = (1_000_000,)) -> TestSeller:
        """Registers a seller with ranges of these sizes for general invoices."""
        ...

    async def add_range(self, seller: TestSeller, size: int, *, kind: int = GENERAL) -> None:
        """Adds another range."""
        ...

    async def ranges(self, seller: TestSeller) -> list[tuple[int, int]]:
        """Returns (first number, size) of the seller's ranges in the order of their use."""
        ...

    async def batch_of(self, number: str) -> BatchRow:
        """Returns the batch of an invoice."""
        ...

    def another_store(self) -> IssuingStore:
        """Returns a store over the same data as another process would have."""
        ...


class MySQLSubject:
    """The real store on the real primary."""

    def __init__(self, settings: MySQLSettings) -> None:
        self._settings = settings
        self._nodes: list[Node] = []
        self.shift_us = 0
        self.store = self.another_store()
        self.primary = Primary(self._node())
        self.quotas = MySQLQuotaStore(primary=lambda: self.primary, now_us=self._now_us)
        self._issuer = TestIssuer(primary=self.primary, store=self.store)

    def _node(self) -> Node:
        node = Node(self._settings, self._settings.primary)
        self._nodes.append(node)
        return node

    def _now_us(self) -> int:
        return now_us() + self.shift_us

    def another_store(self) -> MySQLIssuingStore:
        """A store with connections of its own."""
        primary = Primary(self._node())
        return MySQLIssuingStore(primary=lambda: primary, now_us=self._now_us, away_wait_ms=AWAY_WAIT_MS)

    async def seller(self, *, ranges: Sequence[int] = (1_000_000,)) -> TestSeller:
        """Registers a seller by SQL."""
        return await self._issuer.seller(ranges=ranges)

    async def add_range(self, seller: TestSeller, size: int, *, kind: int = GENERAL) -> None:
        """Adds a range behind the last."""
        first, count = (await self.ranges(seller))[-1]
        start = first + count + 10
        await self.primary.rows(
            "INSERT INTO number_ranges (seller_key, kind, first_number, last_number, size, created_at_us)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (seller.seller_key, kind, f"{start:020d}", f"{start + size - 1:020d}", size, now_us()),
        )

    async def ranges(self, seller: TestSeller) -> list[tuple[int, int]]:
        """Reads the ranges."""
        found = await self.primary.rows(
            "SELECT first_number, size FROM number_ranges WHERE seller_key = %s ORDER BY range_id", (seller.seller_key,)
        )
        return [(int(first), size) for first, size in found]

    async def batch_of(self, number: str) -> BatchRow:
        """Reads the batch."""
        sql = (
            "SELECT batch_id, batches.issued_at_us, items, runs, block, segment_id, segment_row FROM batches"
            " JOIN invoices USING (batch_id) WHERE number = %s"
        )
        ((batch_id, issued_at_us, items, runs, packed, segment_id, row),) = await self.primary.rows(sql, (number,))
        return BatchRow(batch_id, issued_at_us, items, block.unpack_runs(runs), packed, segment_id, row)

    async def close(self) -> None:
        """Closes all connections."""
        for node in self._nodes:
            node.drop()


class MemorySubject:
    """The twin."""

    def __init__(self) -> None:
        self._tables = MemoryTables()
        self._sellers = 0
        self.shift_us = 0
        self.store = self.another_store()
        self.quotas = MemoryQuotaStore(tables=self._tables, now_us=self._now_us)

    def _now_us(self) -> int:
        return now_us() + self.shift_us

    def another_store(self) -> MemoryIssuingStore:
        """The same store: in memory there is only one."""
        if not hasattr(self, "store"):
            return MemoryIssuingStore(tables=self._tables, now_us=self._now_us)
        return self.store

    async def seller(self, *, ranges: Sequence[int] = (1_000_000,)) -> TestSeller:
        """Makes up a seller."""
        self._sellers += 1
        seller = TestSeller(seller_key=self._sellers, tax_id=tax_id(self._sellers))
        for size in ranges:
            await self.add_range(seller, size)
        return seller

    async def add_range(self, seller: TestSeller, size: int, *, kind: int = GENERAL) -> None:
        """Adds a range behind the last."""
        states = self._tables.ranges.setdefault((seller.seller_key, kind), [])
        start = 26 * 10**18 + seller.seller_key * 10**12 + kind * 10**11
        if states:
            start = states[-1].first_number + states[-1].size + 10
        range_id = 1 + sum(map(len, self._tables.ranges.values()))
        states.append(RangeState(range_id=range_id, first_number=start, size=size, used=0))

    async def ranges(self, seller: TestSeller) -> list[tuple[int, int]]:
        """Returns the ranges."""
        return [(state.first_number, state.size) for state in self._tables.ranges[seller.seller_key, GENERAL]]

    async def batch_of(self, number: str) -> BatchRow:
        """Returns the batch."""
        return self._tables.batches[self._tables.invoices[number].batch_id]

    async def close(self) -> None:
        """Nothing to close."""

"""What the contracts of the archive are tested on: MySQL and S3, and their twins."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Protocol

from core.storage.allocation import RangeState
from core.storage.memory.issuing import MemoryIssuingStore
from core.storage.memory.outbox import MemoryOutboxStore
from core.storage.memory.tables import MemoryTables
from core.storage.mysql.reader import PrimaryReader
from core.storage.ports import BatchRow, Issued, OutboxStore, Segment
from tests.contract.issuing_subjects import GENERAL
from tests.support.databases import OwnStores
from tests.support.invoices import tax_id
from tests.support.issuing import TestSeller


class OutboxSubject(Protocol):
    """An outbox with what the tests need to fill it and to look behind it. It begins empty."""

    @property
    def outbox(self) -> OutboxStore:
        """The outbox."""
        ...

    async def issue(self, invoices: int) -> list[Issued]:
        """Issues so many invoices in one batch."""
        ...

    async def batch(self, batch_id: int) -> BatchRow | None:
        """Reads a batch."""
        ...

    async def date(self, batch_id: int, issued_at_us: int) -> None:
        """Gives a batch another time of issue, as a clock that is wrong does."""
        ...

    async def segment(self, segment_id: int) -> Segment | None:
        """Reads a segment's record."""
        ...


class MemoryOutboxSubject:
    """The twin."""

    def __init__(self) -> None:
        tables = MemoryTables()
        self._tables = tables
        self._serial = 0
        self._seller = TestSeller(seller_key=1, tax_id=tax_id(1))
        tables.ranges[1, GENERAL] = [RangeState(range_id=1, first_number=26 * 10**18, size=10**6, used=0)]
        self._store = MemoryIssuingStore(tables=tables, now_us=now_us)
        self.outbox = MemoryOutboxStore(now_us=now_us, batches=tables.batches, segments=tables.segments)

    async def issue(self, invoices: int) -> list[Issued]:
        """Issues over the same tables."""
        first, self._serial = self._serial, self._serial + invoices
        drafts = [self._seller.draft(f"r-{serial}", serial=serial) for serial in range(first, self._serial)]
        return [answer for answer in await self._store.commit(drafts) if isinstance(answer, Issued)]

    async def batch(self, batch_id: int) -> BatchRow | None:
        """Looks it up."""
        return self._tables.batches.get(batch_id)

    async def date(self, batch_id: int, issued_at_us: int) -> None:
        """Changes it."""
        self._tables.batches[batch_id] = replace(self._tables.batches[batch_id], issued_at_us=issued_at_us)

    async def segment(self, segment_id: int) -> Segment | None:
        """Looks it up."""
        return self._tables.segments.get(segment_id)


@dataclass(slots=True)
class MySQLOutboxSubject:
    """The real outbox on a database of its own."""

    stores: OwnStores
    _seller: TestSeller | None = None

    @property
    def outbox(self) -> OutboxStore:
        """The outbox."""
        return self.stores.outbox

    async def issue(self, invoices: int) -> list[Issued]:
        """Issues through the real issuing store."""
        if self._seller is None:
            self._seller = await self.stores.issuer.seller()
        return await self.stores.issuer.issue(self._seller, invoices)

    async def batch(self, batch_id: int) -> BatchRow | None:
        """Reads it."""
        return await self._reader().batch(batch_id)

    async def date(self, batch_id: int, issued_at_us: int) -> None:
        """Changes it."""
        sql = "UPDATE batches SET issued_at_us = %s WHERE batch_id = %s"
        await self.stores.primary.write(sql, (issued_at_us, batch_id))

    async def segment(self, segment_id: int) -> Segment | None:
        """Reads it."""
        return await self._reader().segment(segment_id)

    def _reader(self) -> PrimaryReader:
        return PrimaryReader(primary=lambda: self.stores.primary)


def now_us() -> int:
    """The present time."""
    return time.time_ns() // 1_000

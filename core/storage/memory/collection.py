"""Collection in memory: the twin of core/storage/mysql/collection.py."""

from __future__ import annotations

from collections.abc import Collection

from core.domain.entry import EntryState
from core.limits import COLLECT_BATCHES_MAX
from core.storage.collection_port import Received
from core.storage.memory.registry import MemoryRegistryStore
from core.storage.memory.tables import MemoryTables


class MemoryCollection:
    """The Collector and the ReceivedStore of core/storage/collection_port.py over MemoryTables; it knows no entries."""

    def __init__(self, *, tables: MemoryTables, registry: MemoryRegistryStore) -> None:
        self._tables = tables
        self._registry = registry
        self._collected: set[int] = set()
        self._numbers: dict[str, list[str]] = {}  # of the buyers that are followed

    async def follow(self, buyer_tax_id: str) -> None:
        """Follows a buyer; see the port."""
        if buyer_tax_id not in self._numbers:
            self._numbers[buyer_tax_id] = []
            self._number(self._collected, buyer_tax_id)

    async def collect(self) -> bool:
        """Numbers invoices; see the port."""
        fresh = [batch_id for batch_id in sorted(self._tables.batches) if batch_id not in self._collected]
        fresh = fresh[:COLLECT_BATCHES_MAX]
        for buyer_tax_id in self._numbers:
            self._number(fresh, buyer_tax_id)
        self._collected.update(fresh)
        return len(fresh) == COLLECT_BATCHES_MAX

    def _number(self, batch_ids: Collection[int], buyer_tax_id: str) -> None:
        """Gives the invoices of the batches to their buyer, by batch and position."""
        rows = [
            row
            for row in self._tables.invoices.values()
            if row.batch_id in batch_ids and row.issued.buyer_tax_id == buyer_tax_id
        ]
        rows.sort(key=lambda row: (row.batch_id, row.batch_position))
        self._numbers[buyer_tax_id] += [row.issued.number for row in rows]

    async def received(self, buyer_tax_id: str, *, after: int, items_max: int) -> list[Received]:
        """Reads the next invoices; see the port."""
        numbers = self._numbers.get(buyer_tax_id, [])[after : after + items_max]
        rows = [self._tables.invoices[number] for number in numbers]
        sellers = await self._registry.sellers_by_key([row.issued.seller_key for row in rows])
        parties = {seller.seller_key: seller.party for seller in sellers}
        return [
            Received(
                position=after + place,
                number=row.issued.number,
                kind=row.issued.kind,
                color=row.issued.color,
                issued_at_us=row.issued.issued_at_us,
                seller_tax_id=parties[row.issued.seller_key].tax_id,
                seller_name=parties[row.issued.seller_key].name,
                net_total_minor=row.issued.net_total_minor,
                tax_total_minor=row.issued.tax_total_minor,
                gross_total_minor=row.issued.gross_total_minor,
                blue_number="",
                red_total_minor=row.red_total_minor,
                entry_state=int(EntryState.NOT_ENTERED),
                entry_period=0,
            )
            for place, row in enumerate(rows, 1)
        ]

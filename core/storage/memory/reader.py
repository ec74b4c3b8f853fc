"""Reading issued invoices from memory: the twin of core/storage/mysql/reader.py."""

from __future__ import annotations

from collections.abc import Sequence

from core.storage.memory.registry import MemoryRegistryStore
from core.storage.memory.tables import MemoryTables
from core.storage.ports import BatchRow, InvoiceRow, Issued, ListFilter, Segment, VerificationEntry


class MemoryInvoiceReader:
    """The InvoiceReader of core/storage/ports.py over MemoryTables and the registry."""

    def __init__(self, *, tables: MemoryTables, registry: MemoryRegistryStore) -> None:
        self._tables = tables
        self._registry = registry

    async def by_number(self, numbers: Sequence[str]) -> dict[str, InvoiceRow]:
        """Reads invoices by number; see the port."""
        return {number: self._tables.invoices[number] for number in numbers if number in self._tables.invoices}

    async def by_request(self, seller_key: int, request_ids: Sequence[str]) -> dict[str, Issued]:
        """Reads invoices by request id; see the port."""
        known = self._tables.by_request
        return {name: known[seller_key, name] for name in request_ids if (seller_key, name) in known}

    async def verification_entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry]:
        """Reads what checks need; see the port."""
        rows = await self.by_number(numbers)
        sellers = await self._registry.sellers_by_key([row.issued.seller_key for row in rows.values()])
        tax_ids = {seller.seller_key: seller.party.tax_id for seller in sellers}
        return {
            number: VerificationEntry(
                number=number,
                issued_at_us=row.issued.issued_at_us,
                kind=row.issued.kind,
                net_total_minor=row.issued.net_total_minor,
                gross_total_minor=row.issued.gross_total_minor,
                red_total_minor=row.red_total_minor,
                seller_tax_id=tax_ids[row.issued.seller_key],
                buyer_tax_id=row.issued.buyer_tax_id,
            )
            for number, row in rows.items()
        }

    async def list(self, wanted: ListFilter) -> list[Issued]:
        """Lists invoices; see the port."""
        found = [row.issued for row in self._tables.invoices.values()]
        sellers = await self._registry.sellers_by_key([issued.seller_key for issued in found])
        own = {seller.seller_key for seller in sellers if seller.tenant_key == wanted.tenant_key}
        fitting = [
            issued
            for issued in found
            if issued.seller_key in own
            and wanted.seller_key in (None, issued.seller_key)
            and wanted.buyer_tax_id in (None, issued.buyer_tax_id)
            and wanted.issued_from_us <= issued.issued_at_us < wanted.issued_before_us
            and (wanted.after is None or (issued.issued_at_us, issued.number) > wanted.after)
        ]
        fitting.sort(key=lambda issued: (issued.issued_at_us, issued.number))
        return fitting[: wanted.items_max]

    async def batch(self, batch_id: int) -> BatchRow | None:
        """Reads one batch; see the port."""
        return self._tables.batches.get(batch_id)

    async def segment(self, segment_id: int) -> Segment | None:
        """Reads one segment's record; see the port."""
        return self._tables.segments.get(segment_id)

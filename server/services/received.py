"""One received invoice as its buyer may read it: the exception to P8, invoice by invoice (docs/adr/0018)."""

from __future__ import annotations

from dataclasses import dataclass

from core.domain.entry import Entry, absent
from core.storage.entry_port import EntryStore, TaxIdStore
from core.storage.ports import InvoiceRow
from server.services.auth import Caller
from server.services.patience import Patience
from server.services.reading import ReadingService, invoice_not_found, require_number


@dataclass(frozen=True, slots=True)
class ReceivedInvoice:
    """An invoice as issued, what has become of it, and where it stands in its buyer's books."""

    row: InvoiceRow
    body: bytes
    entry: Entry


class ReceivedInvoiceService:
    """Reads the whole of an invoice issued to a taxpayer id that the caller's tenant has proved."""

    def __init__(self, *, reading: ReadingService, entries: EntryStore, wait_max_ms: int) -> None:
        self._reading = reading
        self._entries = entries
        self._patiently = Patience(wait_max_ms=wait_max_ms)

    async def get(self, caller: Caller, number: str) -> ReceivedInvoice:
        """Reads one received invoice.

        Raises INVALID_REQUEST, and INVOICE_NOT_FOUND also when it is somebody else's or the proof is gone (P8). 2 round
        trips to the primary, which answers for the proof, and those of ReadingService.get_invoice.
        """
        require_number(number)
        history = await self._patiently(lambda: self._entries.history(caller.tenant_key, number, imported=False))
        if history is None:
            raise invoice_not_found(number)
        found = await self._reading.invoice_of_any(number)
        if found is None:
            raise invoice_not_found(number)
        row, _ = found
        body = await self._reading.read_body(row)
        return ReceivedInvoice(row, body, history[-1] if history else absent(number))


class EitherSide:
    """Finds invoices for those who issued and for those who received them: what documents are made of."""

    def __init__(self, *, reading: ReadingService, tax_ids: TaxIdStore, wait_max_ms: int) -> None:
        self._reading = reading
        self._tax_ids = tax_ids
        self._patiently = Patience(wait_max_ms=wait_max_ms)

    async def find_invoice(self, caller: Caller, number: str) -> tuple[InvoiceRow, str]:
        """Finds an invoice of the caller's tenant, or to a taxpayer id it has proved; returns it with its seller's id.

        Raises INVALID_REQUEST, INVOICE_NOT_FOUND. The round trips of ReadingService.find_invoice, and 1 to the primary
        for an invoice of another tenant.
        """
        require_number(number)
        found = await self._reading.invoice_of_any(number)
        if found is None:
            raise invoice_not_found(number)
        row, seller = found
        if seller.tenant_key != caller.tenant_key:
            buyer = row.issued.buyer_tax_id
            if not buyer or not await self._is_proven(caller.tenant_key, buyer):
                raise invoice_not_found(number)
        return row, seller.seller_id

    async def read_body(self, row: InvoiceRow) -> bytes:
        """Reads the canonical body; as ReadingService.read_body."""
        return await self._reading.read_body(row)

    async def _is_proven(self, tenant_key: int, tax_id: str) -> bool:
        """Asks the primary: a proof that was taken away counts no more at once."""
        return await self._patiently(lambda: self._tax_ids.is_proven(tenant_key, tax_id))

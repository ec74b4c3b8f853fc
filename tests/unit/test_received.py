"""Received invoices and their documents are the buyer's while its proof stands, and nobody else's (P8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from core.domain.entry import Change, EntryState
from core.domain.errors import BillowError, Reason
from core.storage.memory.entries import MemoryEntryStore, MemoryTaxIdStore
from core.storage.memory.imports import MemoryImportStore
from core.storage.memory.reader import MemoryInvoiceReader
from server.services.auth import Caller
from server.services.reading import ReadingService
from server.services.received import EitherSide, ReceivedInvoiceService
from server.services.sellers import SellerDirectory
from tests.contract.registry_subjects import MemoryBooks, issue, new_seller, new_tenant, now_us
from tests.unit.test_reading_service import Segments


class Trade:
    """An invoice of one tenant to another's taxpayer id, and one to somebody else's."""

    def __init__(self) -> None:
        self.books = MemoryBooks()
        self.tax_ids = MemoryTaxIdStore()
        self.imports = MemoryImportStore()
        self.entries = MemoryEntryStore(
            tables=self.books.tables, tax_ids=self.tax_ids, imports=self.imports, now_us=now_us
        )
        reading = ReadingService(
            primary=self.books.reader,
            replicas=MemoryInvoiceReader(tables=self.books.tables, registry=self.books.registry),
            segments=Segments(),
            sellers=SellerDirectory(store=self.books.registry, wait_max_ms=0),
            now_us=now_us,
            wait_max_ms=0,
        )
        self.received = ReceivedInvoiceService(reading=reading, entries=self.entries, wait_max_ms=0)
        self.buyer_tax_id = ""
        self.either = EitherSide(reading=reading, tax_ids=self.tax_ids, wait_max_ms=0)

    async def begin(self) -> tuple[Caller, Caller, str, str]:
        """Returns the seller's side, the buyer's side, the number to the buyer and the one to another."""
        selling = await new_tenant(self.books.registry)
        buying = await new_tenant(self.books.registry)
        seller = await new_seller(self.books.registry, selling.tenant_key)
        await self.books.add_range(seller, 10)
        to_buyer, to_other = await issue(self.books, seller, ["a", "b"])
        assert "" != to_buyer.buyer_tax_id != to_other.buyer_tax_id
        self.buyer_tax_id = to_buyer.buyer_tax_id
        sides = [Caller(t.tenant_key, t.tenant_id, frozenset({"read"}), "00" * 8) for t in (selling, buying)]
        return sides[0], sides[1], to_buyer.number, to_other.number

    async def prove(self, caller: Caller) -> None:
        await self.tax_ids.claim(caller.tenant_key, self.buyer_tax_id, now_us=1)
        await self.tax_ids.confirm(caller.tenant_key, self.buyer_tax_id, now_us=2)


async def refused(call: Callable[[], Awaitable[object]]) -> Reason:
    with pytest.raises(BillowError) as raised:
        await call()
    return raised.value.reason


async def test_the_buyer_reads_it_while_its_proof_stands() -> None:
    trade = Trade()
    _, buyer, number, to_other = await trade.begin()
    for reads in (trade.received.get, trade.either.find_invoice):
        assert await refused(lambda reads=reads: reads(buyer, number)) is Reason.INVOICE_NOT_FOUND  # type: ignore[misc]
    await trade.tax_ids.claim(buyer.tenant_key, trade.buyer_tax_id, now_us=1)
    for reads in (trade.received.get, trade.either.find_invoice):  # claimed, but nobody has confirmed it
        assert await refused(lambda reads=reads: reads(buyer, number)) is Reason.INVOICE_NOT_FOUND  # type: ignore[misc]
    await trade.prove(buyer)
    found = await trade.received.get(buyer, number)
    assert (found.row.issued.number, found.entry.state, found.entry.period) == (number, EntryState.NOT_ENTERED, 0)
    row, _ = await trade.either.find_invoice(buyer, number)
    assert await trade.either.read_body(row) == found.body
    await trade.entries.change(buyer.tenant_key, [Change("e", number, EntryState.DEDUCTIBLE, 202611, "")])
    entered = (await trade.received.get(buyer, number)).entry
    assert (entered.state, entered.period) == (EntryState.DEDUCTIBLE, 202611)
    for reads in (trade.received.get, trade.either.find_invoice):
        assert await refused(lambda reads=reads: reads(buyer, to_other)) is Reason.INVOICE_NOT_FOUND  # type: ignore[misc]
    await trade.tax_ids.revoke(buyer.tenant_key, trade.buyer_tax_id)
    for reads in (trade.received.get, trade.either.find_invoice):
        assert await refused(lambda reads=reads: reads(buyer, number)) is Reason.INVOICE_NOT_FOUND  # type: ignore[misc]


async def test_the_seller_has_its_documents_without_a_proof_and_a_third_tenant_has_nothing() -> None:
    trade = Trade()
    seller, buyer, number, to_other = await trade.begin()
    await trade.prove(buyer)
    third = await new_tenant(trade.books.registry)
    stranger = Caller(third.tenant_key, third.tenant_id, frozenset({"read"}), "00" * 8)
    for own in (number, to_other):
        row, _ = await trade.either.find_invoice(seller, own)
        assert row.issued.number == own
        assert await refused(lambda own=own: trade.either.find_invoice(stranger, own)) is Reason.INVOICE_NOT_FOUND  # type: ignore[misc]
    assert await refused(lambda: trade.received.get(seller, number)) is Reason.INVOICE_NOT_FOUND
    assert await refused(lambda: trade.received.get(stranger, number)) is Reason.INVOICE_NOT_FOUND


@pytest.mark.parametrize("number", ["", "1", "9" * 21, "x" * 20])
async def test_what_is_no_number_is_said_so_and_what_is_not_there_too(number: str) -> None:
    trade = Trade()
    _, buyer, _, _ = await trade.begin()
    for reads in (trade.received.get, trade.either.find_invoice):
        assert await refused(lambda reads=reads: reads(buyer, number)) is Reason.INVALID_REQUEST  # type: ignore[misc]
        assert await refused(lambda reads=reads: reads(buyer, "9" * 20)) is Reason.INVOICE_NOT_FOUND  # type: ignore[misc]

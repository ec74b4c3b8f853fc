"""Proving taxpayer ids and account entry through Envoy and two servers (P8, P11)."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from billow.entry.v1 import entry_pb2, entry_pb2_grpc
from billow.registry.v1 import tax_ids_pb2, tax_ids_pb2_grpc
from billow.types.v1 import invoice_pb2
from stack import Stack
from tests.support.invoices import good_invoice, tax_id
from tests.support.platform import SCOPES, Tenant, admin, new_tenant, request_of
from tests.support.wire import error_of, read_status

DEDUCTIBLE = entry_pb2.ENTRY_STATE_DEDUCTIBLE
WITHDRAWN = entry_pb2.ENTRY_STATE_WITHDRAWN
RACERS = 50
_buyers = itertools.count(time.time_ns() // 1_000_000 % 10**9 * 1_000)


@dataclass(slots=True)
class Trade:
    """A seller and a buyer, each a tenant of its own, and the buyer's taxpayer id, which it has not proved yet."""

    seller: Tenant
    buyer: Tenant
    buyer_tax_id: str

    @property
    def entries(self) -> entry_pb2_grpc.EntryServiceAsyncStub:
        return entry_pb2_grpc.EntryServiceStub(self.buyer.channel)

    @property
    def tax_ids(self) -> tax_ids_pb2_grpc.TaxIdServiceAsyncStub:
        return tax_ids_pb2_grpc.TaxIdServiceStub(self.buyer.channel)

    async def issue(self, request_id: str) -> invoice_pb2.IssuedInvoice:
        """Issues an invoice to the buyer."""
        invoice = good_invoice()
        invoice.buyer.tax_id = self.buyer_tax_id
        return await self.seller.issue(request_of("seller-0", request_id, invoice))

    async def enter(self, *entries: entry_pb2.EnterInvoiceRequest) -> list[str]:
        """Enters and returns a state or reason for each."""
        request = entry_pb2.EnterInvoicesRequest(entries=entries)
        answer = await self.entries.EnterInvoices(request, metadata=self.buyer.metadata)
        return [told(result) for result in answer.results]


def told(result: entry_pb2.EntryResult) -> str:
    return read_status(result.error).reason if result.HasField("error") else f"{result.entry.state:02d}"


def wanted(number: str, request_id: str) -> entry_pb2.EnterInvoiceRequest:
    return entry_pb2.EnterInvoiceRequest(
        number=number, request_id=request_id, state=DEDUCTIBLE, period=202611, ledger_reference="记-12"
    )


@pytest.fixture
async def trade(running_stack: Stack) -> AsyncIterator[Trade]:
    async with AsyncExitStack() as stack:
        seller = await stack.enter_async_context(new_tenant(running_stack))
        buyer = await stack.enter_async_context(new_tenant(running_stack, scopes=[*SCOPES, "book"]))
        await seller.seller()
        yield Trade(seller, buyer, tax_id(next(_buyers)))


async def prove(stack: Stack, trade: Trade) -> tax_ids_pb2.TaxId:
    """Claims through Envoy, confirms as the operator."""
    request = tax_ids_pb2.ClaimTaxIdRequest(tax_id=trade.buyer_tax_id)
    claimed = (await trade.tax_ids.ClaimTaxId(request, metadata=trade.buyer.metadata)).tax_id
    admin(stack, "tax-id", "confirm", trade.buyer_tax_id, "--tenant", claimed.tenant_id)
    return claimed


async def test_what_others_issued_is_entered_once_the_buyer_has_proved_itself(
    running_stack: Stack, trade: Trade
) -> None:
    number = (await trade.issue("r1")).number
    assert await trade.enter(wanted(number, "before")) == ["INVOICE_NOT_FOUND"]
    claimed = await prove(running_stack, trade)
    assert not claimed.HasField("confirm_time")
    listed = await trade.tax_ids.ListTaxIds(tax_ids_pb2.ListTaxIdsRequest(), metadata=trade.buyer.metadata)
    assert [(item.tax_id, item.HasField("confirm_time")) for item in listed.tax_ids] == [(trade.buyer_tax_id, True)]
    assert await trade.enter(wanted(number, "e1")) == ["02"]
    assert await trade.enter(wanted(number, "e1"), wanted(number, "e2")) == ["02", "ALREADY_ENTERED"]
    withdrawal = entry_pb2.WithdrawEntryRequest(number=number, request_id="w1", ledger_reference="冲")
    request = entry_pb2.WithdrawEntriesRequest(withdrawals=[withdrawal])
    answer = await trade.entries.WithdrawEntries(request, metadata=trade.buyer.metadata)
    assert [told(result) for result in answer.results] == ["06"]
    assert await trade.enter(wanted(number, "e3")) == ["02"]
    found = await trade.entries.GetEntry(entry_pb2.GetEntryRequest(number=number), metadata=trade.buyer.metadata)
    assert [(item.version, item.state) for item in found.history] == [(1, DEDUCTIBLE), (2, WITHDRAWN), (3, DEDUCTIBLE)]
    assert found.entry == found.history[-1]
    admin(running_stack, "tax-id", "revoke", trade.buyer_tax_id, "--tenant", claimed.tenant_id)
    gone = trade.entries.GetEntry(entry_pb2.GetEntryRequest(number=number), metadata=trade.buyer.metadata)
    assert (await error_of(gone)).reason == "INVOICE_NOT_FOUND"


async def test_fifty_at_once_through_two_servers_one_wins(running_stack: Stack, trade: Trade) -> None:
    await prove(running_stack, trade)
    number = (await trade.issue("r1")).number
    told_all = await asyncio.gather(*(trade.enter(wanted(number, f"racer {place}")) for place in range(RACERS)))
    assert sorted(item for (item,) in told_all) == ["02"] + ["ALREADY_ENTERED"] * (RACERS - 1)
    found = await trade.entries.GetEntry(entry_pb2.GetEntryRequest(number=number), metadata=trade.buyer.metadata)
    assert len(found.history) == 1


async def test_bad_input_names_every_field_and_changes_nothing(running_stack: Stack, trade: Trade) -> None:
    await prove(running_stack, trade)
    number = (await trade.issue("r1")).number
    bad = entry_pb2.EnterInvoiceRequest(number="1", state=WITHDRAWN, period=202613, ledger_reference="x" * 101)
    request = entry_pb2.EnterInvoicesRequest(entries=[bad, wanted(number, "good")])
    answer = await trade.entries.EnterInvoices(request, metadata=trade.buyer.metadata)
    assert [told(result) for result in answer.results] == ["INVALID_REQUEST", "02"]
    assert set(read_status(answer.results[0].error).violations) == {
        ("request_id", "REQUIRED"),
        ("number", "NUMBER_FORM"),
        ("state", "ENTRY_STATE"),
        ("period", "PERIOD_FORM"),
        ("ledger_reference", "TOO_LONG"),
    }
    empty = trade.entries.EnterInvoices(entry_pb2.EnterInvoicesRequest(), metadata=trade.buyer.metadata)
    assert (await error_of(empty)).violations == (("entries", "REQUIRED"),)
    claim = trade.tax_ids.ClaimTaxId(tax_ids_pb2.ClaimTaxIdRequest(tax_id="1"), metadata=trade.buyer.metadata)
    assert (await error_of(claim)).violations == (("tax_id", "TAX_ID_FORM"),)


async def test_scopes_are_asked_for(trade: Trade) -> None:
    request = entry_pb2.EnterInvoicesRequest(entries=[wanted("9" * 20, "e")])
    error = await error_of(trade.entries.EnterInvoices(request, metadata=trade.seller.metadata))
    assert (error.reason, error.metadata) == ("SCOPE_MISSING", (("scope", "book"),))
    confirm = tax_ids_pb2.ConfirmTaxIdRequest(tenant_id="t", tax_id=trade.buyer_tax_id)
    error = await error_of(trade.tax_ids.ConfirmTaxId(confirm, metadata=trade.buyer.metadata))
    assert (error.reason, error.metadata) == ("SCOPE_MISSING", (("scope", "platform"),))

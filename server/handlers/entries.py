# ruff: noqa: N802 -- the methods are called as in the contract
"""EntryService and TaxIdService. Round trips as the methods of the services say."""

from __future__ import annotations

from billow.entry.v1 import entry_pb2
from billow.registry.v1 import tax_ids_pb2
from server.convert import entries
from server.handlers.issuance import check_batch
from server.interceptors import Access, Call
from server.services.entries import EntryService
from server.services.tax_ids import TaxIdService

SERVICE = entry_pb2.DESCRIPTOR.services_by_name["EntryService"]
ACCESS = {"EnterInvoices": Access("book"), "WithdrawEntries": Access("book"), "GetEntry": Access("read")}
TAX_ID_SERVICE = tax_ids_pb2.DESCRIPTOR.services_by_name["TaxIdService"]
TAX_ID_ACCESS = {
    "ClaimTaxId": Access("registry"),
    "ConfirmTaxId": Access("platform"),
    "RevokeTaxId": Access("platform"),
    "ListTaxIds": Access("registry", or_scope="platform"),
}


class EntryHandlers:
    """The methods of billow.entry.v1.EntryService."""

    def __init__(self, *, entries: EntryService) -> None:
        self._entries = entries

    async def EnterInvoices(
        self, request: entry_pb2.EnterInvoicesRequest, call: Call
    ) -> entry_pb2.EnterInvoicesResponse:
        """Enters a batch. Round trips: 10 primary; 1 more for invoices issued here and imported ones in one batch."""
        check_batch(len(request.entries), "entries")
        answers = await self._entries.change(call.caller, [entries.entering(item) for item in request.entries])
        return entry_pb2.EnterInvoicesResponse(results=entries.results(answers, call.request_id))

    async def WithdrawEntries(
        self, request: entry_pb2.WithdrawEntriesRequest, call: Call
    ) -> entry_pb2.WithdrawEntriesResponse:
        """Withdraws a batch. Round trips: 10 primary; as EnterInvoices."""
        check_batch(len(request.withdrawals), "withdrawals")
        answers = await self._entries.change(call.caller, [entries.withdrawing(item) for item in request.withdrawals])
        return entry_pb2.WithdrawEntriesResponse(results=entries.results(answers, call.request_id))

    async def GetEntry(self, request: entry_pb2.GetEntryRequest, call: Call) -> entry_pb2.GetEntryResponse:
        """Reads an entry with its history. Round trips: 2 primary."""
        found, history = await self._entries.get(call.caller, request.number, request.code)
        return entry_pb2.GetEntryResponse(entry=entries.entry(found), history=[entries.entry(item) for item in history])


class TaxIdHandlers:
    """The methods of billow.registry.v1.TaxIdService."""

    def __init__(self, *, tax_ids: TaxIdService) -> None:
        self._tax_ids = tax_ids

    async def ClaimTaxId(self, request: tax_ids_pb2.ClaimTaxIdRequest, call: Call) -> tax_ids_pb2.ClaimTaxIdResponse:
        """Claims an id. Round trips: 2 primary."""
        return tax_ids_pb2.ClaimTaxIdResponse(
            tax_id=entries.claim(await self._tax_ids.claim(call.caller, request.tax_id))
        )

    async def ConfirmTaxId(
        self,
        request: tax_ids_pb2.ConfirmTaxIdRequest,
        call: Call,  # noqa: ARG002 (every method gets it)
    ) -> tax_ids_pb2.ConfirmTaxIdResponse:
        """Confirms a claim. Round trips: 5 primary."""
        confirmed = await self._tax_ids.confirm(request.tenant_id, request.tax_id)
        return tax_ids_pb2.ConfirmTaxIdResponse(tax_id=entries.claim(confirmed))

    async def RevokeTaxId(
        self,
        request: tax_ids_pb2.RevokeTaxIdRequest,
        call: Call,  # noqa: ARG002 (every method gets it)
    ) -> tax_ids_pb2.RevokeTaxIdResponse:
        """Takes a claim away. Round trips: 2 primary."""
        await self._tax_ids.revoke(request.tenant_id, request.tax_id)
        return tax_ids_pb2.RevokeTaxIdResponse()

    async def ListTaxIds(self, request: tax_ids_pb2.ListTaxIdsRequest, call: Call) -> tax_ids_pb2.ListTaxIdsResponse:
        """Lists claims. Round trips: 1 primary."""
        page = await self._tax_ids.list_claims(
            call.caller, tenant_id=request.tenant_id, page_size=request.page_size, page_token=request.page_token
        )
        tax_ids = [entries.claim(item) for item in page.items]
        return tax_ids_pb2.ListTaxIdsResponse(tax_ids=tax_ids, next_page_token=page.next_page_token)

"""Reading invoices back: the part of IssuanceService that changes nothing."""

from __future__ import annotations

from billow.issuance.v1 import issuance_pb2
from server.convert import reading
from server.interceptors import Call
from server.services.reading import ReadingService


class ReadingHandlers:
    """GetInvoice and ListInvoices of billow.issuance.v1.IssuanceService."""

    def __init__(self, *, reading: ReadingService) -> None:
        self._reading = reading

    async def GetInvoice(  # noqa: N802 (the contract's name)
        self, request: issuance_pb2.GetInvoiceRequest, call: Call
    ) -> issuance_pb2.GetInvoiceResponse:
        """Reads one invoice.

        Round trips: 2 replica; from the primary what the replica has not got yet, 1 to the objects when it is archived.
        """
        return reading.invoice_response(await self._reading.get_invoice(call.caller, request.number))

    async def ListInvoices(  # noqa: N802 (the contract's name)
        self, request: issuance_pb2.ListInvoicesRequest, call: Call
    ) -> issuance_pb2.ListInvoicesResponse:
        """Lists a page of invoices.

        Round trips: 2 primary, 2 replica, of the newest page of a seller; a page of settled ones asks a replica alone.
        """
        return reading.listing_response(await self._reading.list_invoices(call.caller, reading.wanted(request)))

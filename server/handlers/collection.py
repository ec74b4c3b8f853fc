# ruff: noqa: N802 -- the methods are called as in the contract
"""CollectionService. Round trips as the methods of the service say."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from billow.collection.v1 import collection_pb2
from billow.entry.v1 import entry_pb2
from billow.types.v1 import invoice_pb2
from core.domain.kinds import state_of
from core.storage.collection_port import Received
from server.convert.registry import timestamp
from server.interceptors import Access, Call
from server.services.collection import CollectionService
from server.services.received import ReceivedInvoiceService

SERVICE = collection_pb2.DESCRIPTOR.services_by_name["CollectionService"]
ACCESS = {
    "ListReceivedInvoices": Access("read"),
    "StreamReceivedInvoices": Access("read"),
    "GetReceivedInvoice": Access("read"),
}


class CollectionHandlers:
    """The methods of billow.collection.v1.CollectionService."""

    def __init__(self, *, collection: CollectionService, received: ReceivedInvoiceService) -> None:
        self._collection = collection
        self._received = received

    async def ListReceivedInvoices(
        self, request: collection_pb2.ListReceivedInvoicesRequest, call: Call
    ) -> collection_pb2.ListReceivedInvoicesResponse:
        """Reads a page. Round trips: 1 primary, 1 replica."""
        found = await self._collection.list_received(
            call.caller,
            buyer_tax_id=request.buyer_tax_id,
            after=request.after_position,
            page_size=request.page_size,
        )
        return collection_pb2.ListReceivedInvoicesResponse(
            received_invoices=map(received, found),
            last_position=found[-1].position if found else request.after_position,
        )

    async def StreamReceivedInvoices(
        self, request: collection_pb2.StreamReceivedInvoicesRequest, call: Call
    ) -> AsyncGenerator[collection_pb2.StreamReceivedInvoicesResponse, None]:
        """Follows a buyer's sequence. Round trips: 1 primary, 1 replica a look."""
        position = request.after_position
        subscription = self._collection.subscribe(call.caller, buyer_tax_id=request.buyer_tax_id, after=position)
        async with aclosing(subscription):
            async for found in subscription:
                position = found[-1].position if found else position
                yield collection_pb2.StreamReceivedInvoicesResponse(
                    received_invoices=map(received, found), last_position=position
                )

    async def GetReceivedInvoice(
        self, request: collection_pb2.GetReceivedInvoiceRequest, call: Call
    ) -> collection_pb2.GetReceivedInvoiceResponse:
        """Reads one received invoice. Round trips: 2 primary, 2 replica."""
        found = await self._received.get(call.caller, request.number)
        issued, red_total_minor = found.row.issued, found.row.red_total_minor
        return collection_pb2.GetReceivedInvoiceResponse(
            invoice=invoice_pb2.Invoice.FromString(found.body),
            body_sha256=issued.body_sha256,
            state=invoice_pb2.InvoiceState.ValueType(int(state_of(issued.gross_total_minor, red_total_minor))),
            red_total_minor=red_total_minor,
            entry_state=entry_pb2.EntryState.ValueType(int(found.entry.state)),
            entry_period=found.entry.period,
        )


def received(found: Received) -> collection_pb2.ReceivedInvoice:
    """Builds the message of a received invoice."""
    return collection_pb2.ReceivedInvoice(
        position=found.position,
        number=found.number,
        kind=invoice_pb2.InvoiceKind.ValueType(found.kind),
        color=invoice_pb2.InvoiceColor.ValueType(found.color),
        issue_time=timestamp(found.issued_at_us),
        seller_tax_id=found.seller_tax_id,
        seller_name=found.seller_name,
        net_total_minor=found.net_total_minor,
        tax_total_minor=found.tax_total_minor,
        gross_total_minor=found.gross_total_minor,
        blue_number=found.blue_number,
        state=invoice_pb2.InvoiceState.ValueType(int(state_of(found.gross_total_minor, found.red_total_minor))),
        red_total_minor=found.red_total_minor,
        entry_state=entry_pb2.EntryState.ValueType(found.entry_state),
        entry_period=found.entry_period,
    )

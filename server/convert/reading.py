"""Listings and invoices to messages, and back to what the reading service wants."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from billow.issuance.v1 import issuance_pb2
from billow.types.v1 import invoice_pb2
from core.domain.errors import BillowError, Reason, Violation
from core.domain.kinds import state_of
from server.convert.issuance import fill_issued
from server.services.paging import Page
from server.services.reading import TIME_MAX_US, InvoiceWithBody, Listed, Wanted

_NANOS = 1_000_000_000


def wanted(request: issuance_pb2.ListInvoicesRequest) -> Wanted:
    """Reads what to list; raises INVALID_REQUEST for an impossible time."""
    faults: list[Violation] = []
    issued_from_us, issued_before_us = 0, TIME_MAX_US
    if request.HasField("issued_from"):
        issued_from_us = _microseconds(request.issued_from, "issued_from", faults)
    if request.HasField("issued_before"):
        issued_before_us = _microseconds(request.issued_before, "issued_before", faults)
    if faults:
        raise BillowError(Reason.INVALID_REQUEST, "the request breaks a rule", violations=faults)
    return Wanted(
        seller_id=request.seller_id,
        buyer_tax_id=request.buyer_tax_id,
        request_id=request.request_id,
        issued_from_us=issued_from_us,
        issued_before_us=issued_before_us,
        page_size=request.page_size,
        page_token=request.page_token,
    )


def _microseconds(time: Timestamp, field: str, faults: list[Violation]) -> int:
    """Returns the first microsecond not before a time; times before 1970 count as 1970."""
    if not 0 <= time.nanos < _NANOS:
        faults.append(Violation(field, "TIME_FORM", "nanos must be 0 to 999,999,999"))
    at_us = time.seconds * 1_000_000 - (-time.nanos // 1_000)
    return min(max(at_us, 0), TIME_MAX_US)


def listing_response(page: Page[Listed]) -> issuance_pb2.ListInvoicesResponse:
    """Builds the answer to ListInvoices."""
    response = issuance_pb2.ListInvoicesResponse(next_page_token=page.next_page_token)
    for item in page.items:
        summary = response.invoices.add(
            kind=invoice_pb2.InvoiceKind.ValueType(item.issued.kind),
            color=invoice_pb2.InvoiceColor.ValueType(item.issued.color),
            buyer_tax_id=item.issued.buyer_tax_id,
        )
        fill_issued(summary.issued, item.issued, item.seller_id)
    return response


def invoice_response(found: InvoiceWithBody) -> issuance_pb2.GetInvoiceResponse:
    """Builds the answer to GetInvoice."""
    issued, red_total_minor = found.row.issued, found.row.red_total_minor
    state = state_of(issued.gross_total_minor, red_total_minor)
    response = issuance_pb2.GetInvoiceResponse(
        invoice=invoice_pb2.Invoice.FromString(found.body),
        state=invoice_pb2.InvoiceState.ValueType(int(state)),
        red_total_minor=red_total_minor,
    )
    fill_issued(response.issued, issued, found.seller_id)
    return response

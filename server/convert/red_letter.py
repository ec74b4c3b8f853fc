"""Red-letter requests to drafts, forms to messages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from billow.redletter.v1 import redletter_pb2
from billow.types.v1 import invoice_pb2
from core.domain.errors import BillowError, Reason, Violation
from core.domain.red_letter import (
    REMARK,
    BlueLine,
    LineWish,
    RedExtent,
    RedPart,
    RedReason,
    Sums,
    Wish,
    decide,
    wish_faults,
)
from core.domain.verification import NUMBER_FORM
from core.limits import DRAWER_CHARS_MAX, LINES_MAX
from core.storage.ports import Answer, Draft, Issued, SellerRecord
from core.storage.red_letter_port import Form, RedDraft, RedShape
from server.convert import errors
from server.convert.issuance import fill_issued, request_id_fault, seller_part
from server.convert.registry import timestamp
from server.services.red_letter import Blue

_REASONS = frozenset(map(int, RedReason))
_EXTENTS = frozenset(map(int, RedExtent))
_LINES = int(RedExtent.LINES)
RED_LINE_BYTES_MAX = 80  # what a red line's body may have more than its blue one: signs and amounts


def selection_faults(selection: redletter_pb2.RedSelection, path: str = "selection") -> list[Violation]:
    """Checks what can be checked without the blue invoice."""
    faults = []
    if not NUMBER_FORM.fullmatch(selection.blue_number):
        rule = "NUMBER_FORM" if selection.blue_number else "REQUIRED"
        faults.append(Violation(f"{path}.blue_number", rule, "must be 20 digits"))
    if int(selection.reason) not in _REASONS:
        faults.append(Violation(f"{path}.reason", "RED_REASON", "must be one of the reasons 01 to 04"))
    if int(selection.extent) not in _EXTENTS:
        faults.append(Violation(f"{path}.extent", "RED_EXTENT", "must be WHOLE, REMAINDER or LINES"))
    elif (int(selection.extent) == _LINES) != bool(selection.lines) or len(selection.lines) > LINES_MAX:
        words = f"must be 1 to {LINES_MAX} with RED_EXTENT_LINES, none otherwise"
        faults.append(Violation(f"{path}.lines", "LINES_COUNT", words))
    return faults


def request_faults(request: redletter_pb2.IssueRedInvoiceRequest) -> list[Violation]:
    """Checks a request as far as it goes without the blue invoice."""
    fault = request_id_fault(request.request_id)
    faults = [fault] if fault else []
    if not request.seller_id:
        faults.append(Violation("seller_id", "REQUIRED", "is required"))
    if len(request.drawer) > DRAWER_CHARS_MAX:
        faults.append(Violation("drawer", "TOO_LONG", f"must be at most {DRAWER_CHARS_MAX} characters"))
    return faults + selection_faults(request.selection)


def selection_bytes(selection: redletter_pb2.RedSelection) -> bytes:
    """The selection as forms keep it and drafts are compared with it."""
    return selection.SerializeToString(deterministic=True)


def wish_of(selection: redletter_pb2.RedSelection) -> Wish:
    """Reads how much is wanted."""
    lines = tuple(
        LineWish(
            line.line - 1,
            quantity=line.quantity,
            net=line.net_minor if line.HasField("net_minor") else None,
            gross=line.gross_minor if line.HasField("gross_minor") else None,
        )
        for line in selection.lines
    )
    return Wish(selection.extent, lines)


class RedMaker:
    """One wish for a blue invoice that has been read: makes the red invoice when it is known what is left."""

    def __init__(self, blue: Blue, selection: redletter_pb2.RedSelection) -> None:
        self._blue = blue
        self._invoice = invoice_pb2.Invoice.FromString(blue.body)
        self._wish = wish_of(selection)
        self._lines = [
            BlueLine(line.type, line.quantity, line.unit_price, line.net_minor, line.tax_minor)
            for line in self._invoice.lines
        ]

    def faults(self) -> list[Violation]:
        """What is wrong with the wish, whatever is left."""
        if self._blue.issued.color != invoice_pb2.INVOICE_COLOR_BLUE:
            return [Violation("selection.blue_number", "BLUE_REQUIRED", "is a red invoice itself")]
        return [fault.under("selection") for fault in wish_faults(self._wish, self._lines)]

    def parts(self, sums: Sums) -> list[RedPart]:
        """What is taken; raises as core.domain.red_letter.decide."""
        number, gross_prices = self._blue.issued.number, self._invoice.prices_include_tax
        return decide(number, self._lines, sums, self._wish, gross_prices=gross_prices)

    def draft(self, request: redletter_pb2.IssueRedInvoiceRequest, seller: SellerRecord) -> RedDraft:
        """The draft of a request without faults."""
        request_sha256 = request_digest(request)

        def shape(sums: Sums) -> RedShape:
            parts = self.parts(sums)
            net, tax = -sum(part.net for part in parts), -sum(part.tax for part in parts)
            red = self._red(parts, request.drawer, net, tax)
            prepared = red.SerializeToString(deterministic=True) + seller_part(seller.party)
            draft = Draft(
                seller_key=seller.seller_key,
                kind=red.kind,
                request_id=request.request_id,
                request_sha256=request_sha256,
                net_total_minor=net,
                tax_total_minor=tax,
                gross_total_minor=net + tax,
                buyer_tax_id=red.buyer.tax_id,
                prepared=prepared,
            )
            return RedShape(parts, draft)

        return RedDraft(
            seller_key=seller.seller_key,
            kind=self._invoice.kind,
            request_id=request.request_id,
            request_sha256=request_sha256,
            blue_number=self._blue.issued.number,
            confirmation_id=request.confirmation_id,
            selection=selection_bytes(request.selection),
            bytes_max=len(self._blue.body) + RED_LINE_BYTES_MAX * (1 + len(self._lines)),
            shape=shape,
        )

    def _red(self, parts: Sequence[RedPart], drawer: str, net: int, tax: int) -> invoice_pb2.Invoice:
        """The red invoice as far as it is known before its number."""
        blue = self._invoice
        red = invoice_pb2.Invoice(
            kind=blue.kind,
            buyer=blue.buyer,
            prices_include_tax=blue.prices_include_tax,
            remark=REMARK + blue.number,
            drawer=drawer or blue.drawer,
            currency=blue.currency,
            net_total_minor=net,
            tax_total_minor=tax,
            gross_total_minor=net + tax,
            color=invoice_pb2.INVOICE_COLOR_RED,
            blue_number=blue.number,
        )
        for part in parts:
            line = red.lines.add()
            line.CopyFrom(blue.lines[part.line])
            line.type = invoice_pb2.LINE_TYPE_NORMAL
            line.quantity = f"-{part.quantity}" if part.quantity else ""
            line.unit_price = part.unit_price
            line.net_minor, line.tax_minor, line.gross_minor = -part.net, -part.tax, -part.net - part.tax
            line.amount_minor = line.gross_minor if blue.prices_include_tax else line.net_minor
        return red


def request_digest(request: redletter_pb2.IssueRedInvoiceRequest) -> bytes:
    """Tells a repeat from a reuse (P2): SHA-256 of all but the seller and the request id."""
    said = redletter_pb2.IssueRedInvoiceRequest()
    said.CopyFrom(request)
    said.ClearField("seller_id")
    said.ClearField("request_id")
    return hashlib.sha256(b"red" + said.SerializeToString(deterministic=True)).digest()


def fill_red(
    message: redletter_pb2.IssuedRedInvoice, issued: Issued, request: redletter_pb2.IssueRedInvoiceRequest
) -> None:
    """Writes an answer into its message."""
    fill_issued(message.issued, issued, request.seller_id)
    message.blue_number = request.selection.blue_number


def fill_result(
    result: redletter_pb2.RedResult,
    answer: Answer,
    request: redletter_pb2.IssueRedInvoiceRequest,
    request_id: str,
) -> None:
    """Writes what became of one request of a batch into its result."""
    if isinstance(answer, Issued):
        fill_red(result.red, answer, request)
    else:
        result.error.CopyFrom(errors.status(about(answer, request), request_id))


def about(error: BillowError, request: redletter_pb2.IssueRedInvoiceRequest) -> BillowError:
    """Completes an error that the store made without knowing the seller's name."""
    if error.reason not in (Reason.NO_NUMBER_RANGE, Reason.NUMBER_RANGE_EXHAUSTED):
        return error
    words = error.message.replace(" invoices", " red invoices")
    return BillowError(error.reason, words, metadata={**error.metadata, "seller_id": request.seller_id})


def confirmation(form: Form) -> redletter_pb2.Confirmation:
    """Builds the message of a form."""
    return redletter_pb2.Confirmation(
        confirmation_id=form.confirmation_id,
        selection=redletter_pb2.RedSelection.FromString(form.selection),
        gross_total_minor=form.gross_total_minor,
        state=redletter_pb2.ConfirmationState.ValueType(form.state),
        made_by_buyer=form.made_by_buyer,
        seller_tax_id=form.seller_tax_id,
        buyer_tax_id=form.buyer_tax_id,
        red_number=form.red_number,
        create_time=timestamp(form.created_at_us),
        expire_time=timestamp(form.expires_at_us),
    )

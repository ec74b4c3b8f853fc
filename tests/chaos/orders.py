"""What is asked for: made from the seed and the request id alone, so that any request can be made again."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any, Final

import billow
from billow.issuance.v1 import issuance_pb2
from billow.redletter.v1 import redletter_pb2
from billow.types.v1 import invoice_pb2
from tests.support.invoices import GOODS_CODE, tax_id

RATE_BP: Final = 1_300
LINES_MAX: Final = 5
PERIOD: Final = 202611
RED_PREFIX: Final = "red "
ENTER_PREFIX: Final = "enter "


@dataclass(frozen=True, slots=True)
class Order:
    """A request to issue, and what its invoice must come to."""

    request: issuance_pb2.IssueInvoiceRequest
    gross: int
    body: str  # SHA-256 of the invoice asked for, hex
    buyer: str = ""
    variant: int = 0

    def wish(self, *, seller: str, mode: str) -> dict[str, Any]:
        """The order as a ledger notes it; `seller` with its tenant."""
        return {
            "op": "issue",
            "mode": mode,
            "seller": seller,
            "request": self.request.request_id,
            "body": self.body,
            "gross": self.gross,
            "buyer": self.buyer,
            "variant": self.variant,
        }


def order(seed: int, *, seller_id: str, request_id: str, buyer: str = "", variant: int = 0) -> Order:
    """Makes the order of a request id; another `variant` is another invoice. `buyer`: a taxpayer id, "" for any."""
    draw = random.Random(f"{seed} {seller_id} {request_id} {variant}")
    invoice = invoice_pb2.Invoice(kind=invoice_pb2.INVOICE_KIND_GENERAL, remark=f"{request_id} {variant}")
    invoice.buyer.name = "示例买方有限公司"
    invoice.buyer.tax_id = buyer or tax_id(draw.randrange(10**6))
    gross = 0
    for place in range(draw.randint(1, LINES_MAX)):
        quantity = draw.randint(1, 9)
        price = 100 * draw.randint(1, 500)  # whole tens of yuan: tax without rounding
        net = quantity * price * 10
        tax = net * RATE_BP // 10_000
        gross += net + tax
        invoice.lines.add(
            name=f"widget {place}",
            goods_code=GOODS_CODE,
            quantity=str(quantity),
            unit_price=f"{price // 10}.00",
            amount_minor=net,
            tax_rate_bp=RATE_BP,
        )
    body = hashlib.sha256(invoice.SerializeToString(deterministic=True)).hexdigest()
    request = issuance_pb2.IssueInvoiceRequest(seller_id=seller_id, request_id=request_id, invoice=invoice)
    return Order(request, gross, body, buyer, variant)


def red_request(*, seller_id: str, number: str) -> redletter_pb2.IssueRedInvoiceRequest:
    """Takes an invoice back in whole."""
    selection = redletter_pb2.RedSelection(
        blue_number=number, reason=redletter_pb2.RED_REASON_GOODS_RETURNED, extent=redletter_pb2.RED_EXTENT_WHOLE
    )
    return redletter_pb2.IssueRedInvoiceRequest(
        seller_id=seller_id, request_id=RED_PREFIX + number, selection=selection
    )


def entry_request(*, number: str) -> billow.EnterInvoiceRequest:
    """Enters an invoice into its buyer's books."""
    return billow.EnterInvoiceRequest(
        request_id=ENTER_PREFIX + number, number=number, state=billow.ENTRY_STATE_DEDUCTIBLE, period=PERIOD
    )


def sha(message: Any) -> str:
    """SHA-256 of a message's bytes, hex."""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


def issued_answer(issued: invoice_pb2.IssuedInvoice, whole: Any) -> dict[str, Any]:
    """An issued invoice as a ledger notes it; `whole` is the message it came in."""
    return {
        "what": "ok",
        "number": issued.number,
        "gross": issued.gross_total_minor,
        "digest": issued.body_sha256.hex(),
        "answer": sha(whole),
    }


def error_answer(error: billow.BillowError) -> dict[str, Any]:
    """A refusal or a failure as a ledger notes it."""
    return {"what": error.reason or error.code.name}

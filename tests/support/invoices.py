"""Invoices for tests: made-up parties with lawful tax ids, and a good invoice to spoil."""

from __future__ import annotations

from billow.types.v1 import invoice_pb2
from core.domain.taxpayer_id import check_character

GOODS_CODE = "1090511030000000000"


def tax_id(serial: int) -> str:
    """Returns a made-up unified social credit code with a right check character."""
    first = f"9111{serial:013d}"
    return first + check_character(first)


def good_invoice(
    lines: int = 3, *, kind: invoice_pb2.InvoiceKind.ValueType = invoice_pb2.INVOICE_KIND_GENERAL, serial: int = 1
) -> invoice_pb2.Invoice:
    """Returns an invoice that obeys every rule: `lines` lines of 2 × 50.00 at 13 %, 113.00 with tax each."""
    invoice = invoice_pb2.Invoice(kind=kind, remark=f"order {serial}", drawer="赵敏")
    invoice.buyer.name = "示例买方有限公司"
    invoice.buyer.tax_id = tax_id(serial)
    for position in range(lines):
        invoice.lines.add(
            name=f"widget {position}",
            category="电子产品",
            goods_code=GOODS_CODE,
            unit="个",
            quantity="2",
            unit_price="50.00",
            amount_minor=10_000,
            tax_rate_bp=1300,
            tax_minor=1_300,
        )
    return invoice

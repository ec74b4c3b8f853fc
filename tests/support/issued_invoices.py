"""Issued invoices for tests of documents: fixed ids and times, made-up parties."""

from __future__ import annotations

from typing import Any

from billow.types.v1 import invoice_pb2
from core.documents.read_invoice import ReadInvoice
from core.domain.kinds import InvoiceColor
from tests.support.invoices import GOODS_CODE, good_invoice, tax_id

ISSUE_SECONDS = 1_790_000_000  # 2026-09-21 21:33:20 in China
LINE_FIELDS = (
    "type", "name", "category", "goods_code", "specification", "unit", "quantity", "unit_price", "amount_minor",
    "tax_rate_bp", "zero_rate_reason", "tax_minor", "net_minor", "gross_minor",
)  # fmt: skip
PARTY_FIELDS = ("name", "tax_id", "address", "phone", "bank_name", "bank_account")
INVOICE_FIELDS = (
    "number", "kind", "color", "blue_number", "prices_include_tax", "remark", "drawer", "currency",
    "net_total_minor", "tax_total_minor", "gross_total_minor",
)  # fmt: skip


def issued_invoice(lines: int = 3, *, serial: int = 1, red: bool = False) -> invoice_pb2.Invoice:
    """Returns an invoice as issued; a red one has all amounts negative and names a blue one."""
    invoice = good_invoice(lines, serial=serial)
    sign = -1 if red else 1
    invoice.color = invoice_pb2.INVOICE_COLOR_RED if red else invoice_pb2.INVOICE_COLOR_BLUE
    invoice.number = f"261170000000{serial:08d}"
    invoice.currency = "CNY"
    invoice.issue_time.seconds, invoice.issue_time.nanos = ISSUE_SECONDS, 123_456_000
    invoice.seller.CopyFrom(
        invoice_pb2.Party(
            name="示例卖方有限公司",
            tax_id=tax_id(9),
            address="示例市示例路1号",
            phone="010-00000000",
            bank_name="示例银行",
            bank_account="0000111122223333",
        )
    )
    if red:
        invoice.blue_number = "26117000000099999999"
        invoice.remark = f"被红冲蓝字数电票号码：{invoice.blue_number}"
    for line in invoice.lines:
        line.amount_minor = line.net_minor = 10_000 * sign
        line.tax_minor, line.gross_minor = 1_300 * sign, 11_300 * sign
        line.quantity = "-2" if red else "2"
    totals(invoice)
    return invoice


def mixed_invoice() -> invoice_pb2.Invoice:
    """Returns one with a discount, an exempt line, two rates, and characters that formats stumble over."""
    invoice = issued_invoice(2, serial=7)
    invoice.remark = "a <b> & \"c\" 'd' ]]> \\ \x00\x0b\r\n\t𠮷"
    invoice.lines[0].type = invoice_pb2.LINE_TYPE_DISCOUNTED
    discount = invoice.lines.add(name=invoice.lines[0].name, category="电子产品", goods_code=GOODS_CODE)
    discount.type, discount.tax_rate_bp = invoice_pb2.LINE_TYPE_DISCOUNT, 1300
    discount.amount_minor = discount.net_minor = -1_000
    discount.tax_minor, discount.gross_minor = -130, -1_130
    invoice.lines.insert(1, discount)
    del invoice.lines[3]
    exempt = invoice.lines.add(name="*x*y", goods_code=GOODS_CODE, tax_minor=0)
    exempt.zero_rate_reason = invoice_pb2.ZERO_RATE_REASON_EXEMPT
    exempt.amount_minor = exempt.net_minor = exempt.gross_minor = 500
    totals(invoice)
    return invoice


def totals(invoice: invoice_pb2.Invoice) -> None:
    """Sums the lines up."""
    invoice.net_total_minor = sum(line.net_minor for line in invoice.lines)
    invoice.tax_total_minor = sum(line.tax_minor for line in invoice.lines)
    invoice.gross_total_minor = sum(line.gross_minor for line in invoice.lines)


def values(invoice: invoice_pb2.Invoice | ReadInvoice) -> dict[str, Any]:
    """All that a document should keep of an invoice, to be compared."""
    found: dict[str, Any] = {name: getattr(invoice, name) for name in INVOICE_FIELDS}
    found["issue_time"] = (invoice.issue_time.seconds, invoice.issue_time.nanos)
    for side in ("seller", "buyer"):
        found[side] = {name: getattr(getattr(invoice, side), name) for name in PARTY_FIELDS}
    found["lines"] = [{name: getattr(line, name) for name in LINE_FIELDS} for line in invoice.lines]
    found["red"] = invoice.color == InvoiceColor.RED
    return found

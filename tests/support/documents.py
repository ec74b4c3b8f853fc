"""Issued invoices for documents, with fixed numbers, times and names, and the renderers as a server makes them."""

from __future__ import annotations

import time
from pathlib import Path

from billow.types.v1 import invoice_pb2
from core.settings import DocumentSettings
from tests.support.invoices import good_invoice, tax_id

FONT = Path(DocumentSettings().font)
NUMBER = "26110000000000000042"
BLUE_NUMBER = "26110000000000000041"
ISSUED_S = 1_795_000_000  # 2026-11-18 19:06:40 in China
NAMES = ("智能手机", "Industrial grade programmable logic controller with extended warranty", "办公用品")


def issued_invoice(lines: int = 1, *, red: bool = False) -> invoice_pb2.Invoice:
    """Returns an issued invoice with `lines` lines, every seventh a discount of 5.00; a red one has none."""
    invoice = good_invoice(lines)
    invoice.number, invoice.issue_time.seconds = NUMBER, ISSUED_S
    invoice.seller.name, invoice.seller.tax_id = "示例卖方（北京）信息技术服务有限责任公司", tax_id(9)
    invoice.seller.address, invoice.seller.phone = "北京市示例区示例路一百号示例大厦二十层", "010-00000000"
    invoice.seller.bank_name, invoice.seller.bank_account = "示例银行北京分行营业部", "1234567890123456789"
    invoice.remark = "订单号 2026-1122；请在收到发票后三十日内付款。"
    if red:
        invoice.color, invoice.blue_number = invoice_pb2.INVOICE_COLOR_RED, BLUE_NUMBER
    sign = -1 if red else 1
    for position, line in enumerate(invoice.lines):
        line.name = NAMES[position % 3]
        line.quantity = "-2" if red else "2"
        line.net_minor, line.tax_minor = sign * line.amount_minor, sign * line.tax_minor
        if position % 7 == 6 and not red:
            line.type = invoice_pb2.LINE_TYPE_DISCOUNT
            line.name = invoice.lines[position - 1].name
            invoice.lines[position - 1].type = invoice_pb2.LINE_TYPE_DISCOUNTED
            line.quantity = line.unit_price = line.unit = ""
            line.net_minor, line.tax_minor = -500, -65
        line.amount_minor = line.net_minor
        line.gross_minor = line.net_minor + line.tax_minor
    invoice.net_total_minor = sum(line.net_minor for line in invoice.lines)
    invoice.tax_total_minor = sum(line.tax_minor for line in invoice.lines)
    invoice.gross_total_minor = invoice.net_total_minor + invoice.tax_total_minor
    return invoice


def foreign_invoice(number: str, buyer_tax_id: str) -> invoice_pb2.Invoice:
    """Returns an invoice that nobody here issued, of now, whose document can be imported."""
    invoice = issued_invoice(3)
    invoice.currency, invoice.buyer.tax_id, invoice.number = "CNY", buyer_tax_id, number
    invoice.issue_time.seconds = time.time_ns() // 10**9
    for line in invoice.lines:
        line.quantity = line.unit_price = ""
    return invoice

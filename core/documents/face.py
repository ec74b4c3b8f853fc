"""What the face of an invoice says, in the words of the profile cn, whatever it is drawn on."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final

from core.domain.capital import capital
from core.domain.decimals import POWERS, divided, minor_text, parse
from core.domain.invoice import PartyInput
from core.domain.issued_invoice import IssuedInvoiceView, IssuedLine
from core.domain.kinds import InvoiceColor, InvoiceKind, ZeroRateReason
from core.domain.qr_text import qr_text
from core.domain.verification import date_of
from core.limits import DECIMALS_MAX

TITLES: Final = {
    InvoiceKind.SPECIAL: "电子发票（增值税专用发票）",
    InvoiceKind.GENERAL: "电子发票（普通发票）",
}
BLUE_NUMBER: Final = "被红冲蓝字数电票号码："
NO_TAX: Final = {ZeroRateReason.EXEMPT: "免税", ZeroRateReason.NOT_TAXABLE: "不征税"}
NO_TAX_AMOUNT: Final = "***"
UTC_OFFSET: Final = dt.timezone(dt.timedelta(hours=8))
CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class LineTexts:
    """A line of the table, as printed. Amounts and prices are without tax, whatever the caller's basis was."""

    name: str
    specification: str
    unit: str
    quantity: str
    unit_price: str
    amount: str
    rate: str
    tax: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceTexts:
    """Everything printed but the labels."""

    title: str
    number: str
    issue_date: str
    issued_at: dt.datetime  # in China's time zone, to the second
    qr: str
    red: bool
    buyer: tuple[tuple[str, str], ...]  # label and value
    seller: tuple[tuple[str, str], ...]
    lines: tuple[LineTexts, ...]
    net_total: str
    tax_total: str
    gross_total: str
    gross_capital: str
    remark: str
    drawer: str


def face_of(invoice: IssuedInvoiceView) -> FaceTexts:
    """Puts the face of an issued invoice into words. Pure; about 10 µs a line."""
    at_us = invoice.issue_time.seconds * 1_000_000 + invoice.issue_time.nanos // 1_000
    issued_at = dt.datetime.fromtimestamp(invoice.issue_time.seconds, UTC_OFFSET)
    lines = tuple(line_texts(line, prices_include_tax=invoice.prices_include_tax) for line in invoice.lines)
    untaxed = all(line.tax == NO_TAX_AMOUNT for line in lines)
    return FaceTexts(
        title=TITLES[InvoiceKind(invoice.kind)],
        number=invoice.number,
        issue_date=f"{issued_at.year}年{issued_at.month:02d}月{issued_at.day:02d}日",
        issued_at=issued_at,
        qr=qr_text(
            kind=invoice.kind,
            number=invoice.number,
            gross_total_minor=invoice.gross_total_minor,
            issue_date=date_of(at_us),
        ),
        red=invoice.color == InvoiceColor.RED,
        buyer=party_texts(invoice.buyer),
        seller=party_texts(invoice.seller),
        lines=lines,
        net_total=f"¥{minor_text(invoice.net_total_minor)}",
        tax_total=NO_TAX_AMOUNT if untaxed else f"¥{minor_text(invoice.tax_total_minor)}",
        gross_total=f"¥{minor_text(invoice.gross_total_minor)}",
        gross_capital=capital(invoice.gross_total_minor),
        remark=remark_text(invoice),
        drawer=plain(invoice.drawer),
    )


def line_texts(line: IssuedLine, *, prices_include_tax: bool) -> LineTexts:
    """Puts one line into words."""
    name = f"*{line.category}*{line.name}" if line.category else line.name
    unit_price = line.unit_price
    if unit_price and line.quantity and prices_include_tax:
        unit_price = price_without_tax(line.net_minor, line.quantity)
    untaxed = NO_TAX.get(ZeroRateReason(line.zero_rate_reason)) if line.tax_rate_bp == 0 else None
    return LineTexts(
        name=plain(name),
        specification=plain(line.specification),
        unit=plain(line.unit),
        quantity=line.quantity,
        unit_price=unit_price,
        amount=minor_text(line.net_minor),
        rate=untaxed or rate_text(line.tax_rate_bp),
        tax=NO_TAX_AMOUNT if untaxed else minor_text(line.tax_minor),
    )


def price_without_tax(net_minor: int, quantity: str) -> str:
    """Divides an amount by a quantity, to 13 decimals, half up; the text has no zeros at its end beyond fen."""
    parsed = parse(quantity)
    if parsed is None or not parsed[0]:
        return ""
    value, decimals = parsed
    numerator = abs(net_minor) * POWERS[decimals] * POWERS[DECIMALS_MAX - 2]
    digits = f"{divided(numerator, abs(value)):0{DECIMALS_MAX + 1}d}"
    fraction = digits[-DECIMALS_MAX:].rstrip("0")
    return f"{digits[:-DECIMALS_MAX]}.{fraction:0<2}"


def rate_text(rate_bp: int) -> str:
    """Writes a rate: 1300 is 13%, 150 is 1.5%."""
    return f"{rate_bp // 100}.{rate_bp % 100:02d}".rstrip("0").rstrip(".") + "%"


def party_texts(party: PartyInput) -> tuple[tuple[str, str], ...]:
    """Lists what is printed of a party; name and id always, the rest where it is given."""
    texts = [("名称：", party.name), ("统一社会信用代码/纳税人识别号：", party.tax_id)]
    if party.address or party.phone:
        texts.append(("地址、电话：", f"{party.address} {party.phone}".strip()))
    if party.bank_name or party.bank_account:
        texts.append(("开户银行及账号：", f"{party.bank_name} {party.bank_account}".strip()))
    return tuple((label, plain(value)) for label, value in texts)


def remark_text(invoice: IssuedInvoiceView) -> str:
    """The remark; a red invoice's names the blue one (DOMAIN.md, "Red invoices")."""
    remark = plain(invoice.remark)
    if invoice.blue_number and invoice.blue_number not in remark:
        remark = f"{BLUE_NUMBER}{invoice.blue_number} {remark}".strip()
    return remark


def plain(text: str) -> str:
    """One line of text without control characters."""
    return CONTROLS.sub(" ", text)

"""What can be checked of an invoice that somebody else issued: its digits and its arithmetic, not its rates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core import limits
from core.domain import taxpayer_id
from core.domain.decimals import parse
from core.domain.errors import Violation
from core.domain.issued_invoice import IssuedInvoiceView, IssuedLine
from core.domain.kinds import InvoiceColor
from core.domain.verification import NUMBER_FORM

TAX_TOLERANCE_MINOR: Final = 6  # of a line (DOMAIN.md)
RATE_SCALE: Final = 10_000  # basis points


def import_faults(invoice: IssuedInvoiceView) -> list[Violation]:
    """Returns what cannot be right of an invoice that was read from a document, at most VIOLATIONS_MAX."""
    faults = []
    for fault in _faults(invoice):
        faults.append(fault)
        if len(faults) == limits.VIOLATIONS_MAX:
            break
    return faults


def _faults(invoice: IssuedInvoiceView) -> Iterator[Violation]:
    if not NUMBER_FORM.fullmatch(invoice.number):
        yield Violation("number", "NUMBER_FORM", "must be 20 digits")
    for side, party in (("seller", invoice.seller), ("buyer", invoice.buyer)):
        code = taxpayer_id.check(party.tax_id) if party.tax_id else "REQUIRED"
        if code is not None:
            yield Violation(f"{side}.tax_id", code, "is not a taxpayer id")
        if not 0 < len(party.name) <= limits.PARTY_NAME_CHARS_MAX:
            words = f"must be 1 to {limits.PARTY_NAME_CHARS_MAX} characters"
            yield Violation(f"{side}.name", "TOO_LONG" if party.name else "REQUIRED", words)
    red = invoice.color == InvoiceColor.RED
    if red and not NUMBER_FORM.fullmatch(invoice.blue_number):
        yield Violation("blue_number", "NUMBER_FORM", "must be 20 digits")
    if (invoice.gross_total_minor > 0) if red else (invoice.gross_total_minor < 0):
        yield Violation("gross_total_minor", "SIGN", "must not be positive on a red invoice or negative on a blue one")
    for path in ("net", "tax", "gross"):
        total = sum(getattr(line, f"{path}_minor") for line in invoice.lines)
        if total != getattr(invoice, f"{path}_total_minor"):
            yield Violation(f"{path}_total_minor", "TOTAL", "is not the sum of the lines")
    if invoice.net_total_minor + invoice.tax_total_minor != invoice.gross_total_minor:
        yield Violation("gross_total_minor", "TOTAL", "is not the sum without tax and the tax")
    for position, line in enumerate(invoice.lines):
        for fault in _line_faults(line):
            yield fault.under(f"lines[{position}]")


def _line_faults(line: IssuedLine) -> Iterator[Violation]:
    if line.net_minor + line.tax_minor != line.gross_minor:
        yield Violation("gross_minor", "AMOUNT", "is not the amount without tax and the tax")
    if abs(line.net_minor * line.tax_rate_bp - line.tax_minor * RATE_SCALE) > TAX_TOLERANCE_MINOR * RATE_SCALE:
        yield Violation("tax_minor", "TAX", "does not agree with the amount and the rate")
    if bool(line.quantity) != bool(line.unit_price):
        yield Violation("unit_price", "QUANTITY_AND_PRICE", "must stand together with the quantity")
    elif line.quantity:
        too_long = max(len(line.quantity), len(line.unit_price)) > limits.DECIMAL_CHARS_MAX
        quantity, price = (None, None) if too_long else (parse(line.quantity), parse(line.unit_price))
        if quantity is None or price is None:
            yield Violation("quantity", "DECIMAL_FORM", "and the price must be decimals")
        else:
            scale = 10 ** (quantity[1] + price[1])
            if abs(quantity[0] * price[0] * 100 - line.amount_minor * scale) > scale:
                yield Violation("amount_minor", "AMOUNT", "does not agree with quantity and price")

"""The rules an invoice must obey before it is issued, and the arithmetic that the server owns.

`check` is the hot path: plain calls, no I/O, about 4 µs a line. Every broken rule becomes a Violation with the path
of its field inside the invoice and a code of `Rule`; all faults of an invoice are told at once. Sources: DOMAIN.md.
"""

from __future__ import annotations

import enum
from typing import Final

from core import limits
from core.domain import taxpayer_id
from core.domain.decimals import POWERS, divided, parse
from core.domain.errors import Violation
from core.domain.invoice import InvoiceAmounts, InvoiceInput, LineAmounts, LineInput, PartyInput
from core.domain.kinds import InvoiceKind, LineType, ZeroRateReason
from core.domain.profile import Profile
from core.limits import (
    AMOUNT_MINOR_MAX,
    CATEGORY_CHARS_MAX,
    GOODS_CODE_CHARS_MAX,
    NAME_CHARS_MAX,
    PARTY_ADDRESS_CHARS_MAX,
    PARTY_BANK_ACCOUNT_CHARS_MAX,
    PARTY_BANK_NAME_CHARS_MAX,
    PARTY_NAME_CHARS_MAX,
    PARTY_PHONE_CHARS_MAX,
    SPECIFICATION_CHARS_MAX,
    UNIT_CHARS_MAX,
)

RATE_SCALE: Final = 10_000  # basis points

# plain integers: looking a member up in its enumeration costs more than the comparison
_SPECIAL: Final = int(InvoiceKind.SPECIAL)
_GENERAL: Final = int(InvoiceKind.GENERAL)
_DISCOUNTED: Final = int(LineType.DISCOUNTED)
_DISCOUNT: Final = int(LineType.DISCOUNT)
_REASON_MAX: Final = int(ZeroRateReason.PLAIN)


class Rule(enum.StrEnum):
    """The stable codes of the rules."""

    REQUIRED = "REQUIRED"
    TOO_LONG = "TOO_LONG"
    UNKNOWN_VALUE = "UNKNOWN_VALUE"
    KIND_REQUIRED = "KIND_REQUIRED"
    CURRENCY = "CURRENCY"
    TAX_ID_FORM = taxpayer_id.BAD_FORM
    TAX_ID_CHECK_CHARACTER = taxpayer_id.BAD_CHECK
    BUYER_TAX_ID_REQUIRED = "BUYER_TAX_ID_REQUIRED"
    LINES_COUNT = "LINES_COUNT"
    GOODS_CODE_FORM = "GOODS_CODE_FORM"
    DECIMAL_FORM = "DECIMAL_FORM"
    QUANTITY_AND_PRICE = "QUANTITY_AND_PRICE"
    QUANTITY_POSITIVE = "QUANTITY_POSITIVE"
    PRICE_POSITIVE = "PRICE_POSITIVE"
    AMOUNT_REQUIRED = "AMOUNT_REQUIRED"
    AMOUNT_RANGE = "AMOUNT_RANGE"
    AMOUNT_POSITIVE = "AMOUNT_POSITIVE"
    AMOUNT_DISAGREES = "AMOUNT_DISAGREES"
    TAX_RATE = "TAX_RATE"
    ZERO_RATE_REASON = "ZERO_RATE_REASON"
    TAX_TOLERANCE_LINE = "TAX_TOLERANCE_LINE"
    TAX_TOLERANCE_INVOICE = "TAX_TOLERANCE_INVOICE"
    DISCOUNT_ORDER = "DISCOUNT_ORDER"
    DISCOUNT_SAME_ITEM = "DISCOUNT_SAME_ITEM"
    DISCOUNT_NO_QUANTITY = "DISCOUNT_NO_QUANTITY"
    DISCOUNT_NEGATIVE = "DISCOUNT_NEGATIVE"
    DISCOUNT_TOO_LARGE = "DISCOUNT_TOO_LARGE"
    TOTAL_DISAGREES = "TOTAL_DISAGREES"


class Faults(list[Violation]):
    """The violations found so far."""

    def add(self, field: str, rule: Rule, description: str) -> None:
        """Notes a broken rule; beyond VIOLATIONS_MAX only the last place is kept for the newest."""
        if len(self) >= limits.VIOLATIONS_MAX:
            self.pop()
        self.append(Violation(field, str(rule), description))


def check(invoice: InvoiceInput, profile: Profile) -> InvoiceAmounts | Faults:
    """Checks an invoice and computes its amounts; returns either the amounts or everything that is wrong."""
    faults = Faults()
    _check_head(invoice, profile, faults)
    inputs = invoice.lines
    count = len(inputs)
    if not 1 <= count <= profile.lines_max:
        faults.add("lines", Rule.LINES_COUNT, f"must be 1 to {profile.lines_max} lines, not {count}")
        return faults
    gross_prices = invoice.prices_include_tax
    rates = profile.rates_bp
    tax_error_max = profile.line_tax_tolerance_minor * RATE_SCALE
    lines: list[LineAmounts] = []
    net_total = tax_total = error_total = 0
    item: LineInput | None = None  # the discounted line before, if the line before is one
    item_amount = 0
    for index, line in enumerate(inputs):
        kind = line.type
        _check_line_text(line, kind, index, faults)
        if kind == _DISCOUNT:
            amount = _discount_amount(line, index, item, item_amount, faults)
            item = None
        else:
            amount = _line_amount(line, index, profile, faults)
            if item is not None:
                _undiscounted_fault(index - 1, faults)
            item, item_amount = (line, amount) if kind == _DISCOUNTED else (None, 0)
        rate = line.tax_rate_bp
        if rate not in rates or (rate == 0) != (line.zero_rate_reason != 0):
            _rate_fault(line, index, profile, faults)
            continue
        if not amount:
            continue  # its fault is noted; what follows from it is not
        if (tax := line.tax_minor) or line.HasField("tax_minor"):
            net = amount - tax if gross_prices else amount
            error = net * rate - tax * RATE_SCALE
            if error > tax_error_max or -error > tax_error_max:
                _tax_fault(tax, index, profile, faults)
        else:
            tax = divided(amount * rate, RATE_SCALE + rate if gross_prices else RATE_SCALE)
            net = amount - tax if gross_prices else amount
            error = net * rate - tax * RATE_SCALE
        lines.append(LineAmounts(amount, tax, net))
        net_total += net
        tax_total += tax
        error_total += error
    if item is not None:
        _undiscounted_fault(count - 1, faults)
    if faults:
        return faults
    amounts = InvoiceAmounts(lines, net_total, tax_total)
    _check_totals(invoice, profile, amounts, error_total, faults)
    return faults or amounts


def check_party(party: PartyInput, prefix: str, faults: Faults) -> None:
    """Checks the texts and the taxpayer id of a party whose path is `prefix`."""
    name = party.name
    tax_id = party.tax_id
    code = taxpayer_id.check(tax_id) if tax_id else None
    if (
        name
        and code is None
        and len(name) <= PARTY_NAME_CHARS_MAX
        and len(party.address) <= PARTY_ADDRESS_CHARS_MAX
        and len(party.phone) <= PARTY_PHONE_CHARS_MAX
        and len(party.bank_name) <= PARTY_BANK_NAME_CHARS_MAX
        and len(party.bank_account) <= PARTY_BANK_ACCOUNT_CHARS_MAX
    ):
        return
    if not name:
        faults.add(f"{prefix}.name", Rule.REQUIRED, "is required")
    _check_length(name, f"{prefix}.name", PARTY_NAME_CHARS_MAX, faults)
    _check_length(party.address, f"{prefix}.address", PARTY_ADDRESS_CHARS_MAX, faults)
    _check_length(party.phone, f"{prefix}.phone", PARTY_PHONE_CHARS_MAX, faults)
    _check_length(party.bank_name, f"{prefix}.bank_name", PARTY_BANK_NAME_CHARS_MAX, faults)
    _check_length(party.bank_account, f"{prefix}.bank_account", PARTY_BANK_ACCOUNT_CHARS_MAX, faults)
    if code == Rule.TAX_ID_CHECK_CHARACTER:
        faults.add(f"{prefix}.tax_id", Rule(code), "the check character (the 18th) does not fit the others")
    elif code is not None:
        words = "must be 15, 17, 18 or 20 characters of 0-9 and A-Z; 18-character ids have no I, O, S, V or Z"
        faults.add(f"{prefix}.tax_id", Rule(code), words)


def _check_length(text: str, field: str, chars_max: int, faults: Faults) -> None:
    if len(text) > chars_max:
        faults.add(field, Rule.TOO_LONG, f"must be at most {chars_max} characters, not {len(text)}")


def _check_head(invoice: InvoiceInput, profile: Profile, faults: Faults) -> None:
    """Checks everything but lines and totals."""
    kind = invoice.kind
    if kind not in (_SPECIAL, _GENERAL):
        faults.add("kind", Rule.KIND_REQUIRED, "must be INVOICE_KIND_SPECIAL or INVOICE_KIND_GENERAL")
    currency = invoice.currency
    if currency and currency != profile.currency:
        faults.add("currency", Rule.CURRENCY, f"must be {profile.currency} or absent")
    buyer = invoice.buyer
    check_party(buyer, "buyer", faults)
    if kind == _SPECIAL and not buyer.tax_id:
        faults.add("buyer.tax_id", Rule.BUYER_TAX_ID_REQUIRED, "a special invoice needs the buyer's taxpayer id")
    _check_length(invoice.remark, "remark", limits.REMARK_CHARS_MAX, faults)
    _check_length(invoice.drawer, "drawer", limits.DRAWER_CHARS_MAX, faults)


def _check_line_text(line: LineInput, kind: int, index: int, faults: Faults) -> None:
    """Checks the texts of a line; one comparison each while they are good."""
    name = line.name
    code = line.goods_code
    if (
        name
        and len(name) <= NAME_CHARS_MAX
        and len(line.category) <= CATEGORY_CHARS_MAX
        and len(line.specification) <= SPECIFICATION_CHARS_MAX
        and len(line.unit) <= UNIT_CHARS_MAX
        and code.isdigit()
        and code.isascii()
        and len(code) <= GOODS_CODE_CHARS_MAX
        and 0 <= kind <= _DISCOUNT
        and 0 <= line.zero_rate_reason <= _REASON_MAX
    ):
        return
    path = f"lines[{index}]"
    if not name:
        faults.add(f"{path}.name", Rule.REQUIRED, "is required")
    _check_length(name, f"{path}.name", NAME_CHARS_MAX, faults)
    _check_length(line.category, f"{path}.category", CATEGORY_CHARS_MAX, faults)
    _check_length(line.specification, f"{path}.specification", SPECIFICATION_CHARS_MAX, faults)
    _check_length(line.unit, f"{path}.unit", UNIT_CHARS_MAX, faults)
    if not (code.isdigit() and code.isascii() and len(code) <= GOODS_CODE_CHARS_MAX):
        faults.add(f"{path}.goods_code", Rule.GOODS_CODE_FORM, f"must be 1 to {GOODS_CODE_CHARS_MAX} digits")
    if not 0 <= kind <= _DISCOUNT:
        faults.add(f"{path}.type", Rule.UNKNOWN_VALUE, f"{kind} is not a line type")
    if not 0 <= line.zero_rate_reason <= _REASON_MAX:
        faults.add(f"{path}.zero_rate_reason", Rule.UNKNOWN_VALUE, f"{line.zero_rate_reason} is not a reason")


def _line_amount(line: LineInput, index: int, profile: Profile, faults: Faults) -> int:
    """Returns the amount of an ordinary line, given or computed; 0 after a fault."""
    quantity_text = line.quantity
    price_text = line.unit_price
    given = line.amount_minor or (0 if line.HasField("amount_minor") else None)
    if not quantity_text and not price_text:
        if given is None:
            words = "is required without quantity and unit_price"
            faults.add(f"lines[{index}].amount_minor", Rule.AMOUNT_REQUIRED, words)
            return 0
        return _in_range(given, index, faults)
    quantity = parse(quantity_text)
    price = parse(price_text)
    if quantity is None or price is None or quantity[0] <= 0 or price[0] <= 0:
        _quantity_and_price_faults(line, index, faults)
        return 0
    unit = POWERS[quantity[1] + price[1]]
    product = quantity[0] * price[0] * 100  # minor units, times `unit`
    if given is None:
        return _in_range(divided(product, unit), index, faults)
    error = product - given * unit
    error_max = profile.amount_tolerance_minor * unit
    if error > error_max or -error > error_max:
        words = f"{given} differs from quantity × unit_price, {divided(product, unit)}, by more than "
        field = f"lines[{index}].amount_minor"
        faults.add(field, Rule.AMOUNT_DISAGREES, words + str(profile.amount_tolerance_minor))
    return _in_range(given, index, faults)


def _in_range(amount: int, index: int, faults: Faults) -> int:
    if 0 < amount <= AMOUNT_MINOR_MAX:
        return amount
    if amount <= 0:
        faults.add(f"lines[{index}].amount_minor", Rule.AMOUNT_POSITIVE, "must be positive")
    else:
        faults.add(f"lines[{index}].amount_minor", Rule.AMOUNT_RANGE, f"must be at most {AMOUNT_MINOR_MAX}")
    return 0


def _quantity_and_price_faults(line: LineInput, index: int, faults: Faults) -> None:
    path = f"lines[{index}]"
    for name, text, rule in (
        ("quantity", line.quantity, Rule.QUANTITY_POSITIVE),
        ("unit_price", line.unit_price, Rule.PRICE_POSITIVE),
    ):
        value = parse(text)
        if not text:
            faults.add(f"{path}.{name}", Rule.QUANTITY_AND_PRICE, "quantity and unit_price are given both or neither")
        elif value is None:
            words = f"must be a plain decimal with at most {limits.DECIMALS_MAX} decimals"
            faults.add(f"{path}.{name}", Rule.DECIMAL_FORM, words)
        elif value[0] <= 0:
            faults.add(f"{path}.{name}", rule, "must be positive")


def _undiscounted_fault(index: int, faults: Faults) -> None:
    words = "a discounted line must be followed by its discount"
    faults.add(f"lines[{index}].type", Rule.DISCOUNT_ORDER, words)


def _discount_amount(line: LineInput, index: int, item: LineInput | None, item_amount: int, faults: Faults) -> int:
    """Returns the (negative) amount of a discount line, 0 after a fault; `item` is the line it belongs to."""
    path = f"lines[{index}]"
    if item is None:
        faults.add(f"{path}.type", Rule.DISCOUNT_ORDER, "a discount must follow its discounted line at once")
    elif line.name != item.name or line.tax_rate_bp != item.tax_rate_bp:
        faults.add(path, Rule.DISCOUNT_SAME_ITEM, "a discount has the name and tax rate of the line before it")
    if line.quantity or line.unit_price:
        faults.add(f"{path}.quantity", Rule.DISCOUNT_NO_QUANTITY, "a discount has neither quantity nor unit_price")
    if not line.HasField("amount_minor"):
        faults.add(f"{path}.amount_minor", Rule.AMOUNT_REQUIRED, "is required for a discount")
        return 0
    amount = line.amount_minor
    if amount >= 0:
        faults.add(f"{path}.amount_minor", Rule.DISCOUNT_NEGATIVE, "must be negative")
        return 0
    if amount < -AMOUNT_MINOR_MAX:
        faults.add(f"{path}.amount_minor", Rule.AMOUNT_RANGE, f"must be at least -{AMOUNT_MINOR_MAX}")
        return 0
    if item_amount and -amount > item_amount:
        faults.add(f"{path}.amount_minor", Rule.DISCOUNT_TOO_LARGE, f"exceeds the {item_amount} of its line")
    return amount


def _rate_fault(line: LineInput, index: int, profile: Profile, faults: Faults) -> None:
    path = f"lines[{index}]"
    rate = line.tax_rate_bp
    if rate not in profile.rates_bp:
        lawful = ", ".join(map(str, sorted(profile.rates_bp)))
        faults.add(f"{path}.tax_rate_bp", Rule.TAX_RATE, f"must be one of {lawful} basis points, not {rate}")
    elif rate == 0:
        faults.add(f"{path}.zero_rate_reason", Rule.ZERO_RATE_REASON, "is required at a rate of 0")
    else:
        faults.add(f"{path}.zero_rate_reason", Rule.ZERO_RATE_REASON, f"must be absent at a rate of {rate}")


def _tax_fault(tax: int, index: int, profile: Profile, faults: Faults) -> None:
    words = f"{tax} differs from net × rate by more than {profile.line_tax_tolerance_minor}"
    faults.add(f"lines[{index}].tax_minor", Rule.TAX_TOLERANCE_LINE, words)


def _check_totals(
    invoice: InvoiceInput, profile: Profile, amounts: InvoiceAmounts, error_total: int, faults: Faults
) -> None:
    """Refuses totals that are given and disagree, that are too large, or whose tax errors add up."""
    if abs(error_total) > profile.invoice_tax_tolerance_minor * RATE_SCALE:
        words = f"the lines' tax errors add up to more than {profile.invoice_tax_tolerance_minor}"
        faults.add("lines", Rule.TAX_TOLERANCE_INVOICE, words)
    net_total, tax_total, gross_total = amounts.net_total, amounts.tax_total, amounts.gross_total
    if gross_total > AMOUNT_MINOR_MAX:
        faults.add("lines", Rule.AMOUNT_RANGE, f"the total must be at most {AMOUNT_MINOR_MAX}")
    if invoice.net_total_minor != net_total and invoice.HasField("net_total_minor"):
        _total_fault("net_total_minor", net_total, faults)
    if invoice.tax_total_minor != tax_total and invoice.HasField("tax_total_minor"):
        _total_fault("tax_total_minor", tax_total, faults)
    if invoice.gross_total_minor != gross_total and invoice.HasField("gross_total_minor"):
        _total_fault("gross_total_minor", gross_total, faults)


def _total_fault(field: str, computed: int, faults: Faults) -> None:
    faults.add(field, Rule.TOTAL_DISAGREES, f"is not the sum of the lines, {computed}")

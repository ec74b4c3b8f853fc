"""The rules of profile cn: each broken rule is named with its field, and the server's arithmetic is right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billow.types.v1.invoice_pb2 import (
    INVOICE_KIND_SPECIAL,
    LINE_TYPE_DISCOUNT,
    LINE_TYPE_DISCOUNTED,
    ZERO_RATE_REASON_EXEMPT,
    Invoice,
)
from core import limits
from core.domain.invoice import InvoiceAmounts
from core.domain.profile import CN
from core.domain.rules import Faults, Rule, check
from tests.support.invoices import GOODS_CODE, good_invoice, tax_id


def faults_of(invoice: Invoice) -> list[tuple[str, str]]:
    found = check(invoice, CN)
    assert isinstance(found, Faults), "the invoice was accepted"
    return [(fault.field, fault.rule) for fault in found]


def amounts_of(invoice: Invoice) -> InvoiceAmounts:
    amounts = check(invoice, CN)
    assert isinstance(amounts, InvoiceAmounts), list(amounts)
    return amounts


def discounted(amount: int, discount: int) -> Invoice:
    invoice = good_invoice(0)
    invoice.lines.add(
        type=LINE_TYPE_DISCOUNTED, name="chair", goods_code=GOODS_CODE, amount_minor=amount, tax_rate_bp=1300
    )
    invoice.lines.add(
        type=LINE_TYPE_DISCOUNT, name="chair", goods_code=GOODS_CODE, amount_minor=discount, tax_rate_bp=1300
    )
    return invoice


def spoil(change: Callable[[Invoice], object]) -> Invoice:
    invoice = good_invoice()
    change(invoice)
    return invoice


def line_set(**fields: object) -> Callable[[Invoice], None]:
    def change(invoice: Invoice) -> None:
        for name, value in fields.items():
            if value is None:
                invoice.lines[1].ClearField(name)  # type: ignore[arg-type]
            else:
                setattr(invoice.lines[1], name, value)

    return change


def head_set(path: str, value: object) -> Callable[[Invoice], None]:
    def change(invoice: Invoice) -> None:
        *parents, name = path.split(".")
        target: object = invoice
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, name, value)

    return change


WRONG_CHECK = tax_id(7)[:17] + ("0" if tax_id(7)[17] != "0" else "1")

BROKEN = [
    (head_set("kind", 0), "kind", Rule.KIND_REQUIRED),
    (head_set("kind", 9), "kind", Rule.KIND_REQUIRED),
    (head_set("currency", "EUR"), "currency", Rule.CURRENCY),
    (head_set("buyer.name", ""), "buyer.name", Rule.REQUIRED),
    (head_set("buyer.name", "甲" * 101), "buyer.name", Rule.TOO_LONG),
    (head_set("buyer.address", "a" * 101), "buyer.address", Rule.TOO_LONG),
    (head_set("buyer.phone", "1" * 41), "buyer.phone", Rule.TOO_LONG),
    (head_set("buyer.bank_name", "b" * 101), "buyer.bank_name", Rule.TOO_LONG),
    (head_set("buyer.bank_account", "1" * 51), "buyer.bank_account", Rule.TOO_LONG),
    (head_set("buyer.tax_id", WRONG_CHECK), "buyer.tax_id", Rule.TAX_ID_CHECK_CHARACTER),
    (head_set("buyer.tax_id", "123"), "buyer.tax_id", Rule.TAX_ID_FORM),
    (head_set("buyer.tax_id", tax_id(7)[:17] + "\n"), "buyer.tax_id", Rule.TAX_ID_FORM),
    (head_set("remark", "长" * 201), "remark", Rule.TOO_LONG),
    (head_set("drawer", "x" * 21), "drawer", Rule.TOO_LONG),
    (head_set("net_total_minor", 30_001), "net_total_minor", Rule.TOTAL_DISAGREES),
    (head_set("tax_total_minor", 0), "tax_total_minor", Rule.TOTAL_DISAGREES),
    (head_set("gross_total_minor", 33_901), "gross_total_minor", Rule.TOTAL_DISAGREES),
    (line_set(name=""), "lines[1].name", Rule.REQUIRED),
    (line_set(name="n" * 91), "lines[1].name", Rule.TOO_LONG),
    (line_set(category="c" * 41), "lines[1].category", Rule.TOO_LONG),
    (line_set(specification="s" * 41), "lines[1].specification", Rule.TOO_LONG),
    (line_set(unit="u" * 21), "lines[1].unit", Rule.TOO_LONG),
    (line_set(goods_code=""), "lines[1].goods_code", Rule.GOODS_CODE_FORM),
    (line_set(goods_code="1" * 20), "lines[1].goods_code", Rule.GOODS_CODE_FORM),
    (line_set(goods_code="１２３"), "lines[1].goods_code", Rule.GOODS_CODE_FORM),
    (line_set(type=4), "lines[1].type", Rule.UNKNOWN_VALUE),
    (line_set(zero_rate_reason=9, tax_rate_bp=0, tax_minor=0), "lines[1].zero_rate_reason", Rule.UNKNOWN_VALUE),
    (line_set(quantity=None), "lines[1].quantity", Rule.QUANTITY_AND_PRICE),
    (line_set(unit_price=None), "lines[1].unit_price", Rule.QUANTITY_AND_PRICE),
    (line_set(quantity="0"), "lines[1].quantity", Rule.QUANTITY_POSITIVE),
    (line_set(quantity="-2"), "lines[1].quantity", Rule.QUANTITY_POSITIVE),
    (line_set(unit_price="0.00"), "lines[1].unit_price", Rule.PRICE_POSITIVE),
    (line_set(quantity="1e2"), "lines[1].quantity", Rule.DECIMAL_FORM),
    (line_set(quantity="NaN"), "lines[1].quantity", Rule.DECIMAL_FORM),
    (line_set(quantity=" 2"), "lines[1].quantity", Rule.DECIMAL_FORM),
    (line_set(quantity="２"), "lines[1].quantity", Rule.DECIMAL_FORM),
    (line_set(unit_price="50.00000000000001"), "lines[1].unit_price", Rule.DECIMAL_FORM),
    (line_set(quantity=None, unit_price=None, amount_minor=None), "lines[1].amount_minor", Rule.AMOUNT_REQUIRED),
    (line_set(quantity=None, unit_price=None, amount_minor=0), "lines[1].amount_minor", Rule.AMOUNT_POSITIVE),
    (line_set(quantity=None, unit_price=None, amount_minor=-5), "lines[1].amount_minor", Rule.AMOUNT_POSITIVE),
    (line_set(quantity=None, unit_price=None, amount_minor=2**63 - 1), "lines[1].amount_minor", Rule.AMOUNT_RANGE),
    (line_set(quantity="9" * 17, unit_price="9" * 17, amount_minor=None), "lines[1].amount_minor", Rule.AMOUNT_RANGE),
    (line_set(amount_minor=10_002), "lines[1].amount_minor", Rule.AMOUNT_DISAGREES),
    (line_set(amount_minor=9_998), "lines[1].amount_minor", Rule.AMOUNT_DISAGREES),
    (line_set(tax_rate_bp=1700), "lines[1].tax_rate_bp", Rule.TAX_RATE),
    (line_set(tax_rate_bp=-1300), "lines[1].tax_rate_bp", Rule.TAX_RATE),
    (line_set(tax_rate_bp=0, tax_minor=0), "lines[1].zero_rate_reason", Rule.ZERO_RATE_REASON),
    (line_set(zero_rate_reason=ZERO_RATE_REASON_EXEMPT), "lines[1].zero_rate_reason", Rule.ZERO_RATE_REASON),
    (line_set(tax_minor=1_307), "lines[1].tax_minor", Rule.TAX_TOLERANCE_LINE),
    (line_set(tax_minor=1_293), "lines[1].tax_minor", Rule.TAX_TOLERANCE_LINE),
    (line_set(type=LINE_TYPE_DISCOUNTED), "lines[1].type", Rule.DISCOUNT_ORDER),
]


@pytest.mark.parametrize(("change", "field", "rule"), BROKEN, ids=[f"{field}-{rule}" for _, field, rule in BROKEN])
def test_a_broken_rule_is_named_with_its_field(change: Callable[[Invoice], None], field: str, rule: str) -> None:
    assert faults_of(spoil(change)) == [(field, rule)]


def test_every_rule_has_a_test() -> None:
    tested = {rule for _, _, rule in BROKEN}
    elsewhere = {
        Rule.LINES_COUNT,
        Rule.BUYER_TAX_ID_REQUIRED,
        Rule.TAX_TOLERANCE_INVOICE,
        Rule.DISCOUNT_SAME_ITEM,
        Rule.DISCOUNT_NO_QUANTITY,
        Rule.DISCOUNT_NEGATIVE,
        Rule.DISCOUNT_TOO_LARGE,
    }
    assert tested | elsewhere == set(Rule)


def test_a_good_invoice_passes() -> None:
    amounts = amounts_of(good_invoice())
    assert (amounts.net_total, amounts.tax_total, amounts.gross_total) == (30_000, 3_900, 33_900)


def test_all_faults_are_told_at_once() -> None:
    invoice = good_invoice()
    invoice.kind = 0  # type: ignore[assignment]
    invoice.lines[0].tax_rate_bp = 1700
    invoice.lines[2].name = ""
    assert faults_of(invoice) == [
        ("kind", Rule.KIND_REQUIRED),
        ("lines[0].tax_rate_bp", Rule.TAX_RATE),
        ("lines[2].name", Rule.REQUIRED),
    ]


@pytest.mark.parametrize("lines", [0, limits.LINES_MAX + 1])
def test_the_number_of_lines_is_bounded(lines: int) -> None:
    assert faults_of(good_invoice(lines)) == [("lines", Rule.LINES_COUNT)]


def test_the_most_lines_pass() -> None:
    assert amounts_of(good_invoice(limits.LINES_MAX)).gross_total == 11_300 * limits.LINES_MAX


def test_faults_are_bounded() -> None:
    invoice = good_invoice(limits.LINES_MAX)
    for line in invoice.lines:
        line.name = ""
    assert len(faults_of(invoice)) == limits.VIOLATIONS_MAX


def test_a_special_invoice_needs_the_buyers_tax_id() -> None:
    invoice = good_invoice(kind=INVOICE_KIND_SPECIAL)
    invoice.buyer.tax_id = ""
    assert faults_of(invoice) == [("buyer.tax_id", Rule.BUYER_TAX_ID_REQUIRED)]


def test_a_person_needs_none_on_a_general_invoice() -> None:
    invoice = good_invoice()
    invoice.buyer.tax_id = ""
    assert amounts_of(invoice).gross_total == 33_900


@pytest.mark.parametrize("length", [15, 17, 20])
def test_ids_of_other_lengths_have_no_check_character(length: int) -> None:
    invoice = good_invoice()
    invoice.buyer.tax_id = "1" * length
    assert amounts_of(invoice).gross_total == 33_900


def test_absent_amounts_are_computed() -> None:
    invoice = good_invoice()
    for line in invoice.lines:
        line.ClearField("amount_minor")
        line.ClearField("tax_minor")
    invoice.lines[0].quantity, invoice.lines[0].unit_price = "3", "0.3333333333333"
    amounts = amounts_of(invoice)
    assert (amounts.lines[0].amount, amounts.lines[0].tax) == (100, 13)
    assert amounts.gross_total == 113 + 2 * 11_300


@pytest.mark.parametrize(("gross", "tax", "net"), [(11_300, 1_300, 10_000), (100, 12, 88), (1, 0, 1)])
def test_prices_may_include_tax(gross: int, tax: int, net: int) -> None:
    invoice = Invoice(kind=2, prices_include_tax=True)  # type: ignore[arg-type]
    invoice.buyer.name = "buyer"
    invoice.lines.add(name="tea", goods_code="1", amount_minor=gross, tax_rate_bp=1300)
    (line,) = amounts_of(invoice).lines
    assert (line.amount, line.tax, line.net) == (gross, tax, net)


def test_rounding_is_half_away_from_zero() -> None:
    invoice = discounted(1_000, -50)
    amounts = amounts_of(invoice)
    assert amounts.lines[1].tax == -7  # -6.5
    invoice.lines[0].amount_minor = 50
    assert amounts_of(invoice).lines[0].tax == 7  # 6.5


def test_a_tax_within_six_cents_is_kept() -> None:
    invoice = good_invoice()
    invoice.lines[0].tax_minor = 1_306
    assert amounts_of(invoice).tax_total == 3_906


def test_small_errors_must_not_add_up() -> None:
    invoice = good_invoice(22)
    for line in invoice.lines:
        line.tax_minor = 1_306
    assert faults_of(invoice) == [("lines", Rule.TAX_TOLERANCE_INVOICE)]
    invoice.lines[0].tax_minor = 1_294
    assert amounts_of(invoice).tax_total == 21 * 1_306 + 1_294


def test_a_discount_follows_its_line() -> None:
    amounts = amounts_of(discounted(10_000, -10_000))
    assert (amounts.net_total, amounts.gross_total) == (0, 0)


def test_a_discount_may_not_exceed_its_line() -> None:
    assert faults_of(discounted(10_000, -10_001)) == [("lines[1].amount_minor", Rule.DISCOUNT_TOO_LARGE)]


def test_a_discount_is_negative() -> None:
    assert faults_of(discounted(10_000, 1)) == [("lines[1].amount_minor", Rule.DISCOUNT_NEGATIVE)]


@pytest.mark.parametrize(("name", "rate"), [("table", 1300), ("chair", 900)])
def test_a_discount_is_of_the_same_item(name: str, rate: int) -> None:
    invoice = discounted(10_000, -1_000)
    invoice.lines[1].name, invoice.lines[1].tax_rate_bp = name, rate
    assert faults_of(invoice) == [("lines[1]", Rule.DISCOUNT_SAME_ITEM)]


def test_a_discount_has_no_quantity() -> None:
    invoice = discounted(10_000, -1_000)
    invoice.lines[1].quantity = "1"
    assert faults_of(invoice) == [("lines[1].quantity", Rule.DISCOUNT_NO_QUANTITY)]


def test_a_discount_needs_its_line_at_once() -> None:
    invoice = discounted(10_000, -1_000)
    invoice.lines.insert(1, good_invoice(1).lines[0])
    assert faults_of(invoice) == [("lines[0].type", Rule.DISCOUNT_ORDER), ("lines[2].type", Rule.DISCOUNT_ORDER)]


@given(
    quantity=st.decimals(min_value="0.0001", max_value="99999", places=4),
    price=st.decimals(min_value="0.01", max_value="99999", places=2),
    rate=st.sampled_from(sorted(CN.rates_bp)),
    gross=st.booleans(),
)
def test_what_the_server_computes_it_also_accepts(quantity: object, price: object, rate: int, gross: bool) -> None:
    invoice = Invoice(kind=2, prices_include_tax=gross)  # type: ignore[arg-type]
    invoice.buyer.name = "buyer"
    line = invoice.lines.add(
        name="x", goods_code="1", quantity=f"{quantity:f}", unit_price=f"{price:f}", tax_rate_bp=rate
    )
    if rate == 0:
        line.zero_rate_reason = ZERO_RATE_REASON_EXEMPT
    amounts = check(invoice, CN)
    if not isinstance(amounts, InvoiceAmounts):
        assert [fault.rule for fault in amounts] == [Rule.AMOUNT_POSITIVE]  # rounds to nothing
        return
    line.amount_minor, line.tax_minor = amounts.lines[0].amount, amounts.lines[0].tax
    invoice.net_total_minor, invoice.tax_total_minor = amounts.net_total, amounts.tax_total
    invoice.gross_total_minor = amounts.gross_total
    assert amounts_of(invoice) == amounts

"""UBL: valid by the schemas of OASIS, and by the rules of EN 16931 that can be had as a package (docs/adr/0017)."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

import peppol
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from billow.types.v1 import invoice_pb2
from core.documents.renderer import NotRenderable
from core.documents.ubl import NAMESPACES, UblRenderer
from tests.support.golden import agrees
from tests.support.issued_invoices import issued_invoice, mixed_invoice, totals

CAC, CBC = f"{{{NAMESPACES}:CommonAggregateComponents-2}}", f"{{{NAMESPACES}:CommonBasicComponents-2}}"
SAMPLES: dict[str, Callable[[], invoice_pb2.Invoice]] = {
    "blue": issued_invoice,
    "red": lambda: issued_invoice(red=True),
    "mixed": mixed_invoice,
}
PEPPOL_ONLY = ("BT-23",)  # Peppol wants a business process named; EN 16931 does not


def faults(document: bytes) -> list[str]:
    """What schema and rules have against a document."""
    _, schema = peppol.validate_xsd(document)
    found = [str(finding) for finding in peppol.check_rules(document)]
    return [*schema, *(text for text in found if not any(term in text for term in PEPPOL_ONLY))]


def sample(serial: int) -> invoice_pb2.Invoice:
    """One of many: `serial` lines, an export, a line without a price, every third red."""
    invoice = issued_invoice(serial, serial=serial, red=serial % 3 == 0)
    invoice.lines[0].zero_rate_reason = invoice_pb2.ZERO_RATE_REASON_EXPORT
    line = invoice.lines[0]
    line.tax_rate_bp, line.tax_minor, line.gross_minor = 0, 0, line.net_minor
    invoice.lines[-1].quantity, invoice.lines[-1].unit_price = "3", ""
    totals(invoice)
    return invoice


def amounts(root: etree._Element, path: str) -> list[Decimal]:
    steps = "/".join((CBC if step[-1] == "!" else CAC) + step.rstrip("!") for step in path.split("/"))
    return [Decimal(str(node.text)) for node in root.findall(steps)]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_bytes_are_the_golden_ones(name: str, request: pytest.FixtureRequest) -> None:
    assert agrees(f"{name}.ubl.xml", UblRenderer().render(SAMPLES[name]()), request.config)


@pytest.mark.parametrize("name", SAMPLES)
def test_schema_and_rules_have_nothing_against_it(name: str) -> None:
    assert faults(UblRenderer().render(SAMPLES[name]())) == []


def test_twenty_samples_are_valid() -> None:
    for serial in range(1, 21):
        assert faults(UblRenderer().render(sample(serial))) == []


def test_the_judge_sees_faults() -> None:
    good = UblRenderer().render(issued_invoice())
    assert faults(good.replace(b"<cbc:ID>26117", b"<cbc:Id>26117"))
    assert faults(re.sub(rb"(<cbc:PayableAmount[^>]*>)339.00", rb"\g<1>340.00", good))


@given(st.lists(st.tuples(st.integers(1, 10**9), st.sampled_from([0, 150, 600, 1300])), min_size=1, max_size=6))
@settings(deadline=None, max_examples=50)
def test_the_sums_agree(lines: list[tuple[int, int]]) -> None:
    invoice = issued_invoice(len(lines))
    for line, (net, rate_bp) in zip(invoice.lines, lines, strict=True):
        tax = int((Decimal(net) * rate_bp / 10_000).quantize(Decimal(1), ROUND_HALF_UP))
        line.quantity, line.tax_rate_bp = "7", rate_bp
        line.amount_minor = line.net_minor = net
        line.tax_minor, line.gross_minor = tax, net + tax
    totals(invoice)
    root = etree.fromstring(UblRenderer().render(invoice))
    net_total = amounts(root, "LegalMonetaryTotal/LineExtensionAmount!")[0]
    assert sum(amounts(root, "InvoiceLine/LineExtensionAmount!")) == net_total  # BR-CO-10
    tax_total = amounts(root, "TaxTotal/TaxAmount!")[0]
    assert sum(amounts(root, "TaxTotal/TaxSubtotal/TaxAmount!")) == tax_total  # BR-CO-14
    assert amounts(root, "LegalMonetaryTotal/TaxInclusiveAmount!")[0] == net_total + tax_total  # BR-CO-15
    prices = amounts(root, "InvoiceLine/Price/PriceAmount!")
    for price, line_net in zip(prices, amounts(root, "InvoiceLine/LineExtensionAmount!"), strict=True):
        assert abs(price * 7 - line_net) < Decimal("0.01")


def test_a_red_invoice_is_a_credit_note() -> None:
    root = etree.fromstring(UblRenderer().render(issued_invoice(red=True)))
    assert etree.QName(root).localname == "CreditNote"
    assert amounts(root, "LegalMonetaryTotal/PayableAmount!") == [Decimal("339.00")]
    reference = f"{CAC}BillingReference/{CAC}InvoiceDocumentReference/{CBC}ID"
    assert root.findtext(reference) == "26117000000099999999"


def test_what_the_norm_forbids_is_refused() -> None:
    invoice = issued_invoice(2)
    invoice.lines[0].tax_rate_bp, invoice.lines[0].tax_minor = 0, 0
    invoice.lines[0].zero_rate_reason = invoice_pb2.ZERO_RATE_REASON_NOT_TAXABLE
    with pytest.raises(NotRenderable, match="BR-O-11"):
        UblRenderer().render(invoice)
    invoice = issued_invoice(30)
    for line in invoice.lines:
        line.tax_minor += 5
    with pytest.raises(NotRenderable, match="differs"):
        UblRenderer().render(invoice)

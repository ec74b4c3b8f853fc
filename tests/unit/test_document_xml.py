"""XML of the `cn` profile: what is written is read back, by Billow's reader and by an independent one."""

from __future__ import annotations

import contextlib
import io
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from billow.types.v1 import invoice_pb2
from core.documents import hostile_xml
from core.documents.read_invoice import Refusal, Unreadable
from core.documents.read_xml import read_cn_xml
from core.documents.xml_cn import CnXmlRenderer, cn_xml, net_price, rate_text
from core.limits import XML_BYTES_MAX
from tests.support.golden import agrees
from tests.support.issued_invoices import issued_invoice, mixed_invoice, totals, values

SAMPLES = {"blue": issued_invoice, "red": lambda: issued_invoice(red=True), "mixed": mixed_invoice}
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_bytes_are_the_golden_ones(name: str, request: pytest.FixtureRequest) -> None:
    assert agrees(f"{name}.xml", CnXmlRenderer().render(SAMPLES[name]()), request.config)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_written_invoice_is_read_back(name: str) -> None:
    invoice = SAMPLES[name]()
    assert values(read_cn_xml(cn_xml(invoice))) == values(invoice)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_bytes_are_canonical_and_an_independent_parser_reads_them(name: str) -> None:
    invoice = SAMPLES[name]()
    data = cn_xml(invoice)
    assert etree.tostring(etree.fromstring(data), method="c14n") == data
    root = ET.parse(io.BytesIO(data)).getroot()
    assert root.findtext("TaxSupervisionInfo/InvoiceNumber") == invoice.number
    assert len(root.findall("EInvoiceData/IssuItemInformation")) == len(invoice.lines)
    assert root.findtext("EInvoiceData/IssuItemInformation/ItemName") == "*电子产品*widget 0"


def test_a_red_invoice_names_the_blue_one() -> None:
    root = ET.fromstring(cn_xml(issued_invoice(red=True)))
    path = "EInvoiceData/SpecificInformation/RedEInvoice/OriginalInvoiceNumber"
    assert root.findtext(path) == "26117000000099999999"


def test_what_xml_cannot_hold_is_shown_as_replaced() -> None:
    root = ET.fromstring(cn_xml(mixed_invoice()))
    assert root.findtext("EInvoiceData/AdditionalInformation/Remark") == (
        "a <b> & \"c\" 'd' ]]> \\ \ufffd\ufffd\r\n\t𠮷"
    )


@given(TEXT, TEXT, TEXT, TEXT, st.booleans(), st.sampled_from([0, 100, 150, 600, 1300]), st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_any_text_survives(
    name: str, category: str, remark: str, price: str, with_tax: bool, rate_bp: int, reason: int
) -> None:
    invoice = issued_invoice(1)
    invoice.prices_include_tax = with_tax
    invoice.remark = invoice.seller.name = invoice.buyer.tax_id = invoice.drawer = remark
    line = invoice.lines[0]
    line.name, line.category, line.unit_price, line.unit = name, category, price, remark
    line.tax_rate_bp, line.zero_rate_reason = rate_bp, invoice_pb2.ZeroRateReason.ValueType(reason)
    line.amount_minor = line.gross_minor if with_tax else line.net_minor
    assert values(read_cn_xml(cn_xml(invoice))) == values(invoice)


@given(st.lists(st.tuples(st.integers(-(10**11), 10**11), st.integers(-(10**11), 10**11)), min_size=1, max_size=5))
@settings(deadline=None)
def test_any_amount_survives(amounts: list[tuple[int, int]]) -> None:
    invoice = issued_invoice(len(amounts))
    for line, (net, tax) in zip(invoice.lines, amounts, strict=True):
        line.amount_minor = line.net_minor = net
        line.tax_minor, line.gross_minor = tax, net + tax
    totals(invoice)
    assert values(read_cn_xml(cn_xml(invoice))) == values(invoice)


def test_prices_with_tax_are_shown_without() -> None:
    assert net_price("113", 1300) == "100"
    assert net_price("1.00", 300) == "0.9708737864078"
    assert [rate_text(rate, 0) for rate in (1300, 150, 0, 10_000)] == ["0.13", "0.015", "0", "1"]


BLUE = cn_xml(issued_invoice()).decode()


@pytest.mark.parametrize(
    ("document", "refusal"),
    [
        (b"", Refusal.MALFORMED),
        (b"<EInvoice>", Refusal.MALFORMED),
        (b"<other/>", Refusal.NOT_AN_INVOICE),
        (b"<EInvoice/>", Refusal.NOT_AN_INVOICE),
        (b"\xff\xfe<\x00", Refusal.MALFORMED),
        (b'<?xml version="1.0" encoding="utf-7"?><EInvoice/>', Refusal.FORBIDDEN),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><EInvoice>&x;</EInvoice>', Refusal.FORBIDDEN),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><EInvoice/>', Refusal.FORBIDDEN),
        ('<?xml version="1.0" encoding="GBK"?><!DOCTYPE 发票><EInvoice/>'.encode("gbk"), Refusal.FORBIDDEN),
        (b"<a>" * 1_000 + b"</a>" * 1_000, Refusal.MALFORMED),
        (b"<EInvoice>" + b"<a/>" * 200_001 + b"</EInvoice>", Refusal.TOO_LARGE),
        (b"<EInvoice " + b" ".join(b'a%d=""' % i for i in range(400_001)) + b"/>", Refusal.TOO_LARGE),
        (b" " * (XML_BYTES_MAX + 1), Refusal.TOO_LARGE),
        (b"<EInvoice>&undefined;</EInvoice>", Refusal.MALFORMED),
    ],
    ids=range(14),
)
def test_hostile_documents_are_refused(document: bytes, refusal: Refusal) -> None:
    with pytest.raises(Unreadable) as refused:
        read_cn_xml(document)
    assert refused.value.refusal is refusal


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<InvoiceNumber>2", "<InvoiceNumber>3"),
        ("<Remark>", '<Remark b:exact="paid">'),
        ("<ItemName>*电子产品*", '<ItemName b:category="food">*电子产品*'),
        ('b:time="1790000000.', 'b:time="1690000000.'),
        ('b:time="1790000000.', 'b:time="99999999999.'),
        ("<Remark>", "<Remark>one</Remark><Remark>"),
        ("<Amount>", "<Amount>1.00</Amount><Amount>"),
        ("InChinese>叁佰", "InChinese>玖佰"),
        ("InChinese>叁佰", "InChinese>" + "壹万亿" * 100_000),
        ("<UnPrice>", '<UnPrice b:unitPrice="1.00">'),
        ("<UnPrice>", f'<UnPrice b:unitPrice="{"1" * 1_000_000}">'),
    ],
)
def test_what_programs_read_is_what_people_see(old: str, new: str) -> None:
    assert old in BLUE
    with pytest.raises(Unreadable) as refused:
        read_cn_xml(BLUE.replace(old, new, 1).encode())
    assert refused.value.refusal is Refusal.INCONSISTENT


def test_other_peoples_documents_are_read() -> None:
    plain = BLUE.replace(' xmlns:b="urn:billow:einvoice:1"', "")
    plain = plain.replace(' b:currency="CNY"', "").replace(' b:time="1790000000.123456000"', "")
    plain = plain.replace("<TaxRate>0.13<", "<TaxRate>13%<", 1).replace("<TaxRate>0.13<", "<TaxRate>免税<", 1)
    data = ('<?xml version="1.0" encoding="GBK"?>\n<!-- 注 -->' + plain).encode("gbk")
    found = read_cn_xml(data)
    assert found.buyer.name == "示例买方有限公司"
    assert [(line.tax_rate_bp, line.zero_rate_reason) for line in found.lines] == [(1300, 0), (0, 2), (1300, 0)]
    assert found.issue_time.seconds == 1_790_000_000


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_document_is_read_or_refused(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(BLUE) - 1))
    piece = data.draw(st.one_of(TEXT, st.sampled_from(["<", ">", "&", "</EInvoice>", "<Remark/>", '"', "]]>"])))
    damaged = BLUE[:position] + piece + BLUE[position + data.draw(st.integers(0, 30)) :]
    with contextlib.suppress(Unreadable):  # and nothing else
        assert read_cn_xml(damaged.encode()).lines


def test_the_largest_document_is_parsed() -> None:
    data = b"<EInvoice>" + b"<a/>" * 199_000 + b"x" * 7_000_000 + b"</EInvoice>"
    assert len(hostile_xml.parse(data)) == 199_000

"""PDFs: what an independent reader finds in them, the same bytes always, nothing outside the page."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billow.types.v1 import invoice_pb2
from core.documents import pdf_layout
from core.documents.face import face_of, price_without_tax, rate_text
from core.documents.pdf import PDFRenderer
from core.documents.renderer import DocumentFormat
from core.domain.issued_invoice import IssuedInvoiceView
from tests.support.documents import BLUE_NUMBER, FONT, NUMBER, issued_invoice
from tests.support.golden import agrees

ROOT = Path(__file__).resolve().parents[2]


class Attachment:
    """A renderer whose document is the invoice's number."""

    format = DocumentFormat(name="xml", version=1, media_type="application/xml", extension="xml")

    def render(self, invoice: IssuedInvoiceView) -> bytes:
        return invoice.number.encode()


@pytest.fixture(scope="module")
def renderer() -> PDFRenderer:
    return PDFRenderer(font=FONT, attachment=Attachment())


def opened(document: bytes) -> Any:  # its objects are of any type
    return pypdf.PdfReader(io.BytesIO(document), strict=True)


def text_of(reader: Any) -> str:
    return "\n".join(page.extract_text() for page in reader.pages)


@pytest.mark.parametrize(("lines", "pages"), [(1, 1), (40, 2), (300, 8)])
def test_every_line_and_every_page(renderer: PDFRenderer, lines: int, pages: int) -> None:
    invoice = issued_invoice(lines)
    reader = opened(renderer.render(invoice))
    assert len(reader.pages) == pages
    text = text_of(reader)
    assert text.count("项目名称") == text.count("电子发票（普通发票）") == text.count(NUMBER) == pages
    assert text.count("*电子产品*") == lines
    assert ("共 8 页 第 3 页" in text) == (pages == 8)
    face = face_of(invoice)
    for part in (face.gross_capital, face.gross_total, face.net_total, invoice.seller.name, invoice.buyer.tax_id):
        assert part in text
    assert text.count("合    计") == 1


def test_red_invoices_say_so_and_name_the_blue_one(renderer: PDFRenderer) -> None:
    text = text_of(opened(renderer.render(issued_invoice(2, red=True))))
    for part in ("红字", "（负数）贰佰贰拾陆圆整", "¥-226.00", f"被红冲蓝字数电票号码：{BLUE_NUMBER}"):
        assert part in text
    assert "红字" not in text_of(opened(renderer.render(issued_invoice(2))))


def test_fonts_are_embedded_subsets(renderer: PDFRenderer) -> None:
    document = renderer.render(issued_invoice(3))
    fonts = [font.get_object() for page in opened(document).pages for font in page["/Resources"]["/Font"].values()]
    assert fonts
    for font in fonts:
        assert "+" in font["/BaseFont"]
        assert "/FontFile2" in font["/FontDescriptor"]
    assert len(document) < 60_000  # the whole font is 5 MB


def test_the_attachment_comes_out_again(renderer: PDFRenderer) -> None:
    reader = opened(renderer.render(issued_invoice()))
    assert {name: list(data) for name, data in reader.attachments.items()} == {f"{NUMBER}.xml": [NUMBER.encode()]}
    assert reader.trailer["/Root"]["/AF"][0]["/AFRelationship"] == "/Source"


def test_the_same_bytes_in_every_process(renderer: PDFRenderer) -> None:
    renderer.render(issued_invoice(9))  # what came before must not matter
    ours = renderer.render(issued_invoice(5))
    code = (
        "import sys; from pathlib import Path; from core.documents.pdf import PDFRenderer\n"
        "from tests.unit.test_pdf import Attachment; from tests.support.documents import issued_invoice\n"
        f"renderer = PDFRenderer(font=Path({str(FONT)!r}), attachment=Attachment())\n"
        "sys.stdout.buffer.write(renderer.render(issued_invoice(5)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60)
    assert done.stdout == ours, done.stderr.decode()
    assert opened(ours).metadata.creation_date.isoformat() == "2026-11-18T19:06:40+08:00"


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 120),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=90),
    st.text(max_size=200),
)
def test_whatever_the_texts_every_row_stands_on_a_page(lines: int, name: str, remark: str) -> None:
    invoice = issued_invoice(lines)
    invoice.lines[0].name, invoice.remark = name, remark.encode("utf-8", "replace").decode()
    face = face_of(invoice)
    placed = pdf_layout.plan(face, lambda text: sum(8 if ord(character) > 0x2E7F else 4 for character in text))
    rows = [row for page in placed.pages for row in page]
    assert [row.cells[5] for row in rows] == [(line.amount,) for line in face.lines]
    for index, page in enumerate(placed.pages):
        taken = 2 * pdf_layout.EDGE + pdf_layout.TITLE_HEIGHT + pdf_layout.HEAD_HEIGHT + pdf_layout.SUM_HEIGHT
        taken += sum(row.height for row in page)
        taken += placed.party_height if index == 0 else 0
        if index == len(placed.pages) - 1:
            taken += pdf_layout.GROSS_HEIGHT + placed.remark_height + pdf_layout.DRAWER_HEIGHT
        assert taken <= placed.page_height + 0.01


@given(st.text(max_size=120), st.integers(20, 300))
def test_wrapping_loses_nothing_but_blanks(text: str, width: int) -> None:
    lines = pdf_layout.wrapped(text, width, lambda part: 8 * len(part))
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(8 * len(line) <= max(width, 8) for line in lines)


def test_telephone_numbers_stay_whole() -> None:
    for text, characters, lines in (
        ("北京市示例大厦二十层 010-12345678", 15, ("北京市示例大厦二十层", "010-12345678")),
        ("北京市示例大厦二十层 010-12345678", 14, ("北京市示例大厦二十层", "010-12345678")),
        ("and a well-known", 14, ("and a well-", "known")),
        ("a -- b -1-2-3--4", 15, ("a -- b -1-2-3--", "4")),
        ("-12345678901234", 14, ("-1234567890123", "4")),
    ):
        assert pdf_layout.wrapped(text, 8 * characters, lambda part: 8 * len(part)) == lines


@pytest.mark.parametrize(
    ("net_minor", "quantity", "price"),
    [(10_000, "2", "50.00"), (8_850, "2", "44.25"), (10_000, "3", "33.3333333333333"), (-10_000, "-2", "50.00")],
)
def test_prices_on_the_face_are_without_tax(net_minor: int, quantity: str, price: str) -> None:
    assert price_without_tax(net_minor, quantity) == price


@pytest.mark.parametrize(("rate_bp", "text"), [(1300, "13%"), (150, "1.5%"), (0, "0%"), (1000, "10%")])
def test_rates(rate_bp: int, text: str) -> None:
    assert rate_text(rate_bp) == text


def test_untaxed_lines_show_why() -> None:
    invoice = issued_invoice()
    line = invoice.lines[0]
    line.tax_rate_bp, line.zero_rate_reason, line.tax_minor = 0, invoice_pb2.ZERO_RATE_REASON_EXEMPT, 0
    face = face_of(invoice)
    assert (face.lines[0].rate, face.lines[0].tax, face.tax_total) == ("免税", "***", "***")


@pytest.mark.parametrize(("name", "lines", "red"), [("blue", 8, False), ("long", 60, False), ("red", 2, True)])
def test_faces_are_as_they_were(
    renderer: PDFRenderer, name: str, lines: int, red: bool, request: pytest.FixtureRequest
) -> None:
    pages = opened(renderer.render(issued_invoice(lines, red=red))).pages
    text = "\n--- page ---\n".join(page.extract_text() for page in pages) + "\n"
    assert agrees(f"{name}.pdf.txt", text.encode(), request.config)

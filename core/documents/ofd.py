"""OFD (GB/T 33190): the same face as the PDF's, in the format that Chinese archives ask for.

A ZIP of XML parts. `Doc_0/Attachs/original_invoice.xml` is the XML of the profile cn; programs read that, people read
the pages. The font is named, not embedded: Song (宋体) or whatever the reader has in its place.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Any, Final, cast

from core.documents.face import FaceTexts, face_of
from core.documents.formats import OFD
from core.documents.ofd_canvas import FONT_ID, OfdCanvas, measure
from core.documents.pdf_layout import MM, PAGE_WIDTH, plan
from core.documents.pdf_page import PagePainter
from core.documents.renderer import DocumentFormat, Renderer
from core.documents.xml_text import content
from core.domain.decimals import minor_text
from core.domain.issued_invoice import IssuedInvoiceView

NAMESPACE: Final = "http://www.ofdspec.org/2016"
XML_NAME: Final = "original_invoice.xml"
ATTACHMENT_ID: Final = 3
EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP can say

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


class OfdRenderer:
    """Writes OFD; 8 ms for three lines. `attachment` writes the XML of the profile cn."""

    def __init__(self, *, attachment: Renderer) -> None:
        self._attachment = attachment

    @property
    def format(self) -> DocumentFormat:
        """OFD."""
        return OFD

    def render(self, invoice: IssuedInvoiceView) -> bytes:
        """Returns the package; the same bytes as long as zlib is the same."""
        face = face_of(invoice)
        placed = plan(face, measure)
        canvas = OfdCanvas(page_height=placed.page_height)
        painter = PagePainter(canvas=cast("Any", canvas), font="", measure=measure, face=face, plan=placed)
        painter.begin()
        painter.draw()
        size = f"{PAGE_WIDTH / MM:.3f} {placed.page_height / MM:.3f}"
        xml = self._attachment.render(invoice)
        parts = {
            "OFD.xml": _ofd(invoice, face),
            "Doc_0/Document.xml": _document(canvas, size),
            "Doc_0/PublicRes.xml": _resources(),
            "Doc_0/Attachs/Attachments.xml": _attachments(len(xml)),
            f"Doc_0/Attachs/{XML_NAME}": xml,
        }
        for index, objects in enumerate(canvas.pages):
            parts[_page_path(index)] = _page(objects, size, canvas.take_id())
        return _package(parts)


def _ofd(invoice: IssuedInvoiceView, face: FaceTexts) -> bytes:
    data = {
        "发票号码": invoice.number,
        "开票日期": face.issue_date,
        "合计金额": minor_text(invoice.net_total_minor),
        "合计税额": minor_text(invoice.tax_total_minor),
        "购买方纳税人识别号": invoice.buyer.tax_id,
        "销售方纳税人识别号": invoice.seller.tax_id,
    }
    custom = "".join(f'<ofd:CustomData Name="{name}">{content(text)}</ofd:CustomData>' for name, text in data.items())
    return _part(
        "OFD",
        f"<ofd:DocBody><ofd:DocInfo><ofd:DocID>{hashlib.sha256(invoice.number.encode()).hexdigest()[:32]}</ofd:DocID>"
        f"<ofd:CreationDate>{face.issued_at:%Y-%m-%d}</ofd:CreationDate><ofd:Creator>Billow</ofd:Creator>"
        f"<ofd:CustomDatas>{custom}</ofd:CustomDatas></ofd:DocInfo>"
        "<ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody>",
        ' Version="1.1" DocType="OFD"',
    )


def _document(canvas: OfdCanvas, size: str) -> bytes:
    count = len(canvas.pages)
    pages = "".join(
        f'<ofd:Page ID="{canvas.take_id()}" BaseLoc="{_page_path(index).removeprefix("Doc_0/")}"/>'
        for index in range(count)
    )
    return _part(
        "Document",
        f"<ofd:CommonData><ofd:MaxUnitID>{canvas.last_id + count}</ofd:MaxUnitID>"
        f"<ofd:PageArea><ofd:PhysicalBox>0 0 {size}</ofd:PhysicalBox></ofd:PageArea>"
        "<ofd:PublicRes>PublicRes.xml</ofd:PublicRes></ofd:CommonData>"
        f"<ofd:Pages>{pages}</ofd:Pages><ofd:Attachments>Attachs/Attachments.xml</ofd:Attachments>",
    )


def _resources() -> bytes:
    return _part(
        "Res",
        f'<ofd:Fonts><ofd:Font ID="{FONT_ID}" FontName="宋体" FamilyName="宋体" Charset="unicode"/></ofd:Fonts>',
        ' BaseLoc="Res"',
    )


def _attachments(xml_bytes: int) -> bytes:
    return _part(
        "Attachments",
        f'<ofd:Attachment ID="{ATTACHMENT_ID}" Name="original_invoice" Format="xml" Size="{xml_bytes / 1024:.2f}"'
        f' Visible="false"><ofd:FileLoc>{XML_NAME}</ofd:FileLoc></ofd:Attachment>',
    )


def _page(objects: str, size: str, layer_id: int) -> bytes:
    return _part(
        "Page",
        f"<ofd:Area><ofd:PhysicalBox>0 0 {size}</ofd:PhysicalBox></ofd:Area>"
        f'<ofd:Content><ofd:Layer ID="{layer_id}" Type="Body">{objects}</ofd:Layer></ofd:Content>',
    )


def _page_path(index: int) -> str:
    return f"Doc_0/Pages/Page_{index}/Content.xml"


def _part(name: str, inside: str, attributes: str = "") -> bytes:
    return f'{_HEAD}<ofd:{name} xmlns:ofd="{NAMESPACE}"{attributes}>{inside}</ofd:{name}>'.encode()


def _package(parts: dict[str, bytes]) -> bytes:
    """Zips the parts in their order, without times."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        for name, data in parts.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            archive.writestr(info, data)
    return package.getvalue()

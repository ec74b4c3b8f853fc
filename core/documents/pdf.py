"""PDF: the face of an invoice as people know it, with its XML attached (docs/adr/0015)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from reportlab import rl_config
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from core.documents.face import face_of
from core.documents.formats import PDF
from core.documents.pdf_attachment import attach
from core.documents.pdf_layout import PAGE_WIDTH, TEXT_SIZE, plan
from core.documents.pdf_page import PagePainter
from core.documents.pdf_signature import PdfSignature
from core.documents.renderer import DocumentFormat, Renderer
from core.documents.signing_keys import Keys
from core.domain.issued_invoice import IssuedInvoiceView

FONT_NAME: Final = "BillowFace"


class PDFRenderer:
    """The Renderer of PDF. Holds the font, 0.3 s and 30 MB, which it reads at the first document.

    `font` is a TrueType file or collection that has the characters of GB 18030's common part; `attachment`, when
    given, renders what is attached to the document under its number. With `keys` documents are signed.
    """

    def __init__(self, *, font: Path, attachment: Renderer | None = None, keys: Keys | None = None) -> None:
        self._font = font
        self._attachment = attachment
        self._keys = keys
        self._widths: dict[str, float] = {}
        self._loaded = False

    @property
    def format(self) -> DocumentFormat:
        """PDF."""
        return PDF

    def render(self, invoice: IssuedInvoiceView) -> bytes:
        """Renders; see the port."""
        if not self._loaded:
            pdfmetrics.registerFont(TTFont(FONT_NAME, str(self._font)))
            rl_config.useA85 = 0  # streams as bytes: a fifth smaller and faster; reportlab has it process-wide only
            self._loaded = True
        face = face_of(invoice)
        placed = plan(face, self._measure)
        out = io.BytesIO()
        canvas = Canvas(
            out,
            pagesize=(PAGE_WIDTH, placed.page_height),
            pageCompression=1,
            pdfVersion=(1, 7),
            invariant=1,  # no clock, no random ids
            initialFontName=FONT_NAME,
            lang="zh-CN",
        )
        stamp = face.issued_at.strftime("D:%Y%m%d%H%M%S+08'00'")
        canvas.setDateFormatter(lambda *_: stamp)
        canvas.setTitle(f"{face.title} {face.number}")
        canvas.setAuthor(invoice.seller.name)
        canvas.setSubject(face.qr)
        canvas.setKeywords(face.number)
        canvas.setCreator("Billow")
        canvas.setProducer("Billow")
        if self._attachment is not None:
            name = f"{face.number}.{self._attachment.format.extension}"
            attach(canvas, name, self._attachment.format.media_type, self._attachment.render(invoice), stamp)
        key = self._keys.of(invoice.seller.tax_id) if self._keys else None
        signature = PdfSignature(key=key, stamp=stamp) if key else None
        painter = PagePainter(canvas=canvas, font=FONT_NAME, measure=self._measure, face=face, plan=placed)
        painter.begin()
        if signature:
            signature.reserve(canvas)
        painter.draw()
        canvas.save()
        return signature.seal(out.getvalue()) if signature else out.getvalue()

    def _measure(self, text: str) -> float:
        widths = self._widths
        total = 0.0
        for character in text:
            width = widths.get(character)
            if width is None:
                width = widths[character] = pdfmetrics.stringWidth(character, FONT_NAME, TEXT_SIZE)
            total += width
        return total

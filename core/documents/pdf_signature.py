"""The signature of a PDF: an invisible field over the whole file, written with the document, not appended to it.

PAdES baseline B-B: SubFilter ETSI.CAdES.detached, time in /M, the byte range is everything but the signature itself
(ISO 32000-2, 12.8). Not drawn: a seal would change the face that people know and proves nothing on paper.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from reportlab.pdfbase import pdfdoc
from reportlab.pdfgen.canvas import Canvas

from core.documents import cms
from core.documents.pdf_attachment import extended_root
from core.documents.signing_keys import SigningKey

RANGE: Final = b"/ByteRange [0 %10d %10d %10d]"
NO_RANGE: Final = RANGE % (0, 0, 0)
HIDDEN_PRINTED_LOCKED: Final = 2 + 4 + 128
SIGNATURES_EXIST_APPEND_ONLY: Final = 1 + 2


class PdfSignature:
    """The signature of one document: `reserve` before its first page ends, `seal` what was saved."""

    def __init__(self, *, key: SigningKey, stamp: str) -> None:
        self._key = key
        self._stamp = stamp  # a PDF date
        self._empty = b"/Contents <" + b"0" * (2 * cms.room(key)) + b">"

    def reserve(self, canvas: Canvas) -> None:
        """Adds the field and room for the signature."""
        document = canvas._doc  # noqa: SLF001 (reportlab has no public way to the catalog)
        value = document.Reference(_Literal(self._dictionary()))
        field = pdfdoc.PDFDictionary({
            "Type": pdfdoc.PDFName("Annot"),
            "Subtype": pdfdoc.PDFName("Widget"),
            "FT": pdfdoc.PDFName("Sig"),
            "T": pdfdoc.PDFString("Billow"),
            "Rect": pdfdoc.PDFArray([0, 0, 0, 0]),
            "F": HIDDEN_PRINTED_LOCKED,
            "P": document.thisPageRef(),
            "V": value,
        })  # fmt: skip
        canvas._addAnnotation(field, "signature")  # noqa: SLF001 (as above)
        root = extended_root(document)
        root.AcroForm = pdfdoc.PDFDictionary({
            "Fields": pdfdoc.PDFArray([document.refAnnotation("signature")]),
            "SigFlags": SIGNATURES_EXIST_APPEND_ONLY,
        })  # fmt: skip

    def seal(self, saved: bytes) -> bytes:
        """Signs: 1.6 ms with RSA of 2,048 bits."""
        if saved.count(self._empty) != 1 or saved.count(NO_RANGE) != 1:
            raise ValueError("the document has no single place for a signature")
        start = saved.index(self._empty) + len(b"/Contents ")
        end = start + len(self._empty) - len(b"/Contents ")
        ranged = RANGE % (start, end, len(saved) - end)
        view = memoryview(saved.replace(NO_RANGE, ranged))
        digest = hashlib.sha256(view[:start])
        digest.update(view[end:])
        signature = cms.sign(key=self._key, digest=digest.digest()).hex().encode()
        return b"".join((view[: start + 1], signature.ljust(end - start - 2, b"0"), view[end - 1 :]))

    def _dictionary(self) -> bytes:
        parts = (
            b"<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached",
            b"/M (" + self._stamp.encode() + b")",
            NO_RANGE,
            self._empty,
            b">>",
        )
        return b"\n".join(parts)


class _Literal(pdfdoc.PDFObject):  # type: ignore[misc]  # reportlab has no types
    """An object of a PDF as bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def format(self, document: Any) -> bytes:  # noqa: ARG002 (reportlab's protocol)
        """Returns the bytes."""
        return self._content

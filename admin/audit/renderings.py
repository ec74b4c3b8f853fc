"""Kept documents beside a fresh rendering: the same bytes, or a reason why not (docs/adr/0023)."""

from __future__ import annotations

import enum
from pathlib import Path

from cryptography import x509

from billow.types.v1 import invoice_pb2
from core.documents import hostile_xml
from core.documents.findings import Kind, SignatureState
from core.documents.inspection import invoice_xml
from core.documents.load_keys import load_checker, load_keys
from core.documents.pdf_signatures import check_pdf_signature
from core.documents.read_invoice import Unreadable
from core.documents.renderer import NotRenderable
from core.documents.renderers import make_renderers
from core.documents.signatures import SignatureFinding
from core.settings import DocumentSettings

_SIGNED = {"pdf": Kind.PDF, "xml": Kind.XML, "ofd": Kind.OFD}


class Likeness(enum.Enum):
    """What a kept document is beside a fresh rendering; the values are words for the report."""

    SAME = "same"
    UNSIGNED = "from before there was a key"
    OTHER_KEY = "signed with another key than now"
    DIFFERENT = "different"


class Renderings:
    """Renders invoices again, with the keys that documents are signed with now.

    Raises OSError and SettingsError when the keys cannot be opened here. Blocks: 20 to 50 ms of CPU a document.
    """

    def __init__(self, settings: DocumentSettings) -> None:
        font = Path(settings.font)
        self._keys = load_keys(settings.signing)
        self._checker = load_checker(settings.signing)
        self._signing = make_renderers(font=font, keys=self._keys)
        self._plain = make_renderers(font=font)

    def compare(self, format_name: str, body: bytes, kept: bytes) -> Likeness:
        """Compares a kept document with what is rendered now. Raises OSError and ValueError for a seller's bad key."""
        invoice = invoice_pb2.Invoice.FromString(body)
        try:
            if self._signing[format_name].render(invoice) == kept:
                return Likeness.SAME
            if self._plain[format_name].render(invoice) == kept:
                return Likeness.UNSIGNED
        except NotRenderable:
            return Likeness.DIFFERENT
        found = self._signature(format_name, kept)
        key = self._keys.of(invoice.seller.tax_id)
        present: x509.Certificate | None = key.certificates[0] if key else None
        if found.state is SignatureState.VALID and found.certificate != present:
            return Likeness.OTHER_KEY
        return Likeness.DIFFERENT

    def _signature(self, format_name: str, kept: bytes) -> SignatureFinding:
        """Whose signature a kept document has; a broken document has none."""
        kind = _SIGNED.get(format_name)
        try:
            if kind is Kind.PDF:
                return check_pdf_signature(kept, self._checker.trusted)
            if kind is not None:
                return self._checker.examine(hostile_xml.parse(invoice_xml(kind, kept)))
        except Unreadable:
            pass
        return SignatureFinding(state=SignatureState.UNSIGNED)

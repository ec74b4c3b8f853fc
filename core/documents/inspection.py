"""What is to be found out of a document alone, and of a document beside the invoice it says it is. Pure and bounded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree

from core import limits
from core.documents import hostile_xml
from core.documents.findings import Comparison, Difference, Kind, SignatureState
from core.documents.pdf_signatures import check_pdf_signature
from core.documents.read_invoice import ReadInvoice, Refusal, Unreadable
from core.documents.read_ofd import attached_xml
from core.documents.read_pdf import embedded_xml
from core.documents.read_xml import read_cn_tree
from core.documents.signatures import SignatureChecker
from core.documents.xml_cn import SIGNATURE_PLACE, cn_xml
from core.domain.issued_invoice import IssuedInvoiceView, IssuedLine, Moment
from core.domain.kinds import InvoiceColor, LineType

_SIGNATURE_VALUE: Final = "{http://www.w3.org/2000/09/xmldsig#}SignatureValue"
_SIGNATURE_CHARS_MIN: Final = 64  # of base64: 48 bytes, beyond guessing
_PARTY: Final = ("name", "tax_id", "address", "phone", "bank_name", "bank_account")
_BEFORE_LINES: Final = ("kind", "blue_number", "prices_include_tax", "remark", "drawer", "currency")
_TOTALS: Final = ("net_total_minor", "tax_total_minor", "gross_total_minor")
_LINE: Final = (
    *("name", "category", "goods_code", "specification", "unit", "quantity", "unit_price"),
    *("amount_minor", "tax_rate_bp", "zero_rate_reason", "tax_minor", "net_minor", "gross_minor"),
)


@dataclass(frozen=True, slots=True)
class DocumentRead:
    """What a document says; nothing of it has been verified but its signature.

    `whole_file`: the signature is valid, and of every byte of the file or of everything its XML says.
    """

    invoice: ReadInvoice
    signature: SignatureState
    whole_file: bool


def invoice_xml(kind: Kind, content: bytes) -> bytes:
    """The XML with the invoice in it. Raises Unreadable."""
    if kind is Kind.OFD:
        return attached_xml(content)
    return embedded_xml(content) if kind is Kind.PDF else content


def read_document(kind: Kind, content: bytes, checker: SignatureChecker) -> DocumentRead:
    """Reads a document. Raises Unreadable; 4 to 6 ms for three lines, 0.5 s for 2,000."""
    root = hostile_xml.parse(invoice_xml(kind, content))
    invoice = read_cn_tree(root)
    signature = checker.check(root)
    whole_file = kind is Kind.XML and signature is SignatureState.VALID
    if kind is Kind.PDF:
        signature, whole_file = _of_pdf(content, checker, invoice, signature)
    return DocumentRead(invoice, signature, whole_file)


def compare(kind: Kind, content: bytes, issued: IssuedInvoiceView) -> Comparison:
    """Compares a document that was read with the invoice of its number. Raises Unreadable."""
    root = hostile_xml.parse(invoice_xml(kind, content))
    document = read_cn_tree(root)
    listed: list[Difference] = []
    count = 0
    for path, said, true in _differing(document, issued):
        count += 1
        if count <= limits.DIFFERENCES_MAX:
            listed.append(Difference(path, _shown(said), _shown(true)))
    same_file = not count and _without_signature(root) == cn_xml(issued)
    return Comparison(tuple(listed), count, same_file)


def same_signature(kind: Kind, content: bytes, genuine_xml: bytes) -> bool:
    """Tells whether a document has the signature value of the genuine XML, which only its holders can know."""
    values = [
        "".join(str(node.text or "").split())
        for root in (hostile_xml.parse(invoice_xml(kind, content)), hostile_xml.parse(genuine_xml))
        for node in root.iter(_SIGNATURE_VALUE)
    ]
    return len(values) == 2 and values[0] == values[1] and len(values[0]) >= _SIGNATURE_CHARS_MIN


def _of_pdf(
    content: bytes, checker: SignatureChecker, invoice: ReadInvoice, inner: SignatureState
) -> tuple[SignatureState, bool]:
    """What the PDF's own signature and that of the XML inside are worth together; whether it covers the file."""
    finding = check_pdf_signature(content, checker.trusted)
    outer = finding.state
    if outer is SignatureState.VALID and finding.seller_tax_id not in ("", invoice.seller.tax_id):
        outer = SignatureState.BROKEN  # a seller's key counts for its own invoices
    if SignatureState.BROKEN in (outer, inner):
        return SignatureState.BROKEN, False
    if outer is SignatureState.VALID:
        return outer, True
    return (outer if inner is SignatureState.UNSIGNED else inner), False


def _without_signature(root: etree._Element) -> bytes:
    """The canonical document as it was before it was signed; empty if it has no canonical form, as ours all have."""
    for place in root.findall(SIGNATURE_PLACE):
        place.text = None
        for child in list(place):
            place.remove(child)
    try:
        return bytes(etree.tostring(root, method="c14n"))
    except etree.C14NError:  # a namespace that is a relative URI
        return b""


def _differing(document: ReadInvoice, issued: IssuedInvoiceView) -> Iterator[tuple[str, Any, Any]]:
    """Every field that differs, with both values."""
    if document.number != issued.number:
        raise Unreadable(Refusal.INCONSISTENT, "the document is of another invoice")
    yield from _unlike(document, issued, _BEFORE_LINES, "")
    color = issued.color or int(InvoiceColor.BLUE)
    if document.color != color:
        yield "color", document.color, color
    if _moment(document.issue_time) != _moment(issued.issue_time):
        exact = document.issue_time.nanos  # a document without the exact time shows whole seconds
        if exact or document.issue_time.seconds != issued.issue_time.seconds:
            yield "issue_time", document.issue_time, issued.issue_time
    for side in ("seller", "buyer"):
        yield from _unlike(getattr(document, side), getattr(issued, side), _PARTY, f"{side}.")
    yield from _unlike(document, issued, _TOTALS, "")
    if len(document.lines) != len(issued.lines):
        yield "lines", "", len(issued.lines)
    for position, (said, true) in enumerate(zip(document.lines, issued.lines, strict=False)):
        if _line_type(said) != _line_type(true):
            yield f"lines[{position}].type", said.type, true.type
        yield from _unlike(said, true, _LINE, f"lines[{position}].")


def _unlike(said: Any, true: Any, names: tuple[str, ...], prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for name in names:
        here, there = getattr(said, name), getattr(true, name)
        if here != there:
            yield prefix + name, here, there


def _line_type(line: IssuedLine) -> int:
    return line.type or int(LineType.NORMAL)


def _moment(moment: Moment) -> tuple[int, int]:
    return moment.seconds, moment.nanos


def _shown(value: Any) -> str:
    if hasattr(value, "nanos"):
        at = dt.datetime.fromtimestamp(value.seconds, dt.UTC) + dt.timedelta(microseconds=value.nanos // 1_000)
        return at.isoformat()
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text[: limits.DIFFERENCE_CHARS_MAX]

"""Documents that anybody may have made: XML, OFD, PDF, and the signatures on them."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from functools import cache

from core import limits
from core.documents import cms, hostile_xml
from core.documents.findings import Kind, SignatureState, recognized
from core.documents.inspection import compare, read_document, same_signature
from core.documents.read_invoice import ReadInvoice, Unreadable
from core.documents.renderers import make_renderers
from core.documents.signatures import SignatureChecker
from core.domain.import_rules import import_faults
from press import processes
from server import document_reader, document_reader_process
from server.document_reader_process import message
from tests.fuzz.decoder import Decoder
from tests.support.documents import FONT, issued_invoice
from tests.support.hostile_documents import pdf, zipped
from tests.support.signing_keys import key_pair, ring

PART = b"\x00PART\x00"  # between the parts of an OFD as `ofd_parts` takes them: name, newline, content
OBJECT = b"\nendobj\n"  # between the objects of a PDF as `pdf_objects` takes them


@cache
def genuine(*, signed: bool = False) -> dict[str, bytes]:
    """Good documents by format."""
    key, certificate = key_pair()
    made = make_renderers(font=FONT, keys=ring(key, certificate) if signed else None)
    return {name: made[name].render(issued_invoice(2)) for name in ("xml", "ofd", "pdf")}


@cache
def checker() -> SignatureChecker:
    """Who trusts the key of the good documents."""
    return SignatureChecker([key_pair()[1]])


def read(content: bytes, kind: Kind | None = None) -> None:
    """Reads a document in every way the reading process does; nothing forged may count as signed."""
    kind = kind or recognized(content)
    if kind is None:
        return
    with suppress(Unreadable):
        found = read_document(kind, content, checker())
        holds(found.invoice)
        if found.signature is SignatureState.VALID:
            assert found.invoice == read_document(kind, _signed_like(kind), checker()).invoice
        if found.whole_file and kind is Kind.PDF:
            assert content == genuine(signed=True)["pdf"]
        difference = compare(kind, content, issued_invoice(2))
        assert difference.difference_count or not difference.differences
        assert len(difference.differences) <= limits.DIFFERENCES_MAX
        same_signature(kind, content, genuine(signed=True)["xml"])


def _signed_like(kind: Kind) -> bytes:
    return genuine(signed=True)[{Kind.XML: "xml", Kind.OFD: "ofd", Kind.PDF: "pdf"}[kind]]


def holds(invoice: ReadInvoice) -> None:
    """What was read fits a message and is no larger than the document may be; its faults are counted."""
    assert message(invoice).ByteSize() <= 2 * limits.XML_BYTES_MAX
    assert len(import_faults(invoice)) <= limits.VIOLATIONS_MAX


def answer(content: bytes) -> None:
    """The reading process never tells of a fault of its own, whatever it is asked."""
    for name in (document_reader.READ, document_reader.FACTS):
        code, told = document_reader_process.answer(name, content, checker())
        assert code != processes.FAILED, told.decode()


def ofd_parts(content: bytes) -> None:
    """An OFD whose parts are the input's: a fuzzer makes no lawful ZIP by itself."""
    parts = {}
    for part in content.split(PART)[:16]:
        name, _, data = part.partition(b"\n")
        parts[name.decode("latin-1")] = data
    read(zipped(parts), Kind.OFD)


def pdf_objects(content: bytes) -> None:
    """A PDF whose objects are the input's, with a right table of them."""
    read(pdf(content.split(OBJECT)[:64]), Kind.PDF)


def signature(content: bytes) -> None:
    """CMS out of a PDF."""
    found = cms.named(content)
    assert found is None or len(found) <= len(content)
    assert not cms.verify(content, digest=bytes(32), certificate=key_pair()[1])


def parse_xml(content: bytes) -> None:
    """Any XML at all; nothing is expanded."""
    try:
        root = hostile_xml.parse(content)
    except Unreadable:
        return
    texts = sum(len(str(node.text or "")) + len(str(node.tail or "")) for node in root.iter())
    assert texts <= len(content)


def seeds(name: str) -> list[bytes]:
    """The good documents of a format, without and with a signature."""
    return [genuine()[name], genuine(signed=True)[name]]


def _split_ofd() -> list[bytes]:
    with zipfile.ZipFile(io.BytesIO(genuine()["ofd"])) as package:
        wanted = [name for name in package.namelist() if name.lower().endswith(".xml")]
        parts = [name.encode() + b"\n" + package.read(name) for name in wanted]
    return [PART.join(parts)]


def _split_pdf() -> list[bytes]:
    specification = b"<</Type/Filespec/F(a.xml)/UF(a.xml)/EF<</F 4 0 R>>>>"
    xml = genuine()["xml"]
    embedded = b"<</Length %d>>\nstream\n%s\nendstream" % (len(xml), xml)
    names = b"<</Type/Catalog/Pages 2 0 R/Names<</EmbeddedFiles<</Names[(a.xml) 3 0 R]>>>>>>"
    return [OBJECT.join([names, b"<</Type/Pages/Kids[]/Count 0>>", specification, embedded])]


def _split_signature() -> list[bytes]:
    key = ring(*key_pair()).of("")
    assert key is not None
    return [cms.sign(key=key, digest=bytes(range(32)))]


DECODERS = (
    Decoder("xml", lambda data: read(data, Kind.XML), lambda: seeds("xml")),
    Decoder("xml_any", parse_xml, lambda: seeds("xml")),
    Decoder("ofd", read, lambda: seeds("ofd")),
    Decoder("ofd_parts", ofd_parts, _split_ofd),
    Decoder("pdf", read, lambda: seeds("pdf")),
    Decoder("pdf_objects", pdf_objects, _split_pdf),
    Decoder("reader", answer, lambda: [*seeds("xml"), *seeds("pdf")]),
    Decoder("cms", signature, _split_signature),
)

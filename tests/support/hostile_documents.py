"""Documents that attack whoever reads them, small enough to be made in a test."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence

from core.documents.read_invoice import Refusal

ONE_DOCUMENT = b"<</Type/Catalog/Pages 2 0 R/Names<</EmbeddedFiles %s>>>>"
NO_PAGES = b"<</Type/Pages/Kids[]/Count 0>>"
ANY = frozenset(Refusal)


def pdf(objects: Sequence[bytes], *, trailer: bytes = b"", previous: bool = False) -> bytes:
    """A PDF of these objects, the first one its catalog; with `previous` its table names itself as the one before."""
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    before = b"/Prev %d" % table if previous else b""
    out += b"trailer\n<</Size %d/Root 1 0 R%s%s>>\n" % (len(objects) + 1, trailer, before)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % table)


def stream(data: bytes, dictionary: bytes = b"") -> bytes:
    """A stream object."""
    return b"<<%s/Length %d>>\nstream\n%s\nendstream" % (dictionary, len(data), data)


def with_file(embedded: bytes, name: bytes = b"a.xml") -> bytes:
    """A PDF with this stream object embedded as a file."""
    names = b"<</Names[(%s) 3 0 R]>>" % name
    specification = b"<</Type/Filespec/F(%s)/UF(%s)/EF<</F 4 0 R>>>>" % (name, name)
    return pdf([ONE_DOCUMENT % names, NO_PAGES, specification, embedded])


def deflated(length: int, byte: bytes = b" ") -> bytes:
    """So many bytes, deflated a thousandfold."""
    packer = zlib.compressobj(9)
    piece = byte * 2**20
    return b"".join(packer.compress(piece) for _ in range(length // len(piece))) + packer.flush()


def zipped(parts: dict[str, bytes]) -> bytes:
    """A ZIP."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return package.getvalue()


def hostile_documents() -> Iterator[tuple[str, bytes, frozenset[Refusal]]]:
    """Yields a name, the bytes, and why they may be refused."""
    flate = b"/Filter/FlateDecode"
    laughs = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + level, b"&%c;" % (97 + level) * 10) for level in range(9)
    )
    yield "xml, a billion laughs", laughs + b"]><EInvoice>&j;</EInvoice>", frozenset({Refusal.FORBIDDEN})
    entity = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><EInvoice>&x;</EInvoice>'
    yield "xml, an external entity", entity, frozenset({Refusal.FORBIDDEN})
    utf16 = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><a/>'.encode("utf-16-le")
    yield "xml, another encoding", b"<?xml version='1.0' encoding='UTF-16'?>" + utf16, frozenset({Refusal.FORBIDDEN})
    yield "xml, deep", b"<a>" * 60_000 + b"</a>" * 60_000, frozenset({Refusal.MALFORMED})
    yield "xml, many tags", b"<EInvoice>" + b"<a/>" * 300_000 + b"</EInvoice>", frozenset({Refusal.TOO_LARGE})
    yield "xml, long", b"<EInvoice>" + b" " * (9 * 2**20) + b"</EInvoice>", frozenset({Refusal.TOO_LARGE})
    yield "xml, cut off", b"<EInvoice><Header>", frozenset({Refusal.MALFORMED})
    yield "xml, another one", b"<svg/>", frozenset({Refusal.NOT_AN_INVOICE})
    yield "ofd, cut off", zipped({"OFD.xml": b"<x/>"})[:-9], frozenset({Refusal.MALFORMED})
    yield "ofd, a path out", zipped({"OFD.xml": b"<x/>", "../../x": b""}), frozenset({Refusal.FORBIDDEN})
    yield "ofd, an absurd name", zipped({"OFD.xml": b"<x/>", "a" * 60_000: b""}), ANY
    bomb = zipped({"OFD.xml": b"<OFD>" + b" " * (64 * 2**20) + b"</OFD>"})
    yield "ofd, a bomb", bomb, frozenset({Refusal.TOO_LARGE})
    many = zipped({f"{index}": b"" for index in range(3_000)})
    yield "ofd, many parts", many, frozenset({Refusal.TOO_LARGE})
    predictor = b"/DecodeParms<</Predictor 12/Columns 2000000000/Colors 4/BitsPerComponent 16>>"
    yield "pdf, a predictor", with_file(stream(zlib.compress(b"a"), flate + predictor)), frozenset({Refusal.FORBIDDEN})
    itself = pdf([ONE_DOCUMENT % b"3 0 R", NO_PAGES, b"<</Kids[3 0 R 3 0 R]>>"])
    yield "pdf, names in a circle", itself, frozenset({Refusal.MALFORMED, Refusal.NO_INVOICE_DATA})
    fan = [b"<</Kids[%d 0 R %d 0 R]>>" % (number + 1, number + 1) for number in range(3, 60)]
    yield "pdf, names that double", pdf([ONE_DOCUMENT % b"3 0 R", NO_PAGES, *fan, b"<</Names[]>>"]), ANY
    yield "pdf, tables in a circle", pdf([ONE_DOCUMENT % b"3 0 R", NO_PAGES], previous=True), ANY
    deep = pdf([ONE_DOCUMENT % (b"[" * 10**6 + b"]" * 10**6), NO_PAGES])
    yield "pdf, deep", deep, frozenset({Refusal.MALFORMED})
    yield "pdf, garbage", b"%PDF-1.7\n" + b"1 0 obj\n" * 10**6, frozenset({Refusal.MALFORMED})
    yield "pdf, brackets", b"%PDF-1.7\n" + b"(" * (9 * 2**20), frozenset({Refusal.MALFORMED})
    picture = stream(b"", b"/Type/XObject/Subtype/Image/Width 2000000000/Height 2000000000/ColorSpace/DeviceRGB")
    yield "pdf, a huge picture", pdf([ONE_DOCUMENT % b"<<>>", NO_PAGES, picture]), frozenset({Refusal.NO_INVOICE_DATA})
    yield "pdf, no files", pdf([b"<</Type/Catalog/Pages 2 0 R>>", NO_PAGES]), frozenset({Refusal.NO_INVOICE_DATA})
    entity_inside = with_file(stream(entity))
    yield "pdf, an entity inside", entity_inside, frozenset({Refusal.FORBIDDEN})
    # the costly ones last
    yield "pdf, a bomb", with_file(stream(deflated(2**27), flate)), frozenset({Refusal.TOO_LARGE})
    twice = stream(zlib.compress(deflated(2**27)), b"/Filter[/FlateDecode/FlateDecode]")
    yield "pdf, a bomb in a bomb", with_file(twice), frozenset({Refusal.FORBIDDEN})
    table = deflated(2**28, b"\1")
    references = b"/Type/XRef/W[1 4 2]/Size 38000000/Index[0 38000000]/Root 2 0 R"
    object_ = b"%PDF-1.7\n1 0 obj\n" + stream(table, references + flate) + b"\nendobj\nstartxref\n9\n%%EOF"
    yield "pdf, a giant table", object_, frozenset({Refusal.MALFORMED, Refusal.TOO_COSTLY})

"""OFD: the package is whole, the invoice is read back from it, and hostile packages are refused."""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from billow.types.v1 import invoice_pb2
from core.documents.ofd import NAMESPACE, OfdRenderer
from core.documents.ofd_canvas import measure
from core.documents.read_invoice import Refusal, Unreadable
from core.documents.read_ofd import attached_xml, read_ofd
from core.documents.xml_cn import CnXmlRenderer, cn_xml
from core.limits import OFD_BYTES_MAX, OFD_PARTS_MAX
from tests.support.golden import agrees
from tests.support.issued_invoices import issued_invoice, mixed_invoice, values

SAMPLES: dict[str, Callable[[], invoice_pb2.Invoice]] = {
    "blue": issued_invoice,
    "red": lambda: issued_invoice(red=True),
    "mixed": mixed_invoice,
    "long": lambda: issued_invoice(100),
}
ATTACHMENT = "Doc_0/Attachs/original_invoice.xml"
LIST = "Doc_0/Attachs/Attachments.xml"
RENDERER = OfdRenderer(attachment=CnXmlRenderer())
BLUE = RENDERER.render(issued_invoice())


def parts(package: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return package.getvalue()


def changed(**changes: bytes) -> bytes:
    names = {"start": "OFD.xml", "list": LIST, "attachment": ATTACHMENT}
    return packed({**parts(BLUE), **{names[name]: data for name, data in changes.items()}})


@pytest.mark.parametrize("name", ["blue", "red", "mixed"])
def test_the_parts_are_the_golden_ones(name: str, request: pytest.FixtureRequest) -> None:
    package = RENDERER.render(SAMPLES[name]())
    assert package == RENDERER.render(SAMPLES[name]())
    text = b"".join(path.encode() + b"\n" + data + b"\n" for path, data in parts(package).items())
    assert agrees(f"{name}.ofd.txt", text, request.config)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_invoice_is_read_back(name: str) -> None:
    invoice = SAMPLES[name]()
    package = RENDERER.render(invoice)
    assert values(read_ofd(package)) == values(invoice)
    assert attached_xml(package) == cn_xml(invoice)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_package_is_whole(name: str) -> None:
    content = parts(RENDERER.render(SAMPLES[name]()))
    trees = {path: etree.fromstring(data) for path, data in content.items()}
    document = trees["Doc_0/Document.xml"]
    pages = [f"Doc_0/{page.get('BaseLoc')}" for page in document.iter(f"{{{NAMESPACE}}}Page")]
    assert set(pages) == {path for path in content if "/Pages/" in path}
    fonts = {font.get("ID") for font in trees["Doc_0/PublicRes.xml"].iter(f"{{{NAMESPACE}}}Font")}
    ids = [node.get("ID") for tree in trees.values() for node in tree.iter() if node.get("ID")]
    assert len(ids) == len(set(ids))
    assert max(map(int, filter(None, ids))) <= int(document.findtext(f".//{{{NAMESPACE}}}MaxUnitID") or 0)
    texts = [text for page in pages for text in trees[page].iter(f"{{{NAMESPACE}}}TextObject")]
    assert {text.get("Font") for text in texts} == fonts


def test_the_face_shows_the_invoice() -> None:
    invoice = issued_invoice(100)
    content = parts(RENDERER.render(invoice))
    pages = [content[path].decode() for path in content if "/Pages/" in path]
    assert len(pages) == 3
    assert all(invoice.number in page for page in pages)
    assert "壹万壹仟叁佰圆整" in pages[-1]
    assert sum(page.count(">*电子产品*widget") for page in pages) == 100


def test_every_character_of_a_text_has_its_place() -> None:
    page = parts(RENDERER.render(mixed_invoice()))["Doc_0/Pages/Page_0/Content.xml"]
    for code in etree.fromstring(page).iter(f"{{{NAMESPACE}}}TextCode"):
        text, steps = str(code.text), (code.get("DeltaX") or "").split()
        count = 0
        while steps:
            if steps[0] == "g":
                count += int(steps[1])
                steps = steps[3:]
            else:
                count += 1
                steps = steps[1:]
        assert count == len(text) - 1
    assert measure("中a") == 12


def bomb() -> bytes:
    return changed(attachment=b"<EInvoice>" + b" " * 60_000_000 + b"</EInvoice>")


def lying_bomb() -> bytes:
    """Says that it unpacks to 10 bytes."""
    data = b" " * 60_000_000
    package = packed({**parts(BLUE), ATTACHMENT: data})
    return package.replace(len(data).to_bytes(4, "little"), (10).to_bytes(4, "little"))


def twice() -> bytes:
    package = bytearray(packed({**parts(BLUE), "OFD.xmL": b"<x/>"}))
    return bytes(package.replace(b"OFD.xmL", b"OFD.xml"))


def encrypted() -> bytes:
    package = bytearray(BLUE)
    package[package.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(package)


def with_list(location: str) -> Callable[[], bytes]:
    text = parts(BLUE)[LIST].decode().replace("original_invoice.xml<", f"{location}<")
    return lambda: changed(list=text.encode())


@pytest.mark.parametrize(
    ("package", "refusal"),
    [
        (lambda: b"", Refusal.MALFORMED),
        (lambda: b"PK\x03\x04" + bytes(100), Refusal.MALFORMED),
        (lambda: BLUE[:-1], Refusal.MALFORMED),
        (lambda: b"PK\x03\x04" + bytes(OFD_BYTES_MAX), Refusal.TOO_LARGE),
        (lambda: packed({"OFD.xml": b"<x/>"}), Refusal.NOT_AN_INVOICE),
        (lambda: packed({"word.xml": b"<x/>"}), Refusal.MALFORMED),
        (lambda: packed({**parts(BLUE), "../../etc/cron.d/x": b""}), Refusal.FORBIDDEN),
        (lambda: packed({**parts(BLUE), "/etc/passwd": b""}), Refusal.FORBIDDEN),
        (lambda: packed({str(index): b"" for index in range(OFD_PARTS_MAX + 1)}), Refusal.TOO_LARGE),
        (lambda: packed(parts(BLUE), zipfile.ZIP_BZIP2), Refusal.FORBIDDEN),
        (encrypted, Refusal.FORBIDDEN),
        (twice, Refusal.FORBIDDEN),
        (bomb, Refusal.TOO_LARGE),
        (lying_bomb, Refusal.MALFORMED),
        (with_list("../../../etc/passwd.xml"), Refusal.FORBIDDEN),
        (with_list("..\\..\\windows.xml"), Refusal.FORBIDDEN),
        (with_list("/none.xml"), Refusal.MALFORMED),
        (with_list("none.txt"), Refusal.NO_INVOICE_DATA),
        (with_list("Attachments.xml"), Refusal.NO_INVOICE_DATA),
        (lambda: changed(start=b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'), Refusal.FORBIDDEN),
    ],
    ids=range(20),
)
def test_hostile_packages_are_refused(package: Callable[[], bytes], refusal: Refusal) -> None:
    with pytest.raises(Unreadable) as refused:
        read_ofd(package())
    assert refused.value.refusal is refusal


def test_two_invoices_in_one_package_are_refused() -> None:
    text = parts(BLUE)[LIST].decode()
    entry = re.search("<ofd:Attachment .*</ofd:Attachment>", text)
    assert entry
    doubled = text.replace(entry[0], entry[0] * 2)
    with pytest.raises(Unreadable) as refused:
        read_ofd(changed(list=doubled.encode()))
    assert refused.value.refusal is Refusal.INCONSISTENT


@given(st.integers(0, len(BLUE) - 1), st.binary(max_size=8), st.integers(0, 8))
@settings(max_examples=300, deadline=None)
def test_a_damaged_package_is_read_or_refused(position: int, piece: bytes, taken: int) -> None:
    damaged = BLUE[:position] + piece + BLUE[position + taken :]
    with contextlib.suppress(Unreadable):  # and nothing else
        assert read_ofd(damaged).lines


def test_the_parts_are_packed_as_zlib_does_it() -> None:
    """The bytes of a package depend on zlib only; another zlib may pack otherwise, but every one unpacks it."""
    with zipfile.ZipFile(io.BytesIO(BLUE)) as archive:
        assert all(zlib.crc32(archive.read(info)) == info.CRC for info in archive.infolist())
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}

"""Reading OFD packages that anybody may have made: the invoice is in the XML attached to the first document.

Nothing is unpacked to disk, and only the few parts that lead to the attachment are read, each up to a limit, whatever
the package says of their sizes. What the pages show is not read: who wants to know whether they show the attached
invoice renders it again and compares.
"""

from __future__ import annotations

import io
import posixpath
import struct
import zipfile
import zlib
from typing import Final

from lxml import etree

from core import limits
from core.documents import hostile_xml
from core.documents.ofd import NAMESPACE
from core.documents.read_invoice import ReadInvoice, Refusal, Unreadable
from core.documents.read_xml import read_cn_tree

_END: Final = struct.Struct("<4s4H2IH")  # end of the central directory, without a comment
_END64: Final = b"PK\x06\x07"
_ENCRYPTED: Final = 1


def read_ofd(data: bytes) -> ReadInvoice:
    """Reads the invoice of a package. Raises Unreadable; time and memory are those of the XML in it."""
    return read_cn_tree(hostile_xml.parse(attached_xml(data)))


def attached_xml(data: bytes) -> bytes:
    """Returns the bytes of the one attachment that is an EInvoice. Raises Unreadable."""
    package = Package(data)
    start = package.xml("OFD.xml")
    roots = start.findall(f"{{{NAMESPACE}}}DocBody/{{{NAMESPACE}}}DocRoot")
    if len(roots) != 1:
        raise Unreadable(Refusal.NOT_AN_INVOICE, "the OFD does not hold one document")
    document_path = resolved("", roots[0].text)
    listed = package.xml(document_path).findtext(f"{{{NAMESPACE}}}Attachments")
    if not listed:
        raise Unreadable(Refusal.NO_INVOICE_DATA, "the OFD has no attachments")
    list_path = resolved(document_path, str(listed))
    places = package.xml(list_path).findall(f"{{{NAMESPACE}}}Attachment/{{{NAMESPACE}}}FileLoc")
    if len(places) > limits.OFD_ATTACHMENTS_MAX:
        raise Unreadable(Refusal.TOO_LARGE, f"the OFD has more than {limits.OFD_ATTACHMENTS_MAX} attachments")
    paths = [resolved(list_path, place.text) for place in places]
    found = [part for part in map(package.part, [path for path in paths if path.lower().endswith(".xml")]) if _is(part)]
    if len(found) != 1:
        refusal = Refusal.INCONSISTENT if found else Refusal.NO_INVOICE_DATA
        raise Unreadable(refusal, f"the OFD has {len(found)} invoices attached")
    return found[0]


class Package:
    """A ZIP that is not trusted. Parts are read one by one, up to OFD_UNPACKED_BYTES_MAX together."""

    def __init__(self, data: bytes) -> None:
        if len(data) > limits.OFD_BYTES_MAX:
            raise Unreadable(Refusal.TOO_LARGE, f"the OFD is longer than {limits.OFD_BYTES_MAX} bytes")
        _check_directory(data)
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OverflowError) as error:
            raise Unreadable(Refusal.MALFORMED, "the OFD is no ZIP") from error
        self._left = limits.OFD_UNPACKED_BYTES_MAX
        self._parts: dict[str, zipfile.ZipInfo] = {}
        for info in self._archive.infolist():
            self._parts[_checked(info, self._parts)] = info

    def part(self, path: str) -> bytes:
        """The bytes of a part. Raises Unreadable when it is absent, damaged or too large."""
        info = self._parts.get(path)
        if info is None:
            raise Unreadable(Refusal.MALFORMED, "the OFD names a part that it does not have")
        room = min(self._left, limits.XML_BYTES_MAX)
        try:
            with self._archive.open(info) as stream:
                data = stream.read(room + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
            raise Unreadable(Refusal.MALFORMED, "a part of the OFD is damaged") from error
        if len(data) > room:
            raise Unreadable(Refusal.TOO_LARGE, "the OFD unpacks to more than an invoice")
        self._left -= len(data)
        return data

    def xml(self, path: str) -> etree._Element:
        """A part, parsed."""
        return hostile_xml.parse(self.part(path))


def resolved(base: str, location: str | None) -> str:
    """Where a location inside the part `base` points to; one that leaves the package is refused."""
    if not location or "\\" in location or "\0" in location:
        raise Unreadable(Refusal.FORBIDDEN, "the OFD points to a place that cannot be")
    place = location.strip()
    path = place.lstrip("/") if place.startswith("/") else posixpath.join(posixpath.dirname(base), place)
    if ".." in path.split("/"):
        raise Unreadable(Refusal.FORBIDDEN, "the OFD points out of its package")
    return posixpath.normpath(path)


def _check_directory(data: bytes) -> None:
    """Looks at the end of the ZIP before its directory is loaded: it must be small, and found in one way only."""
    if len(data) < _END.size or not data.startswith(b"PK\x03\x04"):
        raise Unreadable(Refusal.MALFORMED, "the OFD is no ZIP")
    mark, _, _, _, count, directory_bytes, _, comment = _END.unpack(data[-_END.size :])
    if mark != b"PK\x05\x06" or comment:
        raise Unreadable(Refusal.MALFORMED, "the OFD does not end as a ZIP without comment does")
    if data[-_END.size - 20 :].startswith(_END64):
        raise Unreadable(Refusal.FORBIDDEN, "the OFD is a ZIP64")
    if count > limits.OFD_PARTS_MAX or directory_bytes > limits.OFD_PARTS_MAX * 256:
        raise Unreadable(Refusal.TOO_LARGE, f"the OFD has more than {limits.OFD_PARTS_MAX} parts")


def _checked(info: zipfile.ZipInfo, known: dict[str, zipfile.ZipInfo]) -> str:
    """The name of an entry. Raises Unreadable for what no honest package has."""
    name = info.orig_filename
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/") or name in known:
        raise Unreadable(Refusal.FORBIDDEN, "the OFD has a part whose name leaves the package or stands there twice")
    if info.flag_bits & _ENCRYPTED or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise Unreadable(Refusal.FORBIDDEN, "a part of the OFD is encrypted or packed in an unusual way")
    return name


def _is(part: bytes) -> bool:
    return bool(hostile_xml.parse(part).tag == "EInvoice")

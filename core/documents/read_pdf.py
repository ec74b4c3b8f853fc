"""Reading PDF files that anybody may have made: the invoice is in the XML embedded in them.

qpdf (by pikepdf) reads the structure; damaged files are refused, not repaired. The embedded file is unpacked here, up
to a limit, because qpdf would unpack all of it. Other filters than none and Deflate are not used for XML. What the
pages show is not read. Memory is bounded only up to what qpdf itself unpacks: call it in a process with a limit
(docs/adr/0021).
"""

from __future__ import annotations

import io
import zlib

import pikepdf

from core import limits
from core.documents import hostile_xml
from core.documents.read_invoice import ReadInvoice, Refusal, Unreadable
from core.documents.read_xml import read_cn_tree


def read_pdf(data: bytes) -> ReadInvoice:
    """Reads the invoice of a file. Raises Unreadable; 1 ms for three lines."""
    return read_cn_tree(hostile_xml.parse(embedded_xml(data)))


def embedded_xml(data: bytes) -> bytes:
    """Returns the bytes of the one embedded file that is an EInvoice. Raises Unreadable."""
    if len(data) > limits.PDF_BYTES_MAX:
        raise Unreadable(Refusal.TOO_LARGE, f"the PDF is longer than {limits.PDF_BYTES_MAX} bytes")
    try:
        with pikepdf.open(io.BytesIO(data), suppress_warnings=True, attempt_recovery=False) as file:
            parts = _xml_parts(file)
    except pikepdf.PasswordError as error:
        raise Unreadable(Refusal.ENCRYPTED, "the PDF is encrypted") from error
    except (pikepdf.PdfError, pikepdf.QpdfRuntimeError, pikepdf.DataDecodingError) as error:
        raise Unreadable(Refusal.MALFORMED, "the PDF is damaged") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RuntimeError) as error:
        raise Unreadable(Refusal.MALFORMED, "the PDF holds something else where its files are listed") from error
    found = [part for part in parts if hostile_xml.parse(part).tag == "EInvoice"]
    if len(found) != 1:
        refusal = Refusal.INCONSISTENT if found else Refusal.NO_INVOICE_DATA
        raise Unreadable(refusal, f"the PDF has {len(found)} invoices embedded")
    return found[0]


def _xml_parts(file: pikepdf.Pdf) -> list[bytes]:
    """The embedded files named as XML, unpacked."""
    parts = []
    room = limits.XML_BYTES_MAX
    for count, name in enumerate(file.attachments, 1):
        if count > limits.PDF_ATTACHMENTS_MAX:
            raise Unreadable(Refusal.TOO_LARGE, f"the PDF has more than {limits.PDF_ATTACHMENTS_MAX} files embedded")
        specification = file.attachments[name]
        if not (specification.filename or name).lower().endswith(".xml"):
            continue
        part = _unpacked(specification.get_file().obj, room)
        room -= len(part)
        parts.append(part)
    return parts


def _unpacked(stream: pikepdf.Object, room: int) -> bytes:
    """The bytes of an embedded file, at most `room`."""
    if not isinstance(stream, pikepdf.Stream):
        raise Unreadable(Refusal.MALFORMED, "a file embedded in the PDF is no stream")
    filters = stream.get("/Filter")
    if isinstance(filters, pikepdf.Array):
        if len(filters) > 1:
            raise Unreadable(Refusal.FORBIDDEN, "a file embedded in the PDF is packed more than once")
        filters = filters[0] if len(filters) else None
    raw = stream.read_raw_bytes()
    if filters is None:
        part = raw
    elif filters == pikepdf.Name.FlateDecode and stream.get("/DecodeParms") is None:
        try:
            part = zlib.decompressobj().decompress(raw, room + 1)
        except zlib.error as error:
            raise Unreadable(Refusal.MALFORMED, "a file embedded in the PDF is damaged") from error
    else:
        raise Unreadable(Refusal.FORBIDDEN, "a file embedded in the PDF is packed in an unusual way")
    if len(part) > room:
        raise Unreadable(Refusal.TOO_LARGE, "the PDF unpacks to more than an invoice")
    return part

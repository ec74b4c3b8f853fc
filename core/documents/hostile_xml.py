"""Parsing XML that anybody may have made, in bounded time and memory.

Whatever could make a parser fetch, expand or blow up is refused before the parser sees it: more bytes, tags or
attributes than any invoice has, every document type declaration (so no entity is ever defined), every encoding but
UTF-8 and the GB family. libxml2 then refuses nesting deeper than 256 by itself.
"""

from __future__ import annotations

import re
from typing import Final

from lxml import etree

from core import limits
from core.documents.read_invoice import Refusal, Unreadable

_DECLARATION: Final = re.compile(rb"\s*<\?xml[^>]{0,100}?>")
_ENCODING: Final = re.compile(rb"""encoding\s*=\s*["']([A-Za-z0-9._-]{1,20})["']""")
_ENCODINGS: Final = {
    b"utf-8": "utf-8",
    b"utf8": "utf-8",
    b"gbk": "gb18030",
    b"gb2312": "gb18030",
    b"gb18030": "gb18030",
}


def parse(data: bytes) -> etree._Element:
    """Returns the root. Raises Unreadable for anything but plain, reasonably small, well-formed XML.

    Time is in proportion to the bytes, of which there are at most XML_BYTES_MAX: 0.5 s and 130 MB for the worst.
    """
    if len(data) > limits.XML_BYTES_MAX:
        raise Unreadable(Refusal.TOO_LARGE, f"the XML is longer than {limits.XML_BYTES_MAX} bytes")
    encoded = _utf8(data)
    if encoded.count(b"<") > limits.XML_TAGS_MAX or encoded.count(b"=") > limits.XML_ATTRIBUTES_MAX:
        raise Unreadable(Refusal.TOO_LARGE, "the XML has more tags or attributes than an invoice")
    if b"<!DOCTYPE" in encoded or b"<!ENTITY" in encoded:
        raise Unreadable(Refusal.FORBIDDEN, "the XML has a document type declaration")
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        return etree.fromstring(encoded, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Unreadable(Refusal.MALFORMED, "the XML is not well-formed") from error


def _utf8(data: bytes) -> bytes:
    """The document in UTF-8, without its declaration."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    declaration = _DECLARATION.match(data)
    encoding = b"utf-8"
    if declaration:
        named = _ENCODING.search(declaration[0])
        encoding = named[1].lower() if named else encoding
        data = data[declaration.end() :]
    if encoding not in _ENCODINGS:
        raise Unreadable(Refusal.FORBIDDEN, "the XML is in an encoding that invoices are not written in")
    try:
        text = data.decode(_ENCODINGS[encoding])
    except UnicodeDecodeError as error:
        raise Unreadable(Refusal.MALFORMED, "the XML is not in the encoding it declares") from error
    return data if encoding in {b"utf-8", b"utf8"} else text.encode()

"""Text in XML 1.0, which cannot hold every text that an invoice can.

NUL, most control characters, U+FFFE and U+FFFF can stand in no XML 1.0 document, not even as references. An element
whose text has one shows U+FFFD in its place, which any parser reads, and says in the attribute `b:exact` what the text
was, with `\\uXXXX` for each such character and `\\\\` for a backslash. Readers believe `b:exact` only if it shows as
the text does. A carriage return is written as a reference, since parsers turn plain ones into line feeds.
"""

from __future__ import annotations

import re
from typing import Final

EXTENSION: Final = "urn:billow:einvoice:1"  # the namespace of what the law's format has no place for, prefix b
SHOWN: Final = "\ufffd"

_SPECIAL: Final = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ILLEGAL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_UNPLAIN: Final = re.compile('[&<"\\\\\x00-\x1f\ud800-\udfff\ufffe\uffff]')
_ESCAPED: Final = re.compile(r"\\(\\|u[0-9a-f]{4})?")
_REFERENCES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"}
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\\": "\\\\"}


def element(tag: str, text: str, attributes: str = "") -> str:
    """Writes an element in canonical form (C14N); `attributes` is written already and begins with a blank.

    Only attributes whose names come before `exact` can go with a text that may be illegal in XML.
    """
    if not _SPECIAL.search(text):
        return f"<{tag}{attributes}>{text}</{tag}>"
    if _ILLEGAL.search(text):
        attributes += attribute("exact", text)
    return f"<{tag}{attributes}>{content(text)}</{tag}>"


def content(text: str) -> str:
    """Writes the text of an element as it is shown."""
    return _SPECIAL.sub(lambda match: _REFERENCES.get(match[0], SHOWN), text)


def attribute(name: str, text: str) -> str:
    """Writes an attribute of the extension, escaped so that any text survives."""
    escaped = _UNPLAIN.sub(lambda match: _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}", text)
    return f' b:{name}="{escaped}"'


def shown(text: str) -> str:
    """The text as a reader of the element sees it."""
    return _ILLEGAL.sub(SHOWN, text)


def unescaped(text: str) -> str | None:
    """Reads what `attribute` wrote, as a parser gives it; None when it is no such text."""
    broken = False

    def original(match: re.Match[str]) -> str:
        nonlocal broken
        broken = broken or not match[1]
        return "\\" if not match[1] or match[1] == "\\" else chr(int(match[1][1:], 16))

    plain = _ESCAPED.sub(original, text)
    return None if broken else plain

"""What reading a document may find, in plain values: for those who ask for it and load no reader's library.

Documents that anybody may have made are read in processes of their own (server/document_reader_process.py); a server
neither needs lxml, pikepdf, reportlab and signxml nor has them in its memory.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

_ZIP: Final = b"PK\x03\x04"
_BOM: Final = b"\xef\xbb\xbf"
_PDF_MARK: Final = b"%PDF-"
_PDF_MARK_WITHIN: Final = 1_024  # bytes from the beginning, as readers of PDF have it


class Kind(enum.IntEnum):
    """What a document is; the values are those of billow.inspection.v1.DocumentKind."""

    XML = 1
    OFD = 2
    PDF = 3


class SignatureState(enum.StrEnum):
    """What a document's signature is worth."""

    UNSIGNED = "unsigned"
    VALID = "valid"  # the whole document is signed by a certificate that is trusted here
    UNKNOWN = "unknown"  # there is a signature, by nobody known here: it says nothing, either way
    BROKEN = "broken"  # a trusted certificate is named, and the document is not what it signed


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs: its path in billow.types.v1.Invoice, what the document says and what was issued."""

    path: str
    document: str
    issued: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A document beside the invoice as issued. `same_file`: also what stands beside the fields, but for a signature."""

    differences: tuple[Difference, ...]  # at most DIFFERENCES_MAX
    difference_count: int
    same_file: bool


def recognized(content: bytes) -> Kind | None:
    """Tells the format by the content, not by a name; None: neither XML nor OFD nor PDF."""
    if content.startswith(_ZIP):
        return Kind.OFD
    if content.removeprefix(_BOM).lstrip()[:1] == b"<":
        return Kind.XML
    return Kind.PDF if _PDF_MARK in content[:_PDF_MARK_WITHIN] else None

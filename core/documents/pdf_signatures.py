"""Telling what the signature on a PDF is worth, without parsing the PDF.

A signature counts when it covers every byte of the file but itself, so what surrounds it needs no understanding: the
bytes are those that were signed, or they are not. What somebody added later, be it another signature, makes the
document another one: broken.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Final

from core import limits
from core.documents import cms
from core.documents.findings import SignatureState
from core.documents.signatures import SignatureFinding, TrustedCertificates

_RANGE: Final = re.compile(
    rb"/ByteRange\s{0,4}\[\s{0,20}0\s{1,20}(\d{1,10})\s{1,20}(\d{1,10})\s{1,20}(\d{1,10})\s{0,20}\]"
)
_ANY: Final = b"/ByteRange"


def check_pdf_signature(content: bytes, trusted: TrustedCertificates) -> SignatureFinding:
    """Checks a PDF that anybody may have made: time and memory in proportion to its bytes, 2 ms for one of ours.

    Reads at most SIGNATURES_MAX signatures of at most SIGNATURE_BYTES_MAX; more of them, or longer, say nothing. What
    the PDF shows is not looked at. The caller compares the finding's seller with that of the invoice inside.
    """
    found: SignatureFinding | None = None
    ranges = []
    for match in _RANGE.finditer(content):
        ranges.append(tuple(map(int, match.groups())))
        if len(ranges) > limits.SIGNATURES_MAX:
            return SignatureFinding(state=SignatureState.UNKNOWN)
    for start, end, after in ranges:
        signature = _between(content, start, end)
        certificate = cms.named(signature) if signature else None
        found = trusted.find(certificate) if certificate else None
        if found is None or found.certificate is None or signature is None:
            continue
        if len(ranges) != 1 or content.count(_ANY) != 1 or end + after != len(content):
            return found
        view = memoryview(content)
        digest = hashlib.sha256(view[:start])
        digest.update(view[end:])
        if not cms.verify(signature, digest=digest.digest(), certificate=found.certificate):
            return found
        return replace(found, state=SignatureState.VALID)
    return SignatureFinding(state=SignatureState.UNKNOWN if _ANY in content else SignatureState.UNSIGNED)


def _between(content: bytes, start: int, end: int) -> bytes | None:
    """The signature in the gap of a range: hexadecimal digits in angle brackets, with zeros behind the DER."""
    if not (0 < start < end <= len(content)) or end - start > 2 * limits.SIGNATURE_BYTES_MAX + 2:
        return None
    if content[start : start + 1] != b"<" or content[end - 1 : end] != b">":
        return None
    try:
        padded = bytes.fromhex(content[start + 1 : end - 1].decode("ascii"))
    except ValueError:
        return None
    length = _der_length(padded)
    if length is None or padded[length:].strip(b"\0"):
        return None
    return padded[:length]


def _der_length(padded: bytes) -> int | None:
    """How long the DER element is that the bytes begin with."""
    if len(padded) < 6 or padded[0] != 0x30 or padded[1] not in {0x82, 0x83}:
        return None  # any signature with a certificate is longer than 255 bytes
    octets = padded[1] & 0x7F
    length = 2 + octets + int.from_bytes(padded[2 : 2 + octets], "big")
    return length if length <= len(padded) else None

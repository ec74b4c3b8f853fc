"""The text of the QR code on an invoice's face (DOMAIN.md, "QR on the face").

The law's own programs end it with four hexadecimal digits whose making is not published. Billow's are the CRC-16 of
all that stands before them (CCITT polynomial 0x1021, start 0, as binascii.crc_hqx), so that a misread code is seen.
They prove nothing: whether an invoice is real, verification tells.
"""

from __future__ import annotations

import binascii
from typing import Final

from core.domain.decimals import minor_text
from core.domain.kinds import InvoiceKind

VERSION: Final = "01"
KINDS: Final = {InvoiceKind.SPECIAL: "31", InvoiceKind.GENERAL: "32"}


def qr_text(*, kind: int, number: str, gross_total_minor: int, issue_date: int) -> str:
    """Returns the text: version, kind, no code, number, total with tax, date (yyyymmdd), no check code, 4 hex digits.

    `issue_date` is a number, yyyymmdd. Raises ValueError for a kind that has no QR code.
    """
    first = f"{VERSION},{KINDS[InvoiceKind(kind)]},,{number},{minor_text(gross_total_minor)},{issue_date:08d},,"
    return f"{first}{binascii.crc_hqx(first.encode(), 0):04X}"

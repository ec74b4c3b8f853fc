"""The canonical body of an invoice: the bytes that are digested, archived and given back for ever.

A body is a serialised billow.types.v1.Invoice made of two parts: the prepared part, everything known before the
number is (the caller's fields as completed, and the seller), and a suffix with the issue time and the number.
Protobuf concatenates: prepared + suffix is one message, and since the suffix holds the highest field numbers it is
also what a deterministic serialiser writes. So inside the transaction that takes the number nothing is serialised
again (docs/adr/0006).
"""

from __future__ import annotations

from typing import Final

NUMBER_TAG: Final = b"\x92\x02\x14"  # field 34, length-delimited, 20 bytes
TIME_TAG: Final = b"\x8a\x02"  # field 33, length-delimited
SELLER_TAG: Final = b"\x82\x02"  # field 32, length-delimited

US_PER_S: Final = 1_000_000


def varint(value: int) -> bytes:
    """Encodes a non-negative integer as a protobuf varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def seller_part(party: bytes) -> bytes:
    """Wraps a serialised Party as the field `seller` of an invoice."""
    return SELLER_TAG + varint(len(party)) + party


def time_part(issued_at_us: int) -> bytes:
    """Encodes the field `issue_time`, a Timestamp, from microseconds since the epoch."""
    seconds, micros = divmod(issued_at_us, US_PER_S)
    stamp = b"\x08" + varint(seconds) if seconds else b""
    if micros:
        stamp += b"\x10" + varint(micros * 1_000)
    return TIME_TAG + varint(len(stamp)) + stamp


def suffix(issued_at_us: int, number: str) -> bytes:
    """Returns what follows the prepared part of the body of invoice `number`, 20 digits."""
    return time_part(issued_at_us) + NUMBER_TAG + number.encode()

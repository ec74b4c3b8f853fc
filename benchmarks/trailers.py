"""How a call ended, read from the header block of its end (HPACK): its gRPC status, and whether it says when to retry.

Read only of calls without a message, but of all of those, and three times capacity refuses most: a whole decoder took
300 µs a refusal, of which a generator on the servers' own cores has none to spare. So a block is cut into its fields,
and of these only the three that matter are decoded, once for equal bytes. The header table has size 0, so that a block
can be read without those before it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from hpack import Decoder
from hpack.exceptions import HPACKError

OK: Final = 0
RESOURCE_EXHAUSTED: Final = 8
NO_STATUS: Final = -1  # reset, hung up, or not readable
KEPT: Final = 1_000  # fields, and endings, that are remembered
STATUS, MESSAGE, DETAILS = b"grpc-status", b"grpc-message", b"grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended."""

    status: int
    retry_info: bool = False
    words: str = ""

    @property
    def refused(self) -> bool:
        """Whether it was refused as overload should be (P9): RESOURCE_EXHAUSTED with RetryInfo."""
        return self.status == RESOURCE_EXHAUSTED and self.retry_info


ANSWERED: Final = Ending(OK)
CUT_OFF: Final = Ending(NO_STATUS, words="cut off")


def ending(block: bytes) -> Ending:
    """Reads a header block; anything that is no such block counts as cut off. About 10 µs for one like others."""
    told = {STATUS: b"-1", MESSAGE: b"", DETAILS: b""}
    try:
        for name, field in _fields(block):
            if name and _header(name + b"\x00")[0] in told:
                key, value = _header(field)
                told[key] = value
        return _ending(told[STATUS], told[MESSAGE], told[DETAILS])
    except (HPACKError, IndexError, ValueError, DecodeError):
        return CUT_OFF


@lru_cache(KEPT)
def _ending(status: bytes, message: bytes, details: bytes) -> Ending:
    """Reads the three headers."""
    told = status_pb2.Status.FromString(base64.b64decode(details + b"=" * (-len(details) % 4)))
    return Ending(int(status), has_retry_info(told), message.decode("latin-1"))


@lru_cache(KEPT)
def _header(field: bytes) -> tuple[bytes, bytes]:
    """Decodes one field, as name and value."""
    decoder = Decoder()
    decoder.max_allowed_table_size = decoder.header_table_size = 0  # Envoy says so in a connection's first block only
    ((name, value),) = decoder.decode(field, raw=True)
    return bytes(name), bytes(value)


def _fields(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Cuts a block into its fields (RFC 7541, 6), as the bytes up to the name's end and all bytes.

    Changes of the table's size are left out; a field that stands for a whole entry has no name of its own. Raises
    IndexError when the block ends too soon.
    """
    start, end = 0, len(block)
    while start < end:
        first = block[start]
        if first & 0x80:  # an entry of the table, name and value
            place = _integer(block, start, 7)[1]
            yield b"", block[start:place]
        elif first & 0xE0 == 0x20:  # the table's size
            place = _integer(block, start, 5)[1]
        else:
            index, place = _integer(block, start, 6 if first & 0x40 else 4)
            name_end = place if index else _past_text(block, place)
            place = _past_text(block, name_end)
            if place > end:
                raise IndexError(place)
            yield block[start:name_end], block[start:place]
        start = place


def _past_text(block: bytes, start: int) -> int:
    """Where a string that begins here has its end."""
    length, place = _integer(block, start, 7)
    return place + length


def _integer(block: bytes, start: int, bits: int) -> tuple[int, int]:
    """Reads an integer of which the first byte has so many bits (RFC 7541, 5.1); returns it, and where it ends."""
    most = (1 << bits) - 1
    value = block[start] & most
    start += 1
    if value < most:
        return value, start
    shift = 0
    while True:
        byte = block[start]
        start += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7


def has_retry_info(status: status_pb2.Status) -> bool:
    """Whether a Status says when to try again."""
    return any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)

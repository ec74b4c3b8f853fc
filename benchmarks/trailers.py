"""How a call ended, read from the header block of its end (HPACK): its gRPC status, and whether it says when to retry.

Read only of calls without a message, so what it costs does not matter. The header table has size 0, so that a block
can be read without those before it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from hpack import Decoder
from hpack.exceptions import HPACKError

OK: Final = 0
RESOURCE_EXHAUSTED: Final = 8
NO_STATUS: Final = -1  # reset, hung up, or not readable


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
    """Reads a header block; anything that is no such block counts as cut off."""
    decoder = Decoder()
    decoder.max_allowed_table_size = decoder.header_table_size = 0  # Envoy says so in a connection's first block only
    try:
        headers = {bytes(name): bytes(value) for name, value in decoder.decode(block, raw=True)}
        status = int(headers.get(b"grpc-status", b"-1"))
        details = headers.get(b"grpc-status-details-bin", b"")
        told = status_pb2.Status.FromString(base64.b64decode(details + b"=" * (-len(details) % 4)))
    except (HPACKError, ValueError, DecodeError):
        return CUT_OFF
    return Ending(status, has_retry_info(told), headers.get(b"grpc-message", b"").decode("latin-1"))


def has_retry_info(status: status_pb2.Status) -> bool:
    """Whether a Status says when to try again."""
    return any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)

"""How benchmarks read the end of a call."""

from __future__ import annotations

import base64

import pytest
from hpack import Encoder

from benchmarks.trailers import CUT_OFF, NO_STATUS, RESOURCE_EXHAUSTED, ending
from core.domain.errors import BillowError, Reason
from server.convert import errors


def block(*headers: tuple[str, str], huffman: bool = True) -> bytes:
    """A header block as Envoy writes it: no table."""
    encoder = Encoder()
    encoder.header_table_size = 0
    encoded: bytes = encoder.encode(list(headers), huffman=huffman)
    return encoded


def details(error: BillowError) -> str:
    """The details of an error as gRPC writes them: base64 without padding."""
    return base64.b64encode(errors.status(error, "req").SerializeToString()).decode().rstrip("=")


@pytest.mark.parametrize("huffman", [True, False])
def test_a_refusal_with_retry_info_is_told_from_others(huffman: bool) -> None:
    error = BillowError(Reason.OVERLOADED, "too much", retry_delay_ms=500)
    told = ending(
        block(
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "8"),
            ("grpc-message", "too much"),
            ("grpc-status-details-bin", details(error)),
            huffman=huffman,
        )
    )
    assert (told.status, told.retry_info, told.words) == (RESOURCE_EXHAUSTED, True, "too much")
    assert told.refused


def test_a_refusal_without_retry_info_is_a_failure() -> None:
    error = BillowError(Reason.OVERLOADED, "too much")
    assert not ending(block(("grpc-status", "8"), ("grpc-status-details-bin", details(error)))).refused
    assert not ending(block(("grpc-status", "8"))).refused


def test_a_later_block_of_a_connection_says_nothing_of_the_table() -> None:
    first, later = block(("grpc-status", "14")), block(("grpc-status", "14"))[1:]
    assert first[:1] == b"\x20"
    assert later[:1] != b"\x20"
    assert ending(first).status == ending(later).status == 14


def test_another_status_is_no_refusal() -> None:
    error = BillowError(Reason.STORAGE_UNAVAILABLE, "away", retry_delay_ms=500)
    told = ending(block(("grpc-status", "14"), ("grpc-status-details-bin", details(error))))
    assert (told.status, told.refused) == (14, False)


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff\xff\xff", b"\x00\x7f"])
def test_what_cannot_be_read_counts_as_cut_off(garbage: bytes) -> None:
    assert ending(garbage) == CUT_OFF


def test_no_status_at_all() -> None:
    assert ending(block((":status", "503"))).status == NO_STATUS

"""Bodies: prepared part + suffix is the canonical serialisation; blocks and runs round trip and notice damage."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from billow.types.v1.invoice_pb2 import Invoice, Party
from core.domain import body
from core.storage import block
from tests.support.invoices import good_invoice

NUMBER = "26110000000000000042"


@given(issued_at_us=st.integers(min_value=0, max_value=4_000_000_000_000_000), name=st.text(max_size=100))
def test_prepared_and_suffix_are_the_canonical_serialisation(issued_at_us: int, name: str) -> None:
    party = Party(name=name, tax_id="91110000000000000X")
    prepared = good_invoice().SerializeToString(deterministic=True) + body.seller_part(
        party.SerializeToString(deterministic=True)
    )
    whole = prepared + body.suffix(issued_at_us, NUMBER)
    invoice = Invoice.FromString(whole)
    assert invoice.number == NUMBER
    assert invoice.seller == party
    assert invoice.issue_time.ToMicroseconds() == issued_at_us
    assert invoice.SerializeToString(deterministic=True) == whole


@given(st.lists(st.tuples(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64), st.binary())))
def test_blocks_round_trip(items: list[tuple[str, bytes]]) -> None:
    request_ids = [request_id for request_id, _ in items]
    bodies = [item for _, item in items]
    assert block.unpack(block.pack(request_ids, bodies)) == block.Block(request_ids=request_ids, bodies=bodies)


def test_a_damaged_block_is_noticed() -> None:
    packed = block.pack(["a", "b"], [b"x" * 100, b"y" * 50])
    for damaged in (b"", packed[:-1], b"not zstd", zstandard.compress(b"\x09\x00\x00\x00abc")):
        with pytest.raises(block.BlockCorrupt):
            block.unpack(damaged)


def test_runs_that_follow_one_another_are_merged() -> None:
    runs = [
        block.Run(seller, 2, f"{first:020d}", count)
        for seller, first, count in (
            (7, 70, 5),
            (1, 10, 3),
            (1, 13, 1),
            (1, 20, 2),
            (1, 14, 6),
            (7, 75, 1),
            (7, 77, 1),
            (1, 12, 2),
        )
    ]
    assert block.merged(runs) == [(10, 21), (70, 75), (77, 77)]
    assert block.merged([]) == []


def test_runs_round_trip_and_number_every_position() -> None:
    runs = [block.Run(1, 2, "26110000000000000098", 3), block.Run(9, 1, "26119999999999999999", 1)]
    assert block.unpack_runs(block.pack_runs(runs)) == runs
    assert block.numbers(runs) == [
        "26110000000000000098",
        "26110000000000000099",
        "26110000000000000100",
        "26119999999999999999",
    ]
    with pytest.raises(block.BlockCorrupt):
        block.unpack_runs(block.pack_runs(runs)[:-1])

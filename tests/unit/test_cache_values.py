"""What lies in Redis reads back as it was, and strange bytes count as absent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.storage.ports import Issued, VerificationEntry
from core.storage.redis import keys, values

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
UINT8 = st.integers(min_value=0, max_value=255)
UINT64 = st.integers(min_value=0, max_value=2**64 - 1)
NUMBER = st.from_regex(r"[0-9]{20}", fullmatch=True)
TAX_ID = st.from_regex(r"[0-9A-Z]{0,20}", fullmatch=True)
REQUEST_ID = st.from_regex(r"[ -~]{1,64}", fullmatch=True)
DIGEST = st.binary(min_size=32, max_size=32)

ISSUED = st.builds(
    Issued,
    number=NUMBER,
    seller_key=st.integers(min_value=1, max_value=2**32 - 1),
    request_id=REQUEST_ID,
    request_sha256=DIGEST,
    kind=UINT8,
    color=UINT8,
    issued_at_us=UINT64,
    net_total_minor=INT64,
    tax_total_minor=INT64,
    gross_total_minor=INT64,
    buyer_tax_id=TAX_ID,
    body_sha256=DIGEST,
)
ENTRY = st.builds(
    VerificationEntry,
    number=NUMBER,
    issued_at_us=UINT64,
    kind=UINT8,
    net_total_minor=INT64,
    gross_total_minor=INT64,
    red_total_minor=INT64,
    seller_tax_id=TAX_ID,
    buyer_tax_id=TAX_ID,
)


@given(ISSUED)
def test_answers_read_back(issued: Issued) -> None:
    data = values.pack_answer(issued)
    assert values.unpack_answer(issued.seller_key, issued.request_id, data) == issued
    assert values.unpack_answer(issued.seller_key, issued.request_id, b"\x02" + data[1:]) is None


@given(ENTRY)
def test_entries_read_back(entry: VerificationEntry) -> None:
    data = values.pack_entry(entry)
    assert values.unpack_entry(entry.number, data) == entry
    assert values.unpack_entry(entry.number, b"\x00" + data[1:]) is None


@given(ISSUED, TAX_ID)
def test_an_issued_invoice_makes_the_entry_that_would_be_read(issued: Issued, seller_tax_id: str) -> None:
    entry = VerificationEntry(
        issued.number,
        issued.issued_at_us,
        issued.kind,
        issued.net_total_minor,
        issued.gross_total_minor,
        0,
        seller_tax_id,
        issued.buyer_tax_id,
    )
    assert values.pack_issued_entry(issued, seller_tax_id.encode()) == values.pack_entry(entry)


@given(st.binary(max_size=300))
def test_strange_bytes_never_raise(data: bytes) -> None:
    values.unpack_answer(1, "r", data)
    values.unpack_entry("1" * 20, data)


@given(st.lists(st.tuples(st.integers(min_value=1, max_value=10**6), REQUEST_ID), unique=True, max_size=20))
def test_no_two_requests_share_a_key(requests: list[tuple[int, str]]) -> None:
    assert len({keys.request_key(*request) for request in requests}) == len(requests)

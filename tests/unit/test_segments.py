"""Segments: round trip, determinism, readable by others, ranged reads, damage is noticed (P6)."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.storage import block, segments
from core.storage.block import BlockCorrupt, Run
from core.storage.memory.objects import MemoryObjectStore
from core.storage.ports import BatchRow, ObjectMissing, Segment
from core.storage.segment_reader import FOOTER_GUESS_BYTES, SegmentReader
from core.storage.segments import Columns, SegmentCorrupt
from tests.support.issuing import TestSeller
from workers.packing import pack

SELLER = TestSeller(seller_key=7, tax_id="911100000000000077")
DAY_US = 86_400 * 1_000_000
ISSUED_US = 1_795_376_043_123_456  # 2026-11-22


def batch(batch_id: int, items: int, *, lines: int = 1, first: int = 0) -> BatchRow:
    drafts = [SELLER.draft(f"b{batch_id}-{place}", lines=lines, serial=place + 1) for place in range(items)]
    return BatchRow(
        batch_id=batch_id,
        issued_at_us=ISSUED_US + batch_id,
        items=items,
        runs=[Run(SELLER.seller_key, 2, f"{26 * 10**18 + first:020d}", items)],
        block=block.pack([draft.request_id for draft in drafts], [draft.prepared for draft in drafts]),
        segment_id=None,
        segment_row=None,
    )


def columns_of(data: bytes) -> Columns:
    whole = Columns()
    for group in segments.rows(data):
        whole.extend(group)
    return whole


def test_packed_batches_come_back_row_by_row() -> None:
    batches = [batch(1, 3, first=0), batch(2, 2, lines=3, first=50)]
    packing = pack(batches, retention_days=30)
    columns = columns_of(packing.data)
    assert columns.number == [f"{26 * 10**18 + place:020d}" for place in (0, 1, 2, 50, 51)]
    assert columns.request_id == ["b1-0", "b1-1", "b1-2", "b2-0", "b2-1"]
    assert list(zip(columns.batch_id, columns.batch_position, strict=True)) == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]
    assert columns.issued_at == [ISSUED_US + 1] * 3 + [ISSUED_US + 2] * 2
    assert columns.body_sha256 == [hashlib.sha256(body).digest() for body in columns.body]
    assert columns.gross_total_minor == [11_300] * 3 + [33_900] * 2
    assert set(columns.seller_tax_id) == {SELLER.tax_id}
    assert set(columns.color) == {1}
    packed = packing.packed
    assert (packed.invoices, packed.size_bytes, packed.batches) == (5, len(packing.data), batches)
    assert packed.sha256 == hashlib.sha256(packing.data).digest()
    assert packed.object_key == f"segments/2026/11/22/{packed.sha256.hex()}.parquet"


def test_the_same_batches_make_the_same_bytes() -> None:
    batches = [batch(1, 30), batch(2, 20, first=100)]
    assert pack(batches, retention_days=1) == pack(batches, retention_days=1)
    assert pack(batches[::-1], retention_days=1).packed.sha256 != pack(batches, retention_days=1).packed.sha256


def test_the_lock_covers_the_last_invoice_in_full() -> None:
    until = segments.retain_until_us(ISSUED_US, 30)
    assert ISSUED_US + 30 * DAY_US < until <= ISSUED_US + 31 * DAY_US
    assert datetime.fromtimestamp(until // 1_000_000, UTC) == datetime(2026, 12, 23, tzinfo=UTC)


def test_a_bad_batch_does_not_hold_up_the_others() -> None:
    good, bad = batch(1, 3), batch(2, 2, first=10)
    damaged = BatchRow(bad.batch_id, bad.issued_at_us, bad.items, bad.runs, b"damaged", None, None)
    short = BatchRow(3, bad.issued_at_us, 5, bad.runs, bad.block, None, None)
    no_invoice = BatchRow(4, bad.issued_at_us, 1, [Run(7, 2, "0" * 20, 1)], block.pack(["r"], [b"\xff"]), None, None)
    packing = pack([good, damaged, short, no_invoice], retention_days=1)
    assert packing.packed.batches == [good]
    assert packing.refused.keys() == {2, 3, 4}
    assert packing.data == pack([good], retention_days=1).data
    with pytest.raises(BlockCorrupt):
        pack([damaged], retention_days=1)


def test_other_tools_read_it_as_a_table(tmp_path: Path) -> None:
    file = tmp_path / "segment.parquet"
    file.write_bytes(pack([batch(1, 3)], retention_days=1).data)
    table = pq.read_table(file)
    assert table.column("issued_at").to_pylist()[0] == datetime.fromtimestamp(ISSUED_US // 10**6, UTC).replace(
        microsecond=(ISSUED_US + 1) % 10**6
    )
    found = duckdb.execute(
        "SELECT COUNT(*), SUM(gross_total_minor)::BIGINT, MAX(octet_length(body)) > 0, MIN(number),"
        " BOOL_AND(unhex(sha256(body)) = body_sha256) FROM read_parquet(?)",
        [str(file)],
    ).fetchall()
    assert found == [(3, 33_900, True, f"{26 * 10**18:020d}", True)]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
rows = st.lists(st.tuples(texts, st.binary(max_size=200), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=30)


@settings(max_examples=30, deadline=None)
@given(rows)
def test_every_value_round_trips(items: list[tuple[str, bytes, int]]) -> None:
    count = len(items)
    whole = Columns(
        number=[text for text, _, _ in items],
        seller_key=[2**32 - 1] * count,
        seller_tax_id=[text for text, _, _ in items],
        request_id=[text for text, _, _ in items],
        kind=[1] * count,
        color=[2] * count,
        issued_at=list(range(count)),
        currency=["CNY"] * count,
        net_total_minor=[amount for _, _, amount in items],
        tax_total_minor=[0] * count,
        gross_total_minor=[amount for _, _, amount in items],
        buyer_name=[text for text, _, _ in items],
        buyer_tax_id=[""] * count,
        body=[body for _, body, _ in items],
        body_sha256=[hashlib.sha256(body).digest() for _, body, _ in items],
        batch_id=[2**62] * count,
        batch_position=list(range(count)),
    )
    assert columns_of(segments.write(whole)) == whole


def test_what_is_no_segment_is_refused() -> None:
    data = pack([batch(1, 3)], retention_days=1).data
    foreign = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(data)).replace_schema_metadata(None), foreign)
    for damaged in (b"", b"PAR1", data[:-20], data[:100] + bytes(200) + data[300:], foreign.getvalue()):
        with pytest.raises(SegmentCorrupt):
            columns_of(damaged)


class CountingStore(MemoryObjectStore):
    """Counts reads and bytes read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []

    async def read(self, key: str, *, start: int, length: int) -> bytes:
        data = await super().read(key, start=start, length=length)
        self.reads.append(len(data))
        return data


async def stored(batches: list[BatchRow], *, segment_id: int = 1) -> tuple[CountingStore, Segment, Columns]:
    packing = pack(batches, retention_days=1)
    packed, objects = packing.packed, CountingStore()
    await objects.put(packed.object_key, packing.data, retain_until_us=packed.retain_until_us)
    record = Segment(segment_id, packed.object_key, packed.sha256, packed.size_bytes, packed.invoices, 0, 0)
    return objects, record, columns_of(packing.data)


async def test_one_body_costs_one_ranged_read_once_the_footer_is_known() -> None:
    objects, segment, columns = await stored([batch(place, 500, first=place * 500) for place in range(1, 6)])
    reader = SegmentReader(objects=objects)
    for row in (0, 999, 1_000, 1_999, 2_000, 2_499):
        assert await reader.read_body(segment, row) == columns.body[row]
    footer, *chunks = objects.reads
    assert footer <= FOOTER_GUESS_BYTES
    assert len(chunks) == 6
    assert max(chunks) < segment.size_bytes / 2


async def test_a_footer_longer_than_guessed_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.segment_reader.FOOTER_GUESS_BYTES", 100)
    objects, segment, columns = await stored([batch(1, 5)])
    assert await SegmentReader(objects=objects).read_body(segment, 4) == columns.body[4]
    assert len(objects.reads) == 3


async def test_remembered_footers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.segment_reader.FOOTERS_MAX", 2)
    objects, first, columns = await stored([batch(1, 2)])
    reader = SegmentReader(objects=objects)
    others = [Segment(number, first.object_key, first.sha256, first.size_bytes, 2, 0, 0) for number in (2, 3)]
    for segment in (first, *others, first):
        assert await reader.read_body(segment, 1) == columns.body[1]
    assert len(objects.reads) == 8  # the first one's footer was forgotten


async def test_rows_and_objects_that_are_not_there() -> None:
    objects, segment, _ = await stored([batch(1, 2)])
    reader = SegmentReader(objects=objects)
    for row in (-1, 2):
        with pytest.raises(SegmentCorrupt):
            await reader.read_body(segment, row)
    with pytest.raises(ObjectMissing):
        await reader.read_body(Segment(9, "segments/none", b"", 100, 1, 0, 0), 0)
    objects.objects[segment.object_key] = bytes(segment.size_bytes)
    with pytest.raises(SegmentCorrupt):
        await SegmentReader(objects=objects).read_body(segment, 0)

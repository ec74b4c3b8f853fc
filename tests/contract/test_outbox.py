"""The outbox and its twin: claims, leases, archiving all or nothing (P6)."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from core.storage.block import numbers, unpack
from core.storage.mysql import outbox as mysql_outbox
from core.storage.ports import BatchRow, Claim, LeaseLost, PackedSegment
from stack import Stack
from tests.contract.outbox_subjects import MemoryOutboxSubject, MySQLOutboxSubject, OutboxSubject
from tests.support.databases import own_stores

CLAIM = Claim(owner="worker-1", batches_max=100, invoices_max=10_000, bytes_max=10**8, lease_ms=60_000, age_min_ms=0)
OTHER = replace(CLAIM, owner="worker-2")
HOUR_MS = 3_600_000


@pytest.fixture(params=["memory", "mysql"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OutboxSubject]:
    if request.param == "memory":
        yield MemoryOutboxSubject()
        return
    stack: Stack = request.getfixturevalue("data_stores")
    async with own_stores(stack, tmp_path) as stores:
        yield MySQLOutboxSubject(stores)


def packed(batches: Sequence[BatchRow], name: str = "segments/x.parquet") -> PackedSegment:
    return PackedSegment(
        object_key=name,
        sha256=hashlib.sha256(name.encode()).digest(),
        size_bytes=1_000,
        invoices=sum(batch.items for batch in batches),
        retain_until_us=time.time_ns() // 1_000 + 86_400_000_000,
        batches=batches,
    )


def ids(batches: Sequence[BatchRow]) -> list[int]:
    return [batch.batch_id for batch in batches]


async def test_a_claim_brings_bodies_and_numbers(subject: OutboxSubject) -> None:
    issued = await subject.issue(3) + await subject.issue(2)
    batches = await subject.outbox.claim(CLAIM)
    assert [batch.items for batch in batches] == [3, 2]
    assert [number for batch in batches for number in numbers(batch.runs)] == [item.number for item in issued]
    unpacked = [unpack(batch.block or b"") for batch in batches]
    assert [name for block in unpacked for name in block.request_ids] == [item.request_id for item in issued]
    assert batches[0].issued_at_us == issued[0].issued_at_us


async def test_what_is_leased_is_not_claimed_again(subject: OutboxSubject) -> None:
    await subject.issue(1)
    first = await subject.outbox.claim(CLAIM)
    assert len(first) == 1
    assert await subject.outbox.claim(OTHER) == []
    assert await subject.outbox.claim(CLAIM) == []
    await subject.issue(1)
    second = await subject.outbox.claim(OTHER)
    assert len(second) == 1
    assert ids(second) != ids(first)


async def test_simultaneous_claims_share_the_batches(subject: OutboxSubject) -> None:
    for _ in range(12):
        await subject.issue(1)
    wanted = [replace(CLAIM, owner=f"worker-{slot}", batches_max=5) for slot in range(4)]
    claimed = [batch for found in await asyncio.gather(*map(subject.outbox.claim, wanted)) for batch in ids(found)]
    while found := await subject.outbox.claim(replace(CLAIM, owner="last")):  # what a locked row kept from them
        claimed += ids(found)
    assert len(claimed) == len(set(claimed)) == 12


async def test_a_lease_that_ran_out_is_free(subject: OutboxSubject) -> None:
    await subject.issue(1)
    first = await subject.outbox.claim(replace(CLAIM, lease_ms=1))
    await asyncio.sleep(0.01)
    assert ids(await subject.outbox.claim(OTHER)) == ids(first)


async def test_leases_can_be_given_back(subject: OutboxSubject) -> None:
    for _ in range(3):
        await subject.issue(1)
    claimed = ids(await subject.outbox.claim(CLAIM))
    assert await subject.outbox.release(owner="worker-2", batch_ids=claimed) == 0
    assert await subject.outbox.release(owner="worker-1", batch_ids=[]) == 0
    assert await subject.outbox.release(owner="worker-1", batch_ids=claimed[:1]) == 1
    assert ids(await subject.outbox.claim(OTHER)) == claimed[:1]
    assert await subject.outbox.release(owner="worker-1") == 2
    assert ids(await subject.outbox.claim(OTHER)) == claimed[1:]


async def test_a_claim_stays_within_its_maxima(subject: OutboxSubject) -> None:
    for invoices in (3, 3, 3, 3, 20):
        await subject.issue(invoices)
    outbox = subject.outbox
    assert [batch.items for batch in await outbox.claim(replace(CLAIM, batches_max=2))] == [3, 3]
    assert [batch.items for batch in await outbox.claim(replace(CLAIM, invoices_max=5))] == [3]
    assert [batch.items for batch in await outbox.claim(replace(CLAIM, bytes_max=1))] == [3]  # at least one
    assert [batch.items for batch in await outbox.claim(replace(CLAIM, invoices_max=5))] == [20]


async def test_what_does_not_fit_is_free_for_others(subject: OutboxSubject) -> None:
    for _ in range(3):
        await subject.issue(2)
    assert len(await subject.outbox.claim(replace(CLAIM, bytes_max=1))) == 1
    assert len(await subject.outbox.claim(OTHER)) == 2


async def test_young_batches_wait_until_there_is_enough(subject: OutboxSubject) -> None:
    patient = replace(CLAIM, age_min_ms=HOUR_MS, batches_max=3, invoices_max=10)
    assert await subject.outbox.claim(patient) == []
    await subject.issue(2)
    await subject.issue(2)
    assert await subject.outbox.claim(patient) == []
    assert len(await subject.outbox.claim(replace(patient, batches_max=2))) == 2
    await subject.issue(6)
    assert await subject.outbox.claim(patient) == []
    await subject.issue(6)
    assert [batch.items for batch in await subject.outbox.claim(patient)] == [6]


async def test_what_a_clock_ahead_issued_does_not_wait_for_its_time(subject: OutboxSubject) -> None:
    patient = replace(CLAIM, age_min_ms=HOUR_MS)
    await subject.issue(2)
    (batch,) = await subject.outbox.claim(CLAIM)
    await subject.outbox.release(owner="worker-1")
    assert await subject.outbox.claim(patient) == []
    await subject.date(batch.batch_id, batch.issued_at_us + 30 * 24 * HOUR_MS * 1_000)
    assert ids(await subject.outbox.claim(patient)) == [batch.batch_id]


async def test_a_lease_of_a_clock_ahead_is_free(subject: OutboxSubject) -> None:
    await subject.issue(1)
    first = await subject.outbox.claim(replace(CLAIM, lease_ms=HOUR_MS))
    assert await subject.outbox.claim(replace(OTHER, lease_ms=HOUR_MS)) == []
    assert ids(await subject.outbox.claim(OTHER)) == ids(first)


async def test_archiving_moves_the_batches(subject: OutboxSubject) -> None:
    await subject.issue(3)
    await subject.issue(2)
    batches = await subject.outbox.claim(CLAIM)
    wanted = packed(batches)
    segment_id = await subject.outbox.archive(owner="worker-1", packed=wanted, now_us=42)
    segment = await subject.segment(segment_id)
    assert segment is not None
    assert (segment.object_key, segment.sha256, segment.size_bytes) == (
        wanted.object_key,
        wanted.sha256,
        wanted.size_bytes,
    )
    assert (segment.invoices, segment.created_at_us, segment.retain_until_us) == (5, 42, wanted.retain_until_us)
    moved = [await subject.batch(batch.batch_id) for batch in batches]
    assert [(batch.block, batch.segment_id, batch.segment_row) for batch in moved if batch] == [
        (None, segment_id, 0),
        (None, segment_id, 3),
    ]
    assert await subject.outbox.claim(CLAIM) == []
    assert await subject.outbox.release(owner="worker-1") == 0


@pytest.mark.parametrize("count", [3, 4, 7])
async def test_many_batches_are_marked_in_pieces(
    subject: OutboxSubject, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """P6: each gets its own place in the segment, and one that was lost takes all with it."""
    monkeypatch.setattr(mysql_outbox, "CASES_MAX", 3)
    for items in range(1, count + 1):
        await subject.issue(items)
    batches = await subject.outbox.claim(CLAIM)
    await subject.outbox.release(owner="worker-1", batch_ids=ids(batches)[-1:])
    with pytest.raises(LeaseLost):
        await subject.outbox.archive(owner="worker-1", packed=packed(batches), now_us=1)
    assert [row.segment_id for row in [await subject.batch(batch.batch_id) for batch in batches] if row] == [
        None
    ] * count
    batches = [*batches[:-1], *await subject.outbox.claim(CLAIM)]
    segment_id = await subject.outbox.archive(owner="worker-1", packed=packed(batches), now_us=1)
    rows = [await subject.batch(batch.batch_id) for batch in batches]
    places = [(segment_id, sum(range(1, items + 1))) for items in range(count)]
    assert [(row.segment_id, row.segment_row) for row in rows if row] == places


async def test_archiving_twice_is_refused(subject: OutboxSubject) -> None:
    await subject.issue(1)
    batches = await subject.outbox.claim(CLAIM)
    await subject.outbox.archive(owner="worker-1", packed=packed(batches), now_us=1)
    for name in ("segments/x.parquet", "segments/y.parquet"):
        with pytest.raises(LeaseLost):
            await subject.outbox.archive(owner="worker-1", packed=packed(batches, name), now_us=1)
    assert await subject.segment(2) is None


async def test_a_lost_lease_archives_nothing(subject: OutboxSubject) -> None:
    await subject.issue(1)
    await subject.issue(1)
    batches = await subject.outbox.claim(CLAIM)
    await subject.outbox.release(owner="worker-1", batch_ids=ids(batches)[1:])
    assert len(await subject.outbox.claim(OTHER)) == 1
    with pytest.raises(LeaseLost):
        await subject.outbox.archive(owner="worker-1", packed=packed(batches), now_us=1)
    assert await subject.segment(1) is None
    for batch in batches:
        row = await subject.batch(batch.batch_id)
        assert row is not None
        assert row.segment_id is None
        assert row.block == batch.block
    segment_id = await subject.outbox.archive(owner="worker-2", packed=packed(batches[1:]), now_us=1)
    assert await subject.segment(segment_id) is not None


async def test_a_lease_that_ran_out_but_was_not_taken_still_counts(subject: OutboxSubject) -> None:
    await subject.issue(1)
    batches = await subject.outbox.claim(replace(CLAIM, lease_ms=1))
    await asyncio.sleep(0.01)
    await subject.outbox.archive(owner="worker-1", packed=packed(batches), now_us=1)
    assert await subject.outbox.backlog() == (0, 0)


async def test_the_backlog_counts_leased_batches_too(subject: OutboxSubject) -> None:
    assert await subject.outbox.backlog() == (0, 0)
    first = (await subject.issue(1))[0]
    await subject.issue(1)
    assert await subject.outbox.backlog() == (2, first.issued_at_us)
    batches = await subject.outbox.claim(replace(CLAIM, batches_max=1))
    assert (await subject.outbox.backlog())[0] == 2
    await subject.outbox.archive(owner="worker-1", packed=packed(batches), now_us=1)
    assert (await subject.outbox.backlog())[0] == 1

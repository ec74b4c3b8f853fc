"""A lane of single calls waits for as many as its last small commit had (docs/adr/0037)."""

from __future__ import annotations

import asyncio

import pytest

from core import limits
from tests.unit.test_coalescer import Bench, bench, draft, issued, settle

__all__ = ["bench"]


async def crowd(bench: Bench, items: int = 10) -> None:
    """Sends so many single calls that are committed together, in a tenth of a second."""
    calls = [asyncio.create_task(bench.lane.issue([draft(serial)])) for serial in range(items)]
    await asyncio.sleep(0.1)
    bench.store.gate.set()
    await asyncio.gather(*calls)
    assert bench.store.sizes == [items]
    await settle()


async def test_after_a_crowd_a_lane_waits_for_as_many(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REST_MS_MAX", 5_000)
    monkeypatch.setattr(limits, "REST_TIMES", 1_000)
    await crowd(bench)
    some = [asyncio.create_task(bench.lane.issue([draft(serial)])) for serial in range(100, 109)]
    await asyncio.sleep(0.02)
    assert bench.store.sizes == [10]
    await asyncio.gather(*some, bench.lane.issue([draft(200)]))
    assert bench.store.sizes == [10, 10]


async def test_a_lane_of_batches_waits_for_nobody_after_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REST_MS_MAX", 3_600_000)
    monkeypatch.setattr(limits, "REST_TIMES", 1_000_000)
    bulk = Bench(crowds=False)
    await crowd(bulk)
    await bulk.lane.issue([draft(100)])
    assert bulk.store.sizes == [10, 1]
    await bulk.lane.close()


async def test_it_waits_for_a_crowd_no_longer_than_it_may(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REST_MS_MAX", 30)
    monkeypatch.setattr(limits, "REST_TIMES", 1_000)
    await crowd(bench)
    await bench.lane.issue([draft(100)])  # nobody else comes
    assert bench.store.sizes == [10, 1]


async def test_closing_ends_the_wait_for_a_crowd(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REST_MS_MAX", 3_600_000)
    monkeypatch.setattr(limits, "REST_TIMES", 1_000_000)
    await crowd(bench)
    last = asyncio.create_task(bench.lane.issue([draft(100)]))
    await settle()
    await bench.lane.close()
    assert issued((await last)[0]).request_id == "order-100"
    assert bench.store.sizes == [10, 1]

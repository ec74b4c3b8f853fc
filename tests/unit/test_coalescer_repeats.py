"""Requests that come again: what a lane answers from the cache, and what it leaves to the store (P2)."""

from __future__ import annotations

from core.domain.errors import BillowError, Reason
from tests.unit.test_coalescer import Bench, bench, draft, settle

__all__ = ["bench"]  # a fixture


async def test_known_requests_are_answered_from_the_cache(bench: Bench) -> None:
    bench.store.gate.set()
    (first,) = await bench.lane.issue([draft(1)])
    await settle()
    answers = await bench.lane.issue([draft(2), draft(1), draft(1, body=b"another")])
    assert answers[1] == first
    assert isinstance(answers[2], BillowError)
    assert answers[2].reason is Reason.REQUEST_ID_REUSED
    assert bench.store.sizes == [1, 1]
    assert bench.metrics.replays == 2


async def test_a_lane_that_does_not_remember_asks_the_store_alone() -> None:
    bench = Bench(remembers=False)
    bench.store.gate.set()
    (first,) = await bench.lane.issue([draft(1)])
    await settle()
    answers = await bench.lane.issue([draft(2), draft(1), draft(1, body=b"another")])
    await settle()
    assert answers[1] == first
    assert isinstance(answers[2], BillowError)
    assert answers[2].reason is Reason.REQUEST_ID_REUSED
    assert bench.store.sizes == [1, 3]
    assert (bench.cache.asked, bench.cache.answers) == (0, {})
    assert bench.cache.told == 3, "of verification entries it is told all the same"
    assert bench.metrics.replays == 1
    await bench.lane.close()


async def test_twins_in_one_commit_share_one_number(bench: Bench) -> None:
    bench.store.gate.set()
    answers = await bench.lane.issue([draft(1), draft(1), draft(1, body=b"another")])
    assert answers[0] == answers[1]
    assert isinstance(answers[2], BillowError)
    assert len(bench.tables.invoices) == 1

"""Lanes: everyone accepted is answered, once, whatever happens to the store or to the caller."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest

from core import limits
from core.domain.errors import BillowError, Reason
from core.storage.allocation import RangeState
from core.storage.memory.issuing import MemoryIssuingStore
from core.storage.memory.tables import MemoryTables
from core.storage.ports import Answer, Draft, Issued
from server import coalescer
from server.admission import Admission
from server.coalescer import Lane
from server.commit_size import CommitSize

SELLER, KIND = 7, 2


class Metrics:
    """Counts what a lane reports."""

    def __init__(self) -> None:
        self.commits: list[int] = []
        self.replays = 0
        self.queued: Callable[[], int]

    def committed(self, lane: str, items: int, duration_s: float) -> None:
        self.commits.append(items)

    def queue(self, lane: str, items: Callable[[], int]) -> None:
        self.queued = items

    def replayed(self, lane: str, items: int) -> None:
        self.replays += items


class Cache:
    """An IssueCache that remembers what it is told to."""

    def __init__(self) -> None:
        self.answers: dict[tuple[int, str], Issued] = {}
        self.asked = 0
        self.told = 0

    async def known(self, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Issued]:
        self.asked += len(keys)
        return {key: self.answers[key] for key in keys if key in self.answers}

    async def remember(
        self, issued: Sequence[Issued], seller_tax_ids: Mapping[int, str], *, answers: bool = True
    ) -> None:
        self.told += len(issued)
        if answers:
            self.answers |= {(item.seller_key, item.request_id): item for item in issued}


class GatedStore:
    """A store whose commits wait for a gate, so that work gathers behind the first."""

    def __init__(self, store: MemoryIssuingStore) -> None:
        self.store = store
        self.gate = asyncio.Event()
        self.failure: Exception | None = None
        self.sizes: list[int] = []

    async def commit(self, drafts: Sequence[Draft]) -> list[Answer]:
        self.sizes.append(len(drafts))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return await self.store.commit(drafts)


def draft(serial: int, *, body: bytes | None = None) -> Draft:
    prepared = body or f"body {serial}".encode()
    return Draft(
        seller_key=SELLER,
        kind=KIND,
        request_id=f"order-{serial}",
        request_sha256=hashlib.sha256(prepared).digest(),
        net_total_minor=100,
        tax_total_minor=13,
        gross_total_minor=113,
        buyer_tax_id="",
        prepared=prepared,
    )


def issued(answer: Answer) -> Issued:
    assert isinstance(answer, Issued), answer
    return answer


class Bench:
    """A lane over the in-memory store."""

    def __init__(
        self,
        *,
        numbers: int = 10_000,
        commits_max: int = 1,
        items_max: int = 5_000,
        beside: Lane | None = None,
        crowds: bool = True,
        remembers: bool = True,
        wait_max_ms: int = 60_000,
    ) -> None:
        state = RangeState(range_id=1, first_number=26_110_000_000_000_000_000, size=numbers, used=0)
        self.tables = MemoryTables(ranges={(SELLER, KIND): [state]})
        self.store = GatedStore(MemoryIssuingStore(tables=self.tables, now_us=lambda: 1_780_000_000_000_000))
        self.cache = Cache()
        self.metrics = Metrics()
        self.now_s = 1_000.0
        self.admission = Admission(lane="test", items_max=items_max, clock=lambda: self.now_s)
        self.lane = Lane(
            name="test",
            store=self.store,
            cache=self.cache,
            seller_tax_ids=lambda keys: dict.fromkeys(keys, ""),
            metrics=self.metrics,
            wait_max_ms=wait_max_ms,
            beside=beside,
            crowds=crowds,
            remembers=remembers,
            commits_max=commits_max,
            admission=self.admission,
        )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.store.gate.set()
    await bench.lane.close()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_lane_commits_less_at_once_while_the_one_beside_it_is_in_use(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = Bench(beside=bench.lane)
    for other in (bench, bulk):
        other.store.gate.set()
    batch = [draft(serial) for serial in range(600)]
    await bulk.lane.issue(batch)
    assert bulk.store.sizes == [600], "nobody is there yet"
    await bench.lane.issue([draft(0)])
    items = limits.COMMIT_ITEMS_BESIDE_MIN + 400
    monkeypatch.setattr(CommitSize, "items", lambda _: limits.COMMIT_ITEMS_BESIDE_MIN)
    await bulk.lane.issue([draft(1_000 + serial) for serial in range(items)])
    assert bulk.store.sizes[1:] == [limits.COMMIT_ITEMS_BESIDE_MIN] * 5
    monkeypatch.setattr(coalescer, "USED_S", 0.0)  # that was long ago
    await bulk.lane.issue([draft(2_000 + serial) for serial in range(items)])
    assert bulk.store.sizes[6:] == [items]
    await bulk.lane.close()


async def test_a_lane_learns_the_size_from_its_commits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COMMIT_BESIDE_MS", 60_000)  # no commit in memory takes that long
    bulk = Bench(beside=bench.lane)
    for other in (bench, bulk):
        other.store.gate.set()
    for serial in range(0, 6_000, 300):
        await bulk.lane.issue([draft(serial + more) for more in range(300)])
    await bench.lane.issue([draft(0)])
    await bulk.lane.issue([draft(7_000 + serial) for serial in range(300)])
    assert bulk.store.sizes[-1] == 300
    await bulk.lane.close()


async def test_what_gathers_behind_a_commit_is_committed_together(bench: Bench) -> None:
    first = asyncio.create_task(bench.lane.issue([draft(0)]))
    await settle()
    others = [asyncio.create_task(bench.lane.issue([draft(serial)])) for serial in range(1, 51)]
    await settle()
    assert bench.metrics.queued() == 51
    bench.store.gate.set()
    answers = [issued((await task)[0]) for task in [first, *others]]
    assert bench.metrics.queued() == 0
    assert bench.store.sizes == [1, 50]
    assert [int(answer.number) % 1_000 for answer in answers] == list(range(51))
    assert [answer.request_id for answer in answers] == [f"order-{serial}" for serial in range(51)]


async def test_after_a_small_commit_a_lane_with_work_lets_more_gather(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REST_MS_MAX", 5_000)
    first = asyncio.create_task(bench.lane.issue([draft(0)]))
    await settle()
    second = asyncio.create_task(bench.lane.issue([draft(1)]))
    await asyncio.sleep(0.2)  # so long the commit takes, and so long the lane then rests
    bench.store.gate.set()
    await first
    await settle()
    await asyncio.gather(second, bench.lane.issue([draft(2)]))
    await bench.lane.issue([draft(3)])
    assert bench.store.sizes == [1, 2, 1]


async def test_a_commit_is_bounded_and_large_groups_are_cut(bench: Bench) -> None:
    bench.store.gate.set()
    answers = await bench.lane.issue([draft(serial) for serial in range(2_500)])
    assert bench.store.sizes == [1_000, 1_000, 500]
    assert [issued(answer).request_id for answer in answers] == [f"order-{serial}" for serial in range(2_500)]


async def test_a_commit_is_bounded_in_bytes(bench: Bench) -> None:
    bench.store.gate.set()
    large = limits.COMMIT_BYTES_MAX // 3
    bodies = [bytes([serial]) * large for serial in range(5)]
    answers = await bench.lane.issue([draft(serial, body=body) for serial, body in enumerate(bodies)])
    assert bench.store.sizes == [3, 2]
    assert len({issued(answer).number for answer in answers}) == 5


async def test_a_full_lane_refuses_early_and_says_when_to_come_back() -> None:
    bench = Bench(items_max=10)
    waiting = asyncio.create_task(bench.lane.issue([draft(serial) for serial in range(8)]))
    await settle()
    with pytest.raises(BillowError) as refused:
        await bench.lane.issue([draft(serial) for serial in range(8, 11)])
    assert refused.value.reason is Reason.OVERLOADED
    assert refused.value.retry_delay_ms
    bench.store.gate.set()
    assert len(await waiting) == 8
    assert len(bench.tables.invoices) == 8
    await bench.lane.close()


async def test_a_caller_that_goes_away_ends_its_waiting_not_the_writing(bench: Bench) -> None:
    waiting = asyncio.create_task(bench.lane.issue([draft(1)]))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    bench.store.gate.set()
    again = await bench.lane.issue([draft(1)])
    assert issued(again[0]).number == next(iter(bench.tables.invoices))
    assert len(bench.tables.invoices) == 1


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (BillowError(Reason.STORAGE_UNAVAILABLE, "away"), Reason.STORAGE_UNAVAILABLE),
        (RuntimeError("a fault"), Reason.INTERNAL),
    ],
)
async def test_a_failed_commit_answers_everyone_and_the_lane_goes_on(
    bench: Bench, failure: Exception, reason: Reason
) -> None:
    bench.store.failure = failure
    bench.store.gate.set()
    answers = await bench.lane.issue([draft(1), draft(2)])
    assert [answer.reason for answer in answers if isinstance(answer, BillowError)] == [reason, reason]
    bench.store.failure = None
    assert issued((await bench.lane.issue([draft(1)]))[0]).request_id == "order-1"


async def test_closing_finishes_what_was_accepted_and_refuses_the_rest() -> None:
    bench = Bench(commits_max=3)
    waiting = [asyncio.create_task(bench.lane.issue([draft(serial)])) for serial in range(20)]
    await settle()
    closing = asyncio.create_task(bench.lane.close())
    await settle()
    with pytest.raises(BillowError) as refused:
        await bench.lane.issue([draft(99)])
    assert refused.value.reason is Reason.SHUTTING_DOWN
    bench.store.gate.set()
    await closing
    assert len({issued((await task)[0]).number for task in waiting}) == 20


async def test_tenants_take_turns_in_a_commit_and_the_greedy_one_loses_nothing(bench: Bench) -> None:
    first = asyncio.create_task(bench.lane.issue([draft(0)]))
    await settle()
    greedy = bench.lane.admit(2_000, tenant_key=1)
    modest = bench.lane.admit(150, tenant_key=2)
    tasks = [
        asyncio.create_task(bench.lane.issue([draft(serial) for serial in range(1_000, 3_000)], greedy)),
        asyncio.create_task(bench.lane.issue([draft(serial) for serial in range(5_000, 5_150)], modest)),
    ]
    await settle()
    bench.store.gate.set()
    modest_numbers = [int(issued(answer).number) % 10_000 for answer in await tasks[1]]
    assert max(modest_numbers) <= 1_000, "all of the modest tenant's are in the next commit"
    answers = [issued(answer).request_id for answer in await tasks[0]]
    assert answers == [f"order-{serial}" for serial in range(1_000, 3_000)]
    assert bench.store.sizes == [1, 1_000, 1_000, 150]
    await first


async def test_what_nobody_waits_for_any_more_is_dropped_before_it_has_a_number(bench: Bench) -> None:
    first = asyncio.create_task(bench.lane.issue([draft(0)]))
    await settle()
    leaving = asyncio.create_task(bench.lane.issue([draft(1), draft(2)]))
    staying = asyncio.create_task(bench.lane.issue([draft(3)]))
    await settle()
    leaving.cancel()
    await settle()
    bench.store.gate.set()
    await asyncio.gather(first, staying)
    assert bench.store.sizes == [1, 1]
    assert len(bench.tables.invoices) == 2
    assert bench.admission.items == 0
    again = await bench.lane.issue([draft(1)])
    assert issued(again[0]).request_id == "order-1"


async def test_what_is_late_is_answered_and_dropped_though_its_caller_still_waits(bench: Bench) -> None:
    first = asyncio.create_task(bench.lane.issue([draft(0)]))
    await settle()
    place = bench.lane.admit(1_500, tenant_key=1, deadline_s=bench.now_s + 5)
    late = asyncio.create_task(bench.lane.issue([draft(serial) for serial in range(1, 1_501)], place))
    await settle()
    bench.now_s += 5
    bench.store.gate.set()
    answers = await late
    assert {answer.reason for answer in answers if isinstance(answer, BillowError)} == {Reason.DEADLINE_EXCEEDED}
    assert len(answers) == 1_500
    await first
    assert len(bench.tables.invoices) == 1
    assert bench.admission.items == 0


async def test_a_group_that_is_late_halfway_keeps_what_was_issued(bench: Bench) -> None:
    place = bench.lane.admit(1_500, tenant_key=1, deadline_s=bench.now_s + 5)
    cut = asyncio.create_task(bench.lane.issue([draft(serial) for serial in range(1_500)], place))
    await settle()  # the first thousand are in a commit
    bench.now_s += 5
    bench.store.gate.set()
    answers = await cut
    assert [issued(answer).request_id for answer in answers[:1_000]] == [f"order-{serial}" for serial in range(1_000)]
    assert all(isinstance(answer, BillowError) for answer in answers[1_000:])
    assert len(bench.tables.invoices) == 1_000
    assert bench.admission.items == 0


async def test_room_taken_before_the_lane_closed_is_refused_and_given_back() -> None:
    bench = Bench()
    bench.store.gate.set()
    with bench.lane.admit(2, tenant_key=1) as place:
        await bench.lane.close()
        with pytest.raises(BillowError) as refused:
            await bench.lane.issue([draft(1)], place)
    assert refused.value.reason is Reason.SHUTTING_DOWN
    assert bench.admission.items == 0
    with pytest.raises(BillowError) as refused:
        bench.lane.admit(1)
    assert refused.value.reason is Reason.SHUTTING_DOWN
    assert refused.value.retry_delay_ms


async def test_nobody_waits_longer_than_allowed_and_what_is_in_a_commit_is_still_written() -> None:
    slow = Bench(wait_max_ms=300)
    calls = [asyncio.create_task(slow.lane.issue([draft(0)]))]
    await settle()
    calls += [asyncio.create_task(slow.lane.issue([draft(serial)])) for serial in (1, 2)]
    ended, _ = await asyncio.wait(calls, timeout=10)
    assert len(ended) == 3
    for call in calls:
        with pytest.raises(TimeoutError):
            call.result()
    slow.store.gate.set()
    again = await slow.lane.issue([draft(0)])  # the same request, sent again, finds what was written (P2)
    assert issued(again[0]).request_id == "order-0"
    await slow.lane.close()
    assert len(slow.tables.by_request) == 1  # the other two waited in the queue: nobody waits for them any more


async def test_a_wait_that_began_after_another_is_ended_in_its_turn() -> None:
    """One timer serves all: set for the first, which was answered in time, it looks again for the second."""
    slow = Bench(wait_max_ms=300)
    slow.store.gate.set()
    await slow.lane.issue([draft(0)])
    slow.store.gate.clear()
    await asyncio.sleep(0.02)
    late = asyncio.create_task(slow.lane.issue([draft(1)]))
    await asyncio.wait([late], timeout=10)
    assert late.done()
    with pytest.raises(TimeoutError):
        late.result()
    slow.store.gate.set()
    await slow.lane.close()

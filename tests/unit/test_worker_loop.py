"""The worker's loop and its archive job over the in-memory stores (P6)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from core.domain.errors import BillowError, Reason
from core.settings import WorkerSettings
from core.storage.allocation import RangeState
from core.storage.memory.issuing import MemoryIssuingStore
from core.storage.memory.objects import MemoryObjectStore
from core.storage.memory.outbox import MemoryOutboxStore
from core.storage.memory.tables import MemoryTables
from core.storage.ports import Claim
from core.storage.segments import rows
from tests.support.issuing import TestSeller
from workers import loop as loop_module
from workers.archive import ArchiveJob, LagJob
from workers.loop import Loop
from workers.metrics import WorkerMetrics

AWAY = BillowError(Reason.STORAGE_UNAVAILABLE, "away")


class ScriptedJob:
    """Does what the script says, one entry a step, then stops the loop."""

    name = "scripted"

    def __init__(self, stop: asyncio.Event, *script: Callable[[], Awaitable[bool]]) -> None:
        self._stop = stop
        self._script = list(script)
        self.idles = 0

    async def step(self) -> bool:
        if not self._script:
            self._stop.set()
            return False
        return await self._script.pop(0)()

    async def idle(self) -> None:
        self.idles += 1


async def worked() -> bool:
    return True


async def nothing() -> bool:
    return False


async def failing() -> bool:
    raise AWAY


async def test_work_goes_on_at_once_and_idleness_waits() -> None:
    stop = asyncio.Event()
    job = ScriptedJob(stop, worked, worked, nothing, worked, nothing)
    await Loop(stop_grace_ms=1_000, chance=lambda: 0.0, failed=lambda _: None).run(job, stop)
    assert job.idles == 2 + 1  # and the last step, which stopped it


async def test_failures_are_counted_and_pauses_double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "BACKOFF_FIRST_MS", 2)
    stop, failures = asyncio.Event(), list[str]()
    loop = Loop(stop_grace_ms=1_000, chance=lambda: 1.0, failed=failures.append)
    await loop.run(ScriptedJob(stop, failing, failing, worked, failing), stop)
    assert failures == ["scripted"] * 3
    assert [loop._pause_s(count) for count in (1, 2, 3, 60)] == [0.002, 0.004, 0.008, 10.0]


async def test_a_step_under_way_is_finished_when_stopping() -> None:
    stop, done = asyncio.Event(), list[int]()

    async def slow() -> bool:
        stop.set()
        await asyncio.sleep(0.01)
        done.append(1)
        return True

    await Loop(stop_grace_ms=60_000, chance=lambda: 0.0, failed=lambda _: None).run(ScriptedJob(stop, slow), stop)
    assert done == [1]


async def test_a_step_that_takes_longer_than_the_grace_is_cancelled() -> None:
    stop, cancelled = asyncio.Event(), list[int]()

    async def endless() -> bool:
        stop.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise
        return True

    await Loop(stop_grace_ms=5, chance=lambda: 0.0, failed=lambda _: None).run(ScriptedJob(stop, endless), stop)
    assert cancelled == [1]


class NoWake:
    """A wake source as without Redis."""

    async def wait(self, timeout_ms: int) -> bool:
        return False


class Archive:
    """An archive job over in-memory stores."""

    def __init__(self, objects: MemoryObjectStore, *, owner: str = "worker-1") -> None:
        self.tables = MemoryTables()
        self.tables.ranges[1, 2] = [RangeState(range_id=1, first_number=26 * 10**18, size=10**6, used=0)]
        self.store = MemoryIssuingStore(tables=self.tables, now_us=now_us)
        self.outbox = MemoryOutboxStore(now_us=now_us, batches=self.tables.batches, segments=self.tables.segments)
        self.objects = objects
        self.registry = CollectorRegistry()
        self.metrics = WorkerMetrics(self.registry)
        self.job = self.another(owner)

    def another(self, owner: str) -> ArchiveJob:
        return ArchiveJob(
            outbox=self.outbox,
            objects=self.objects,
            wake=NoWake(),
            settings=WorkerSettings(segment_age_max_ms=0),
            retention_days=1,
            metrics=self.metrics,
            owner=owner,
            now_us=now_us,
        )

    async def issue(self, count: int) -> None:
        seller = TestSeller(seller_key=1, tax_id="911100000000000077")
        first = len(self.tables.invoices)
        await self.store.commit([seller.draft(f"r-{first + place}") for place in range(count)])

    def measured(self, name: str) -> float:
        return self.registry.get_sample_value(name) or 0.0


def now_us() -> int:
    return time.time_ns() // 1_000


async def test_a_step_archives_everything_that_waits() -> None:
    archive = Archive(MemoryObjectStore())
    assert await archive.job.step() is False
    await archive.issue(3)
    await archive.issue(2)
    assert await archive.job.step() is True
    (segment,) = archive.tables.segments.values()
    (group,) = rows(archive.objects.objects[segment.object_key])
    assert group.number == sorted(archive.tables.invoices)
    assert await archive.outbox.backlog() == (0, 0)
    assert archive.measured("billow_archived_invoices_total") == 5
    assert archive.measured("billow_archived_bytes_total") == segment.size_bytes


class AwayStore(MemoryObjectStore):
    """An object store that is away until told otherwise."""

    away = True

    async def put(self, key: str, data: bytes, *, retain_until_us: int) -> None:
        if self.away:
            raise AWAY
        await super().put(key, data, retain_until_us=retain_until_us)


async def test_leases_go_back_when_the_object_store_is_away() -> None:
    objects = AwayStore()
    archive = Archive(objects)
    await archive.issue(3)
    for _ in range(3):
        with pytest.raises(BillowError):
            await archive.job.step()
    objects.away = False
    assert await archive.another("worker-2").step() is True
    assert await archive.outbox.backlog() == (0, 0)


async def test_a_new_process_takes_over_what_its_predecessor_left() -> None:
    archive = Archive(MemoryObjectStore())
    await archive.issue(3)
    left = Claim(owner="worker-1", batches_max=10, invoices_max=10, bytes_max=10**6, lease_ms=60_000, age_min_ms=0)
    assert len(await archive.outbox.claim(left)) == 1
    assert await archive.another("worker-2").step() is False
    assert await archive.job.step() is True


class SlowStore(MemoryObjectStore):
    """Something happens while the object is being stored."""

    meanwhile: Callable[[], Awaitable[object]]

    async def put(self, key: str, data: bytes, *, retain_until_us: int) -> None:
        await super().put(key, data, retain_until_us=retain_until_us)
        await self.meanwhile()


async def test_a_lost_lease_leaves_an_orphan_and_no_second_segment() -> None:
    objects = SlowStore()
    archive = Archive(objects)
    await archive.issue(3)

    async def robbed() -> None:
        objects.meanwhile = nothing
        await archive.outbox.release(owner="worker-1")
        await archive.issue(2)  # so that the other segment is another object
        assert await archive.another("worker-2").step() is True

    objects.meanwhile = robbed
    assert await archive.job.step() is True
    assert len(archive.tables.segments) == 1
    assert len(objects.objects) == 2
    assert archive.measured("billow_archived_invoices_total") == 5


async def test_a_cancelled_step_gives_its_leases_back() -> None:
    objects = SlowStore()
    archive = Archive(objects)
    await archive.issue(3)
    stuck = asyncio.Event()

    async def for_ever() -> None:
        stuck.set()
        await asyncio.Event().wait()

    objects.meanwhile = for_ever
    task = asyncio.create_task(archive.job.step())
    await stuck.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    objects.meanwhile = nothing
    assert await archive.another("worker-2").step() is True
    assert len(objects.objects) == 1  # the same bytes under the same key


async def test_the_lag_is_that_of_the_oldest_batch() -> None:
    archive = Archive(MemoryObjectStore())
    await archive.issue(1)
    late_us = next(iter(archive.tables.batches.values())).issued_at_us + 7_500_000
    job = LagJob(outbox=archive.outbox, metrics=archive.metrics, interval_ms=1, now_us=lambda: late_us)
    assert await job.step() is False
    assert archive.measured("billow_archive_lag_seconds") == 7.5
    assert archive.measured("billow_archive_backlog_batches") == 1
    await archive.job.step()
    await job.step()
    assert archive.measured("billow_archive_lag_seconds") == 0

"""The worker process against real stores: everything archived exactly once, whatever dies or is away (P5, P6)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from core.domain.errors import BillowError
from core.storage.mysql.pool import rows
from core.storage.mysql.reader import PrimaryReader
from core.storage.ports import Issued
from core.storage.segment_reader import SegmentReader
from stack import Stack
from tests.support.databases import OwnStores, own_stores
from tests.support.worker_process import worker


@pytest.fixture
async def stores(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with own_stores(data_stores, tmp_path, segment_age_max_ms=100, idle_wait_ms=50) as opened:
        yield opened


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for a condition; the test's timeout is the limit."""
    while not await condition():  # noqa: ASYNC110 -- what it waits for happens in other processes
        await asyncio.sleep(0.05)


async def archived(stores: OwnStores) -> None:
    async def done() -> bool:
        return await stores.outbox.backlog() == (0, 0)

    await until(done)


async def segment_objects(stores: OwnStores) -> set[str]:
    return {key async for key in stores.objects.keys("segments/")}


async def check_bodies(stores: OwnStores, issued: list[Issued]) -> None:
    """Reads every body back the way the server does and compares its digest."""
    reader = PrimaryReader(primary=lambda: stores.primary)
    segment_reader = SegmentReader(objects=stores.objects)
    found = await reader.by_number([item.number for item in issued])
    for item in issued:
        row = found[item.number]
        batch = await reader.batch(row.batch_id)
        assert batch is not None
        assert batch.block is None
        assert batch.segment_id is not None
        assert batch.segment_row is not None
        segment = await reader.segment(batch.segment_id)
        assert segment is not None
        body = await segment_reader.read_body(segment, batch.segment_row + row.batch_position)
        assert hashlib.sha256(body).digest() == item.body_sha256


async def recorded(stores: OwnStores) -> int:
    """Returns how many invoices all segments hold together."""
    found = await stores.primary.rows("SELECT COALESCE(SUM(invoices), 0) FROM archive_segments")
    return int(found[0][0])


async def test_everything_issued_is_archived_and_read_back(stores: OwnStores) -> None:
    sellers = [await stores.issuer.seller() for _ in range(2)]
    async with worker(stores.config) as process:
        issued: list[Issued] = []
        for turn in range(6):
            issued += await stores.issuer.issue(sellers[turn % 2], 50, lines=1 + turn)
        await archived(stores)
        assert await process.measured("billow_archived_invoices_total") == 300

        async def caught_up() -> bool:
            return await process.measured("billow_archive_backlog_batches") == 0

        await until(caught_up)
        assert await process.stop() == 0
    await check_bodies(stores, issued[::7])
    assert await recorded(stores) == 300
    events = [json.loads(line) for line in process.log.read_text().splitlines()]
    segments = [event for event in events if event["message"] == "segment archived"]
    assert sum(event["invoices"] for event in segments) == 300
    assert {event["level"] for event in events} == {"info"}


async def test_killed_between_storing_and_marking_leaves_one_segment(stores: OwnStores) -> None:
    seller = await stores.issuer.seller()
    issued = await stores.issuer.issue(seller, 20)
    before = await segment_objects(stores)
    async with stores.admin.connection() as connection, worker(stores.config) as process:
        await rows(connection, "LOCK TABLES archive_segments READ")  # the worker stores the object and cannot mark it

        async def stored() -> bool:
            return bool(await segment_objects(stores) - before)

        await until(stored)
        await process.kill()
        await rows(connection, "UNLOCK TABLES")
    assert (await stores.outbox.backlog())[0] == 1
    async with worker(stores.config):
        await archived(stores)
    assert len(await segment_objects(stores) - before) == 1
    assert await stores.primary.rows("SELECT COUNT(*), SUM(invoices) FROM archive_segments") == [(1, 20)]
    await check_bodies(stores, issued)


async def test_another_worker_takes_over_when_the_lease_ends(stores: OwnStores) -> None:
    seller = await stores.issuer.seller()
    await stores.issuer.issue(seller, 5)
    # as left by a worker of another slot that died
    await stores.primary.rows(
        "UPDATE batches SET lease_owner = 'worker-9', lease_until_us ="
        " TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + 1000000"
    )
    async with worker(stores.config):
        await archived(stores)
    assert await recorded(stores) == 5


async def test_the_archive_catches_up_after_the_object_store_was_away(stores: OwnStores) -> None:
    seller = await stores.issuer.seller()
    issued: list[Issued] = []
    stores.stack.stop("s3")
    try:
        async with worker(stores.config) as process:
            for _ in range(5):
                issued += await stores.issuer.issue(seller, 10)

            async def failed() -> bool:
                try:
                    return await process.measured("billow_job_failures_total") >= 2
                except OSError:  # it has not opened its port yet
                    return False

            await until(failed)
            issued += await stores.issuer.issue(seller, 10)  # issuing goes on
            assert (await stores.outbox.backlog())[0] == 6
            stores.stack.start("s3")
            await archived(stores)
    finally:
        stores.stack.start("s3")
    await check_bodies(stores, issued)
    assert await recorded(stores) == 60


async def test_workers_side_by_side_archive_everything_once(stores: OwnStores) -> None:
    seller = await stores.issuer.seller()
    async with worker(stores.config, slot=1), worker(stores.config, slot=2):
        issued: list[Issued] = []
        for _ in range(60):
            issued += await stores.issuer.issue(seller, 2)
        await archived(stores)
    assert await recorded(stores) == 120
    await check_bodies(stores, issued[::11])


async def test_redis_is_not_needed(stores: OwnStores) -> None:
    seller = await stores.issuer.seller()
    stores.stack.stop("redis")
    try:
        async with worker(stores.config):
            await stores.issuer.issue(seller, 5)
            await archived(stores)
    finally:
        stores.stack.start("redis")
    assert await recorded(stores) == 5


async def test_a_worker_waits_for_a_database_that_is_away(stores: OwnStores) -> None:
    seller = await stores.issuer.seller()
    await stores.issuer.issue(seller, 5)
    stores.stack.stop("mysql-1")
    try:
        async with worker(stores.config) as process:

            async def failed() -> bool:
                try:
                    return await process.measured("billow_job_failures_total") >= 1
                except OSError:
                    return False

            await until(failed)
            stores.stack.start("mysql-1")
            stores.stack.wait_healthy("mysql-1")

            async def done() -> bool:
                try:
                    return await stores.outbox.backlog() == (0, 0)
                except BillowError:
                    return False

            await until(done)
    finally:
        stores.stack.start("mysql-1")
    assert await recorded(stores) == 5

"""The feed of batches: commits out of id order, holes, consumers that die, and consumers side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.storage.mysql.batch_feed import MySQLBatchFeed
from core.storage.mysql.pool import rows
from stack import Stack
from tests.support.databases import OwnStores, own_stores

INSERT = "INSERT INTO batches (batch_id, issued_at_us, items, runs) VALUES (%s, 1, 0, '')"


@pytest.fixture
async def stores(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with own_stores(data_stores, tmp_path) as opened:
        yield opened


def feed(stores: OwnStores, *, consumer: str = "test", hole_age_ms: int = 0) -> MySQLBatchFeed:
    return MySQLBatchFeed(primary=lambda: stores.primary, consumer=consumer, hole_age_ms=hole_age_ms)


async def taken(source: MySQLBatchFeed) -> list[int]:
    async with source.take(batches_max=100) as lent:
        return [batch.batch_id for batch in lent.batches]


async def dies(source: MySQLBatchFeed) -> None:
    async with source.take(batches_max=100) as lent:
        assert len(lent.batches) == 1
        raise ZeroDivisionError


async def through(stores: OwnStores) -> int:
    found = await stores.primary.rows("SELECT through_batch_id FROM batch_feeds WHERE consumer = 'test'")
    return int(found[0][0])


async def test_a_batch_that_commits_after_a_later_one_is_not_lost(stores: OwnStores) -> None:
    source = feed(stores)
    async with stores.admin.connection() as late:
        await late.begin()
        await rows(late, INSERT, (1,))  # under way, and waiting for its replica for as long as that takes
        for batch_id in (2, 3, 5):
            await stores.admin.rows(INSERT, (batch_id,))
        assert await taken(source) == [2, 3, 5]
        await asyncio.sleep(0.01)
        await stores.admin.rows(INSERT, (6,))
        assert await taken(source) == [6]
        assert await through(stores) == 0  # every hole is old enough, but the one at 1 is locked
        await late.commit()
    assert await taken(source) == [1]
    await asyncio.sleep(0.01)
    await stores.admin.rows(INSERT, (7,))
    assert await taken(source) == [7]
    assert await through(stores) >= 6  # the hole at 4 is empty, the watermark is past it
    assert await taken(source) == []


async def test_a_hole_is_kept_until_it_is_old(stores: OwnStores) -> None:
    source = feed(stores, hole_age_ms=60_000)
    for batch_id in (1, 3):
        await stores.admin.rows(INSERT, (batch_id,))
    assert await taken(source) == [1, 3]
    assert await through(stores) == 1
    await stores.admin.rows(INSERT, (2,))
    assert await taken(source) == [2]
    assert await through(stores) == 3


async def test_what_a_dying_consumer_had_comes_again_and_others_have_their_own(stores: OwnStores) -> None:
    await stores.admin.rows(INSERT, (1,))
    source = feed(stores)
    with pytest.raises(ZeroDivisionError):
        await dies(source)
    async with source.take(batches_max=100) as lent:
        assert len(lent.batches) == 1
        assert await taken(feed(stores)) == []  # one at a time
    assert await taken(source) == []
    assert await taken(feed(stores, consumer="other")) == [1]

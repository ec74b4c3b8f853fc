"""Wake-ups through Redis: they come, they go round, and without Redis nothing is missed but time (P5)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from core.settings import RedisSettings
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.link import RedisLink
from core.storage.redis.wake import RedisWakeSource
from stack import Stack
from tests.support.databases import OwnStores, own_stores

LONG_MS, SHORT_MS = 20_000, 50


@pytest.fixture
async def stores(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with own_stores(data_stores, tmp_path) as opened:
        yield opened


@pytest.fixture
async def wake(stores: OwnStores) -> AsyncIterator[RedisWakeSource]:
    source = RedisWakeSource(settings=stores.settings.redis, consumer="worker-1")
    assert await source.wait(SHORT_MS) is False
    yield source
    await source.close()


async def issue_and_remember(stores: OwnStores) -> None:
    """Issues one invoice and tells the cache, as a lane does."""
    seller = await stores.issuer.seller()
    link = RedisLink(settings=stores.settings.redis)
    cache = RedisIssueCache(link=link, settings=stores.settings.redis)
    await cache.remember(await stores.issuer.issue(seller, 1), {seller.seller_key: seller.tax_id})
    await link.close()


async def test_what_is_issued_wakes_a_worker(stores: OwnStores, wake: RedisWakeSource) -> None:
    waiting = asyncio.create_task(wake.wait(LONG_MS))
    await issue_and_remember(stores)
    assert await waiting is True
    assert await wake.wait(SHORT_MS) is False


async def test_a_message_wakes_one_of_the_workers(stores: OwnStores, wake: RedisWakeSource) -> None:
    other = RedisWakeSource(settings=stores.settings.redis, consumer="worker-2")
    assert await other.wait(SHORT_MS) is False
    await issue_and_remember(stores)
    assert sorted([await wake.wait(SHORT_MS), await other.wait(SHORT_MS)]) == [False, True]
    await other.close()


async def test_a_flushed_redis_is_set_up_again(stores: OwnStores, wake: RedisWakeSource) -> None:
    async with redis.asyncio.Redis.from_url(stores.settings.redis.url) as client:
        await client.flushdb()
    assert await wake.wait(SHORT_MS) is False  # notices that the group is gone
    assert await wake.wait(SHORT_MS) is False
    await issue_and_remember(stores)
    assert await wake.wait(LONG_MS) is True


async def test_without_redis_the_time_is_waited_out() -> None:
    settings = dataclasses.replace(RedisSettings(url="redis://127.0.0.1:1/0"), timeout_ms=100)
    source = RedisWakeSource(settings=settings, consumer="worker-1")
    began = asyncio.get_running_loop().time()
    assert await source.wait(SHORT_MS) is False
    assert asyncio.get_running_loop().time() - began >= SHORT_MS / 1_000 - 0.001
    await source.close()


async def test_a_redis_that_hangs_holds_nobody_for_long(data_stores: Stack, stores: OwnStores) -> None:
    source = RedisWakeSource(settings=stores.settings.redis, consumer="worker-1")
    assert await source.wait(SHORT_MS) is False
    data_stores.pause("redis")
    try:
        assert await source.wait(SHORT_MS) is False
    finally:
        data_stores.resume("redis")
    await source.close()

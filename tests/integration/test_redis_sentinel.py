"""Redis behind sentinels: after a failover the link is on the new master by itself and believes nothing of before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.storage.redis import keys
from core.storage.redis.cluster import open_link
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.link import Link
from core.storage.redis.verification_cache import RedisVerificationCache
from core.storage.redis.wake import RedisWakeSource
from tests.contract.test_caches import SELLER_TAX_ID, entry_of, key_of, new_issued
from tests.support.redis_groups import MASTER_NAME, PATIENCE_S, SentinelGroup, ask, sentinel_group
from tests.support.redis_server import RedisServer

LONG_MS, SHORT_MS = 20_000, 50


@dataclass(slots=True)
class Cached:
    group: SentinelGroup
    link: Link
    issue: RedisIssueCache
    verification: RedisVerificationCache


@pytest.fixture
def group(tmp_path: Path) -> Iterator[SentinelGroup]:
    with sentinel_group(tmp_path) as running:
        yield running


@pytest.fixture
async def cached(group: SentinelGroup) -> AsyncIterator[Cached]:
    settings = group.settings()
    link = open_link(settings=settings)
    verification = RedisVerificationCache(link=link, settings=settings)
    yield Cached(group, link, RedisIssueCache(link=link, settings=settings), verification)
    await link.close()


async def until_on(cached: Cached, node: RedisServer) -> None:
    """Waits until the node has been looked at as a master, and what is remembered is found in it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            issued = new_issued()
            with node.client() as client:
                seen = client.get(keys.RUN_KEY) == node.run_id()
                await cached.issue.remember([issued], {7: SELLER_TAX_ID})
                if seen and client.hexists(*keys.entry_place(issued.number)):
                    break
            await asyncio.sleep(0.1)
    assert await cached.issue.known([key_of(issued)]) == {key_of(issued): issued}


async def remembered_in_both(cached: Cached) -> str:
    """Remembers an invoice and returns its number when the replica has its entry too."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            issued = new_issued()
            await cached.issue.remember([issued], {7: SELLER_TAX_ID})
            await asyncio.sleep(0.1)
            found = []
            for node in cached.group.nodes:
                with node.client() as client:
                    found.append(client.hexists(*keys.entry_place(issued.number)))
            if all(found):
                return issued.number


async def test_an_ordered_failover_is_followed_and_empties_the_cache(cached: Cached) -> None:
    number = await remembered_in_both(cached)
    _, replica = cached.group.master_and_replica()
    with cached.group.sentinels[0].client() as client:
        ask(client, "SENTINEL FAILOVER", MASTER_NAME)
    await until_on(cached, replica)
    assert await cached.verification.entries([number]) == {}


async def test_a_killed_master_is_an_empty_cache_until_another_is_promoted(cached: Cached) -> None:
    wake = RedisWakeSource(settings=cached.group.settings(), consumer="worker-1")
    assert await wake.wait(SHORT_MS) is False
    number = await remembered_in_both(cached)
    master, replica = cached.group.master_and_replica()
    master.kill()
    assert await cached.verification.entries([number]) == {}
    assert cached.link.away
    assert not await cached.verification.replace([entry_of(new_issued())])
    assert await wake.wait(SHORT_MS) is False
    await until_on(cached, replica)
    assert await cached.verification.entries([number]) == {}
    with replica.client() as client:
        assert client.get(keys.RUN_KEY) == replica.run_id()
    assert await wake.wait(SHORT_MS) is False  # connects
    await cached.issue.remember([new_issued()], {})
    assert await wake.wait(LONG_MS) is True
    await wake.close()

"""A Redis Cluster: families of keys on their nodes, and followed when their slots are moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from core.storage.redis import keys
from core.storage.redis.cluster import ClusterLink
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.verification_cache import RedisVerificationCache
from core.storage.redis.wake import RedisWakeSource
from tests.contract.test_caches import SELLER_TAX_ID, entry_of, key_of, new_issued
from tests.support.redis_groups import PATIENCE_S, RedisCluster, redis_cluster

DAY = 20260131
LONG_MS, SHORT_MS = 20_000, 50


class Gauge:
    """What the link reports."""

    def __init__(self) -> None:
        self.away = False

    def redis_away(self, away: bool) -> None:
        self.away = away


@dataclass(slots=True)
class Cached:
    cluster: RedisCluster
    gauge: Gauge
    link: ClusterLink
    issue: RedisIssueCache
    verification: RedisVerificationCache


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
async def cached(cluster: RedisCluster) -> AsyncIterator[Cached]:
    settings, gauge = cluster.settings(), Gauge()
    link = ClusterLink(settings=settings, metrics=gauge)
    issue = RedisIssueCache(link=link, settings=settings)
    yield Cached(cluster, gauge, link, issue, RedisVerificationCache(link=link, settings=settings))
    await link.close()


async def test_families_are_on_their_nodes_and_nobody_empties_another_s(cached: Cached) -> None:
    issued = new_issued()
    await cached.issue.remember([issued], {7: SELLER_TAX_ID})
    assert await cached.verification.count_public_checks([issued.number], DAY) == [1]
    for _ in range(2):  # another process connects, also to the node that has two families
        another = ClusterLink(settings=cached.cluster.settings())
        verification = RedisVerificationCache(link=another, settings=cached.cluster.settings())
        await RedisIssueCache(link=another, settings=cached.cluster.settings()).remember([new_issued()], {})
        assert await verification.entries([issued.number]) == {issued.number: entry_of(issued)}
        await verification.count_public_checks([issued.number], DAY)
        await another.close()
    assert await cached.verification.count_public_checks([issued.number], DAY) == [4]
    assert await cached.issue.known([key_of(issued)]) == {key_of(issued): issued}
    for family in keys.FAMILIES:
        node = cached.cluster.node_of(family)
        with node.client() as client:
            assert client.get(keys.run_key(family)) == node.run_id(), family
    assert len({cached.cluster.node_of(family).port for family in keys.FAMILIES}) == 3


async def test_workers_are_woken(cached: Cached) -> None:
    wake = RedisWakeSource(settings=cached.cluster.settings(), consumer="worker-1")
    assert await wake.wait(SHORT_MS) is False
    await cached.issue.remember([new_issued()], {})
    assert await wake.wait(LONG_MS) is True
    await wake.close()


@pytest.mark.parametrize("family", [keys.ENTRIES, keys.COUNTS])
async def test_a_slot_that_is_moved_under_use_is_followed_and_what_came_along_is_dropped(
    cached: Cached, family: str
) -> None:
    """{v} comes to where another family is first, {c} to where it is not: both must be seen as foreign there."""
    source = cached.cluster.node_of(family)
    target = cached.cluster.node_of(keys.ANSWERS)
    assert source is not target
    before = new_issued()
    await cached.issue.remember([before], {7: SELLER_TAX_ID})
    await cached.verification.count_public_checks([before.number], DAY)
    done = asyncio.Event()

    async def use() -> None:
        while not done.is_set():
            issued = new_issued()
            await cached.issue.remember([issued], {7: SELLER_TAX_ID})
            for number, entry in (await cached.verification.entries([before.number, issued.number])).items():
                assert entry == entry_of(before if number == before.number else issued)
            assert (await cached.verification.count_public_checks([issued.number], DAY))[0] >= 1
            await asyncio.sleep(0)

    users = [asyncio.create_task(use()) for _ in range(4)]
    await asyncio.to_thread(cached.cluster.move, family, target)
    link = cached.link.family(family)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await cached.verification.entries([before.number])
            await cached.verification.count_public_checks([before.number], DAY)
            with target.client() as client:
                if not link.away and client.get(keys.run_key(family)) == target.run_id():
                    break
            await asyncio.sleep(0.05)
    done.set()
    await asyncio.gather(*users)
    assert cached.cluster.node_of(family) is target
    issued = new_issued()
    await cached.issue.remember([issued], {7: SELLER_TAX_ID})
    assert await cached.verification.entries([before.number, issued.number]) == {issued.number: entry_of(issued)}


async def test_a_node_that_hangs_takes_its_families_only(cached: Cached) -> None:
    issued = new_issued()
    await cached.issue.remember([issued], {7: SELLER_TAX_ID})
    node = cached.cluster.node_of(keys.WAKES)
    answers = cached.cluster.node_of(keys.ANSWERS)
    assert node is not answers
    node.hang()
    try:
        await cached.issue.remember([issued], {7: SELLER_TAX_ID})
        assert cached.link.family(keys.WAKES).away
        assert cached.gauge.away
        assert not cached.link.away
        assert await cached.issue.known([key_of(issued)]) == {key_of(issued): issued}
    finally:
        node.resume()
    async with asyncio.timeout(PATIENCE_S):
        while cached.gauge.away:  # noqa: ASYNC110 (the link has no reason to tell anybody)
            await asyncio.sleep(0.05)

"""Redis hung, killed, flushed, restarted: the caches never raise and never delay more than once (P5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.settings import RedisSettings
from core.storage.redis import keys
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.link import PROBE_INTERVAL_MS, RedisLink
from core.storage.redis.scripts import ENDS_SOON_S
from core.storage.redis.verification_cache import RedisVerificationCache
from tests.contract.test_caches import SELLER_TAX_ID, entry_of, key_of, new_issued, of_one_hundred
from tests.support.redis_server import RedisServer, redis_server

DAY = 20260131


@dataclass(slots=True)
class Cached:
    server: RedisServer
    settings: RedisSettings
    link: RedisLink
    issue: RedisIssueCache
    verification: RedisVerificationCache


@pytest.fixture
async def cached(tmp_path: Path) -> AsyncIterator[Cached]:
    with redis_server(tmp_path) as server:
        settings = RedisSettings(url=server.url, connections=4)
        link = RedisLink(settings=settings)
        issue = RedisIssueCache(link=link, settings=settings)
        verification = RedisVerificationCache(link=link, settings=settings, clock=time.monotonic)
        yield Cached(server, settings, link, issue, verification)
        await link.close()


async def until_back(link: RedisLink) -> None:
    while link.away:  # noqa: ASYNC110 (the link has no reason to tell anybody)
        await asyncio.sleep(0.05)


async def everything_is_empty(cached: Cached) -> None:
    issued = new_issued()
    assert await cached.issue.known([key_of(issued)]) == {}
    await cached.issue.remember([issued], {7: SELLER_TAX_ID})
    assert await cached.verification.entries([issued.number]) == {}
    await cached.verification.remember([entry_of(issued)], ["1" * 20])
    assert await cached.verification.entries(["1" * 20]) == {"1" * 20: None}
    assert not await cached.verification.replace([entry_of(issued)])
    assert await cached.verification.count_public_checks([issued.number], DAY) == [1]
    assert await cached.verification.count_public_checks([issued.number], DAY) == [2]


async def test_a_hung_redis_is_waited_for_once_and_found_again(cached: Cached) -> None:
    issued = new_issued()
    await cached.issue.remember([issued], {7: SELLER_TAX_ID})
    cached.server.hang()
    # those that are under way when it happens share one wait, also those that queue for a connection
    assert await asyncio.gather(*(cached.issue.known([key_of(issued)]) for _ in range(50))) == [{}] * 50
    assert cached.link.away
    await everything_is_empty(cached)
    assert cached.link.away
    cached.server.resume()
    await until_back(cached.link)
    assert await cached.issue.known([key_of(issued)]) == {key_of(issued): issued}


async def test_a_killed_redis_is_an_empty_cache_until_it_is_back(cached: Cached) -> None:
    issued = new_issued()
    await cached.issue.remember([issued], {7: SELLER_TAX_ID})
    cached.server.kill()
    assert await cached.issue.known([key_of(issued)]) == {}
    assert cached.link.away
    await everything_is_empty(cached)
    await asyncio.sleep(1.5 * PROBE_INTERVAL_MS / 1_000)  # so that it is asked for in vain, and asked again
    cached.server.start()
    await until_back(cached.link)
    assert await cached.issue.known([key_of(issued)]) == {}
    await cached.issue.remember([issued], {7: SELLER_TAX_ID})
    assert await cached.issue.known([key_of(issued)]) == {key_of(issued): issued}


async def test_a_restart_between_two_calls_is_not_noticed(cached: Cached) -> None:
    issued = new_issued()
    await cached.issue.remember([issued], {7: SELLER_TAX_ID})
    cached.server.kill()
    cached.server.start()
    assert await cached.issue.known([key_of(issued)]) == {}
    assert not cached.link.away


async def test_a_flushed_redis_is_an_empty_cache(cached: Cached) -> None:
    issued = new_issued()
    await cached.issue.remember([issued], {7: SELLER_TAX_ID})
    cached.server.flush()
    assert await cached.issue.known([key_of(issued)]) == {}
    assert await cached.verification.entries([issued.number]) == {}
    assert not cached.link.away


async def test_a_redis_that_refuses_writes_is_away(cached: Cached) -> None:
    with cached.server.client() as client:
        client.config_set("maxmemory", 1)
    await cached.issue.remember([new_issued()], {7: SELLER_TAX_ID})
    assert cached.link.away
    await everything_is_empty(cached)


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x02" + bytes(200), b"\x01" + b"\xff" * 200])
async def test_strange_values_count_as_absent(cached: Cached, value: bytes) -> None:
    issued = new_issued()
    with cached.server.client() as client:
        client.set(keys.request_key(*key_of(issued)), value)
        client.hset(*keys.entry_place(issued.number), value)
    assert await cached.issue.known([key_of(issued)]) == {}
    assert await cached.verification.entries([issued.number]) == {}


async def test_every_key_has_an_end_and_the_workers_are_woken(cached: Cached) -> None:
    issued, replaced, read = (of_one_hundred(1)[0] for _ in range(3))
    await cached.issue.remember([issued], {7: SELLER_TAX_ID})
    await cached.verification.replace([entry_of(replaced)])
    await cached.verification.remember([entry_of(read)], [])
    await cached.verification.count_public_checks([issued.number], DAY)
    with cached.server.client() as client:
        names = {name.decode() for name in client.scan_iter()}
        assert client.xlen(keys.WAKE_STREAM) == 1
        lives = {name: client.ttl(name) for name in names - {keys.WAKE_STREAM, keys.RUN_KEY}}
    assert len(lives) == 5
    for name, life_s in lives.items():
        life_max_s = keys.PUBLIC_CHECKS_TTL_S if name.startswith(keys.PUBLIC_CHECKS_PREFIX) else 3_600
        assert 0 < life_s <= life_max_s, name


async def test_no_entry_is_kept_for_longer_than_its_life(cached: Cached) -> None:
    """Entries share a hash, and what comes later does not lengthen the life of what is there (P7)."""
    first, second = of_one_hundred(2)
    key, _ = keys.entry_place(first.number)
    await cached.issue.remember([first], {7: SELLER_TAX_ID})
    with cached.server.client() as client:
        client.expire(key, 1_000)
        await cached.issue.remember([second], {7: SELLER_TAX_ID})
        await cached.verification.remember([entry_of(second)], [])
        await cached.verification.replace([entry_of(second, -5)])
        assert 990 < client.ttl(key) <= 1_000
    entries = await cached.verification.entries([first.number, second.number])
    assert entries == {first.number: entry_of(first), second.number: entry_of(second, -5)}


@pytest.mark.parametrize("known", [0, -3, -9])
async def test_what_is_replaced_does_not_end_at_once(cached: Cached, known: int) -> None:
    """A replica may not know it yet; so a hash that ends soon begins anew, and the redder of two stays (P7)."""
    first, second = of_one_hundred(2)
    key, _ = keys.entry_place(first.number)
    await cached.verification.replace([entry_of(first), entry_of(second, known)])
    with cached.server.client() as client:
        client.expire(key, ENDS_SOON_S - 1)
        await cached.verification.replace([entry_of(second, -5)])
        assert 3_590 < client.ttl(key) <= 3_600
    entries = await cached.verification.entries([first.number, second.number])
    assert entries == {second.number: entry_of(second, min(known, -5))}


async def test_a_closed_link_is_away(cached: Cached) -> None:
    await cached.link.close()
    await everything_is_empty(cached)

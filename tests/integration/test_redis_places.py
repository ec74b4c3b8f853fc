"""A place that may change is watched: who was left with an old master that still answers does not read it for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio.connection import Connection
from redis.exceptions import RedisError

from core.settings import Address, RedisSettings
from core.storage.redis.keys import entry_place
from core.storage.redis.link import RedisLink
from core.storage.redis.places import Place
from core.storage.redis.verification_cache import RedisVerificationCache
from tests.contract.test_caches import entry_of, new_issued
from tests.support.redis_server import RedisServer, redis_server

PATIENCE_S = 60.0


class Told:
    """A Finder that says what it was told."""

    watched = True

    def __init__(self, server: RedisServer) -> None:
        self.server: RedisServer | None = server

    async def find(self) -> Place:
        if self.server is None:
            raise RedisError("nobody knows")
        port = self.server.port
        return Place(Address("127.0.0.1", port), partial(Connection, host="127.0.0.1", port=port, protocol=2))


async def until(link: RedisLink, *, away: bool) -> None:
    while link.away is not away:  # noqa: ASYNC110 (the link has no reason to tell anybody)
        await asyncio.sleep(0.05)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    with redis_server(tmp_path) as first, redis_server(tmp_path) as second:
        yield first, second


@pytest.fixture
async def told(servers: tuple[RedisServer, RedisServer]) -> Told:
    return Told(servers[0])


@pytest.fixture
async def link(servers: tuple[RedisServer, RedisServer], told: Told) -> AsyncIterator[RedisLink]:
    link = RedisLink(settings=RedisSettings(url=servers[0].url, timeout_ms=1_000), finder=told)
    yield link
    await link.close()


async def test_an_old_master_that_answers_is_left(
    servers: tuple[RedisServer, RedisServer], told: Told, link: RedisLink
) -> None:
    issued = new_issued()
    cache = RedisVerificationCache(link=link, settings=RedisSettings(url=servers[0].url))
    await cache.remember([entry_of(issued)], [])
    told.server = servers[1]
    async with asyncio.timeout(PATIENCE_S):
        while await cache.entries([issued.number]):  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.05)
        while not await cache.replace([entry_of(issued, -500)]):  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.05)
    for server, size in zip(servers, (2, 2), strict=True):
        with server.client() as client:
            assert client.dbsize() == size  # the entry and the run id: the first one kept the old entry
    assert await cache.entries([issued.number]) == {issued.number: entry_of(issued, -500)}


async def test_who_cannot_ask_does_not_believe(told: Told, link: RedisLink) -> None:
    await link.call("PING")
    server, told.server = told.server, None
    async with asyncio.timeout(PATIENCE_S):
        await until(link, away=True)
        told.server = server
        await until(link, away=False)
    assert await link.call("PING") == b"PONG"


async def test_a_master_that_was_made_a_replica_is_not_believed(
    servers: tuple[RedisServer, RedisServer], link: RedisLink
) -> None:
    """Its run id is its own still, until it has what its new master has."""
    issued = new_issued()
    settings = RedisSettings(url=servers[0].url, timeout_ms=1_000)
    await RedisVerificationCache(link=link, settings=settings).remember([entry_of(issued)], [])
    with servers[0].client() as client:
        client.replicaof("127.0.0.1", 1)
        another = RedisLink(settings=settings)
        assert await RedisVerificationCache(link=another, settings=settings).entries([issued.number]) == {}
        assert another.away
        await another.close()
        assert client.hexists(*entry_place(issued.number))

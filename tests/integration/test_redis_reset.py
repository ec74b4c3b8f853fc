"""Connections to Redis that are reset while nobody uses them, on the event loop of servers and workers (P5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from core.settings import RedisSettings
from core.storage.redis.link import RedisLink
from core.storage.redis.wake import RedisWakeSource
from tests.chaos.faults.network import Cut
from tests.chaos.proxy import Loop, Proxy
from tests.support.redis_server import redis_server

NOTICED_S = 0.1


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """Before a Redis."""
    with redis_server(tmp_path) as server, Loop() as loop:
        made = Proxy(target=server.port, loop=loop)
        made.open()
        yield made
        made.close()


async def reset(proxy: Proxy) -> None:
    """Resets every connection; new ones are let through."""
    await asyncio.to_thread(proxy.begin, Cut)
    await asyncio.to_thread(proxy.heal)
    await asyncio.sleep(NOTICED_S)


def settings(proxy: Proxy) -> RedisSettings:
    """Where the proxy is."""
    return RedisSettings(url=f"redis://127.0.0.1:{proxy.port}/0", timeout_ms=2_000)


def test_a_call_is_repeated_on_a_new_connection(proxy: Proxy) -> None:
    async def run() -> None:
        link = RedisLink(settings=settings(proxy))
        try:
            assert await link.call("PING") == b"PONG"
            await reset(proxy)
            assert await link.call("PING") == b"PONG"
            assert not link.away
        finally:
            await link.close()

    uvloop.run(run())


def test_a_worker_goes_on_waiting(proxy: Proxy) -> None:
    async def run() -> None:
        source = RedisWakeSource(settings=settings(proxy), consumer="1")
        try:
            for _ in range(3):
                assert not await source.wait(10)
                await reset(proxy)
        finally:
            await source.close()

    uvloop.run(run())

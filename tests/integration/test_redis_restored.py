"""Redis back with what an older process of it knew: nothing of that is believed (P5, P7)."""

from __future__ import annotations

import time
from pathlib import Path

from core.settings import RedisSettings
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.keys import RUN_KEY
from core.storage.redis.link import RedisLink
from core.storage.redis.verification_cache import RedisVerificationCache
from tests.contract.test_caches import SELLER_TAX_ID, entry_of, key_of, new_issued
from tests.support.redis_server import redis_server


async def test_what_a_dump_brings_back_is_dropped_and_what_came_after_the_start_is_kept(tmp_path: Path) -> None:
    issued = new_issued()
    with redis_server(tmp_path) as server:
        settings = RedisSettings(url=server.url, connections=2)
        link = RedisLink(settings=settings)
        await RedisIssueCache(link=link, settings=settings).remember([issued], {7: SELLER_TAX_ID})
        await RedisVerificationCache(link=link, settings=settings, clock=time.monotonic).remember(
            [entry_of(issued)], []
        )
        with server.client() as client:
            client.save()  # the state before a red invoice, perhaps
        server.kill()
        server.start()
        with server.client() as client:
            assert client.dbsize() > 1  # all of it came back
        cache = RedisVerificationCache(link=link, settings=settings, clock=time.monotonic)
        assert await cache.entries([issued.number]) == {}
        assert not link.away
        assert await RedisIssueCache(link=link, settings=settings).known([key_of(issued)]) == {}
        await cache.remember([entry_of(issued)], [])
        another = RedisLink(settings=settings)  # a process that connects later drops nothing
        later = RedisVerificationCache(link=another, settings=settings, clock=time.monotonic)
        assert await later.entries([issued.number]) == {issued.number: entry_of(issued)}
        with server.client() as client:
            assert client.exists(RUN_KEY) == 1
        await another.close()
        await link.close()

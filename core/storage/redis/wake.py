"""Wakes workers: a stream whose consumer group hands every message to one of them.

A message has no content and is not acknowledged (NOACK): it only shortens a wait. What is to be done stands in the
database, so nothing is claimed back and nothing is lost with Redis (P5).

The group is made after the same look at what Redis holds that every connection of link.py takes: made before it, the
group would go with the rest when the first server empties a database of another process.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from core.settings import RedisSettings
from core.storage.redis.keys import RUN_KEY, WAKE_STREAM
from core.storage.redis.link import AWAY, OWN_ONLY

STREAM: Final = WAKE_STREAM
GROUP: Final = "workers"
MESSAGES_MAX: Final = 1_000  # taken at once: one look at the database serves them all


class RedisWakeSource:
    """The WakeSource of core/storage/ports.py. `consumer` is the worker's slot, so that consumers do not pile up."""

    def __init__(self, *, settings: RedisSettings, consumer: str, wait_max_ms: int) -> None:
        self._consumer = consumer
        self._ready = False
        self._client = redis.asyncio.Redis.from_url(
            settings.url,
            max_connections=2,
            socket_connect_timeout=settings.timeout_ms / 1_000,
            socket_timeout=(settings.timeout_ms + wait_max_ms) / 1_000,
            retry=Retry(NoBackoff(), 0),
        )

    async def wait(self, timeout_ms: int) -> bool:
        """Waits for a message; see the port. Without Redis it waits the time out."""
        started = time.monotonic()
        try:
            if not self._ready:
                await self._create_group()
            found = await self._client.xreadgroup(
                GROUP, self._consumer, {WAKE_STREAM: ">"}, count=MESSAGES_MAX, block=max(1, timeout_ms), noack=True
            )
            return bool(found)
        except AWAY:
            self._ready = False  # the group may be gone with the stream
            await asyncio.sleep(max(0.0, timeout_ms / 1_000 - (time.monotonic() - started)))
            return False

    async def _create_group(self) -> None:
        """Creates the stream and the group unless they are there, two round trips."""
        await self._client.eval(OWN_ONLY, 1, RUN_KEY)
        try:
            await self._client.xgroup_create(WAKE_STREAM, GROUP, id="$", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._ready = True

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

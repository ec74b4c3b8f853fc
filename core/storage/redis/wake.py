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

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from core.settings import RedisSettings
from core.storage.redis.keys import WAKE_STREAM, WAKES
from core.storage.redis.places import AWAY, exchange, finder_of, pack

STREAM: Final = WAKE_STREAM
GROUP: Final = "workers"
MESSAGES_MAX: Final = 1_000  # taken at once: one look at the database serves them all


class RedisWakeSource:
    """The WakeSource of core/storage/ports.py, for one waiter.

    `consumer` is the worker's slot, so that consumers do not pile up.
    """

    def __init__(self, *, settings: RedisSettings, consumer: str) -> None:
        self._consumer = consumer
        self._timeout_s = settings.timeout_ms / 1_000
        self._finder = finder_of(settings, WAKES)
        self._connection: AbstractConnection | None = None  # one on which the group is known to be there

    async def wait(self, timeout_ms: int) -> bool:
        """Waits for a message; see the port. Without Redis it waits the time out."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(timeout_ms / 1_000 + self._timeout_s):
                return await self._read(timeout_ms)
        except AWAY:
            await asyncio.sleep(max(0.0, timeout_ms / 1_000 - (time.monotonic() - started)))
            return False

    async def _read(self, timeout_ms: int) -> bool:
        """Waits for a message on the kept connection or a new one, which is kept only after complete success."""
        connection, self._connection = self._connection, None
        if connection is None:
            connection = await self._connect()
        read = ("XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", MESSAGES_MAX, "BLOCK", max(1, timeout_ms))
        try:
            (found,) = await exchange(connection, pack(*read, "NOACK", "STREAMS", WAKE_STREAM, ">"), 1)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        return bool(found)

    async def _connect(self) -> AbstractConnection:
        """Connects, and creates the stream and the group unless they are there, two round trips."""
        place = await self._finder.find()
        connection = place.connection()
        try:
            await exchange(connection, b"".join(place.looks), len(place.looks))
            try:
                await exchange(connection, pack("XGROUP", "CREATE", WAKE_STREAM, GROUP, "$", "MKSTREAM"), 1)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def close(self) -> None:
        """Closes the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

"""Connections to Redis and the breaker before them.

Why not the client of redis-py: measured with redis-py 8 and hiredis, a pipeline of two SET an invoice costs 98 µs of
Python an invoice, one script that sets the same keys 7 µs through the client, and 1.8 µs when hiredis packs the
command and it is sent over redis-py's connection, as here; a lone GET costs half of what it costs through the client.
So this module keeps a few of redis-py's connections and sends packed commands; connecting, authentication, TLS and
parsing remain redis-py's. Which node it talks to is asked at every new connection (core/storage/redis/places.py); for a
Redis Cluster there is one of these links a family of keys (core/storage/redis/cluster.py).

A cache is never worth waiting for (P5): after a failure Redis counts as away at once, every call then costs nothing,
and a background task looks every second whether it is back. Those who were waiting for the first failure waited for
the timeout once.

What a Redis has from before its start is not believed: a dump or a replica may lack the red invoices of its last
moments or of its last day, and a check would miss them until the entries end (P7). So the first command of every
connection empties a database that was filled by another process of Redis than the one it runs in (docs/adr/0035).

After a failover, or when a slot was moved, connections break or answer READONLY or MOVED. That is a failure like any
other: the kept connections go, and the next connection is made to where Redis is then. Sentinels are asked twice a
second whether the master is still the same: an old one that was cut off with some of us goes on answering (P7).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from types import TracebackType
from typing import Any, Final, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from core.settings import RedisSettings
from core.storage.redis.keys import ANSWERS
from core.storage.redis.places import AWAY, Argument, Finder, Place, finder_of, pack

LOG = logging.getLogger(__name__)

PROBE_INTERVAL_MS: Final = 1_000
TIMEOUT_TICKS: Final = 10
WATCH_INTERVAL_MS: Final = 500  # P7: below a second, the failover's last moments included
WATCH_FAILURES_MAX: Final = 3  # who cannot ask so many times does not know where the master is


class RedisAway(Exception):
    """Redis cannot be used now."""


class LinkMetrics(Protocol):
    """What the link reports of itself."""

    def redis_away(self, away: bool) -> None:
        """Redis went away or came back."""


class Link(Protocol):
    """The way to Redis, whatever it is made of."""

    @property
    def away(self) -> bool:
        """Whether Redis, all of it, counts as away."""

    def family(self, family: str) -> RedisLink:
        """Returns the link for commands that touch the keys of one family, see core/storage/redis/keys.py."""

    def call_mixed(self, commands: Sequence[bytes]) -> Awaitable[object]:
        """Sends packed commands of several families in one round trip a node; raises RedisAway when awaited.

        The order is kept within a family. Only for commands that may be repeated.
        """

    async def close(self) -> None:
        """Closes everything; later calls raise RedisAway."""


class _FairTimeout:
    """A timeout that a busy event loop cannot cause by itself: it takes TIMEOUT_TICKS turns of the loop at least.

    A plain timeout of 200 ms also fires when the reply has been there for long and the loop, full of work, had only
    three turns in that time; then a healthy Redis would count as away just when it is needed most.
    """

    def __init__(self, timeout_s: float) -> None:
        self._tick_s = timeout_s / TIMEOUT_TICKS
        self._ticks_left = TIMEOUT_TICKS
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._ticks_left -= 1
        if self._ticks_left:
            self._timer = loop.call_later(self._tick_s, self._tick)
        else:
            self._timer = None
            self._timeout.reschedule(loop.time())


class RedisLink:
    """A bounded set of connections; at most `settings.connections` calls are under way, the others queue.

    A call that takes longer than `settings.timeout_ms` once it has a connection, or fails, makes Redis count as away.
    """

    def __init__(
        self, *, settings: RedisSettings, metrics: LinkMetrics | None = None, finder: Finder | None = None
    ) -> None:
        self._timeout_s = settings.timeout_ms / 1_000
        self._metrics = metrics
        self._finder = finder_of(settings, ANSWERS) if finder is None else finder
        self._place: Place | None = None
        self._watch: asyncio.Task[None] | None = None
        self._idle: list[AbstractConnection] = []
        self._room = asyncio.Semaphore(settings.connections)
        self._probe: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def away(self) -> bool:
        """Whether Redis counts as away."""
        return self._probe is not None or self._closed

    async def call(self, *command: Argument) -> Any:
        """Sends one command and returns its reply; raises RedisAway. Only for commands that may be repeated."""
        return (await self.call_packed(pack(*command), 1))[0]

    async def call_packed(self, packed: bytes, replies: int, *, repeat: bool = True) -> list[Any]:
        """Sends packed commands in one round trip and returns their replies; raises RedisAway.

        A kept connection may have been closed by the server since its last use; then the commands are sent once more
        over a new one, unless `repeat` is False. An error reply to any of them counts as a failure.
        """
        if self.away:
            raise RedisAway
        async with self._room:
            if self.away:  # it went while this call was queued
                raise RedisAway
            try:
                async with _FairTimeout(self._timeout_s):
                    if self._idle:
                        try:
                            return await self._exchange(self._idle.pop(), packed, replies)
                        except AWAY:
                            if not repeat:
                                raise
                            await self._drop_idle()
                    return await self._first_exchange(packed, replies)
            except AWAY as error:
                self._break(error)
                raise RedisAway from error

    def family(self, family: str) -> RedisLink:  # noqa: ARG002 (a cluster has a link a family)
        """Returns itself: all keys are in one place."""
        return self

    def call_mixed(self, commands: Sequence[bytes]) -> Awaitable[object]:
        """Sends the commands in one round trip; see Link."""
        return self.call_packed(b"".join(commands), len(commands))

    async def _first_exchange(self, packed: bytes, replies: int) -> list[Any]:
        """Exchanges over a new connection, after a look at what Redis holds; no round trip more but for the place."""
        self._place = place = await self._finder.find()
        connection = place.connection()
        looks = len(place.looks)
        found = await self._exchange(connection, b"".join(place.looks) + packed, looks + replies)
        if any(found[:looks]):
            LOG.info("Redis has started anew: what it held was dropped")
        if self._finder.watched and self._watch is None and not self._closed:
            self._watch = asyncio.create_task(self._watch_place(), name="redis-watch")
        return found[looks:]

    async def _exchange(self, connection: AbstractConnection, packed: bytes, replies: int) -> list[Any]:
        """Sends and reads on one connection, which is kept only after complete success."""
        try:
            await connection.send_packed_command(packed, check_health=False)
            found = [await connection.read_response(disconnect_on_error=False) for _ in range(replies)]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        if self._closed:
            await connection.disconnect(nowait=True)
        else:
            self._idle.append(connection)
        return found

    def _break(self, error: BaseException) -> None:
        """Notes that Redis is away and starts looking for it."""
        if self.away:
            return
        LOG.warning("Redis counts as away: %r", error)
        if self._metrics is not None:
            self._metrics.redis_away(True)
        self._probe = asyncio.create_task(self._look_until_back(), name="redis-probe")

    async def _look_until_back(self) -> None:
        """Asks Redis for a sign of life every PROBE_INTERVAL_MS until there is one."""
        await self._drop_idle()
        while True:
            await asyncio.sleep(PROBE_INTERVAL_MS / 1_000)
            await self._drop_idle()  # of calls that were under way
            try:
                async with _FairTimeout(self._timeout_s):
                    await self._first_exchange(pack("PING"), 1)
            except AWAY:
                continue
            break
        LOG.info("Redis is back")
        if self._metrics is not None:
            self._metrics.redis_away(False)
        self._probe = None

    async def _watch_place(self) -> None:
        """Asks every WATCH_INTERVAL_MS where Redis is, and counts it as away when it moved or nobody says."""
        failures = 0
        while True:
            await asyncio.sleep(WATCH_INTERVAL_MS / 1_000)
            before = self._place
            try:
                async with _FairTimeout(self._timeout_s):
                    now = await self._finder.find()
            except AWAY as error:
                failures += 1
                if failures >= WATCH_FAILURES_MAX:
                    self._break(error)
            else:
                failures = 0
                if now != before and before is self._place:
                    self._break(RedisError(f"it is at {now.address} now"))

    async def _drop_idle(self) -> None:
        """Closes the connections that nobody uses."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Closes everything; later calls raise RedisAway."""
        self._closed = True
        tasks = [task for task in (self._probe, self._watch) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._drop_idle()

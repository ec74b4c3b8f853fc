"""Connections to Redis and the breaker before them.

Why not the client of redis-py: measured with redis-py 8 and hiredis, a pipeline of two SET an invoice costs 98 µs of
Python an invoice, one script that sets the same keys 7 µs through the client, and 1.8 µs when hiredis packs the
command and it is sent over redis-py's connection, as here; a lone GET costs half of what it costs through the client.
So this module keeps a few of redis-py's connections and sends packed commands; connecting, authentication, TLS and
parsing remain redis-py's. It talks to one node: for a Redis Cluster a client that knows slots goes into its place.

A cache is never worth waiting for (P5): after a failure Redis counts as away at once, every call then costs nothing,
and a background task looks every second whether it is back. Those who were waiting for the first failure waited for
the timeout once.

What a Redis has from before its start is not believed: a dump or a replica may lack the red invoices of its last
moments or of its last day, and a check would miss them until the entries end (P7). So the first command of every
connection empties a database that was filled by another process of Redis than the one it runs in (docs/adr/0035).
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Any, Final, Protocol

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core.settings import RedisSettings
from core.storage.redis.keys import RUN_KEY

LOG = logging.getLogger(__name__)

PROBE_INTERVAL_MS: Final = 1_000
TIMEOUT_TICKS: Final = 10
# RuntimeError is uvloop's word for a write to a connection that was reset since its last use
AWAY: Final = (RedisError, OSError, RuntimeError)
OWN_ONLY: Final = (
    "local id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')"
    " if redis.call('GET', KEYS[1]) == id then return 0 end"
    " redis.call('FLUSHDB', 'ASYNC') redis.call('SET', KEYS[1], id) return 1"
)
Argument = str | int | float | bytes | memoryview


def pack(*command: Argument) -> bytes:
    """Packs one command, about 0.1 µs an argument."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub means tuples of any length
    return packed


EMPTY_FOREIGN: Final = pack("EVAL", OWN_ONLY, 1, RUN_KEY)


class RedisAway(Exception):
    """Redis cannot be used now."""


class LinkMetrics(Protocol):
    """What the link reports of itself."""

    def redis_away(self, away: bool) -> None:
        """Redis went away or came back."""


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

    def __init__(self, *, settings: RedisSettings, metrics: LinkMetrics | None = None) -> None:
        self._timeout_s = settings.timeout_ms / 1_000
        self._metrics = metrics
        # one attempt and no timeouts of its own: the call's timeout covers connecting, sending and reading
        self._pool = ConnectionPool.from_url(
            settings.url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=self._timeout_s,
            health_check_interval=0,
            decode_responses=False,
            protocol=2,
        )
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

    def _connection(self) -> AbstractConnection:
        """Makes a connection, which connects at its first use."""
        made: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return made

    async def _first_exchange(self, packed: bytes, replies: int) -> list[Any]:
        """Exchanges over a new connection, after a look at what Redis holds; no round trip more."""
        found = await self._exchange(self._connection(), EMPTY_FOREIGN + packed, 1 + replies)
        if found[0]:
            LOG.info("Redis has started anew: what it held was dropped")
        return found[1:]

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

    async def _drop_idle(self) -> None:
        """Closes the connections that nobody uses."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Closes everything; later calls raise RedisAway."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
        await self._drop_idle()

"""Where Redis is: one node, the master that sentinels name, or the node of a cluster that holds a family of keys.

Whoever connects asks for the place first and sends the place's looks before anything else (docs/adr/0035, 0043). The
sentinels, or the first guesses of a cluster, are asked all at once and the first good answer counts, so that one of
them that hangs delays nobody. Those that a partition has cut off are not believed: a sentinel must see most of the
others, a node of a cluster must hold the cluster for whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError

from core.settings import Address, RedisSettings
from core.storage.redis.keys import FAMILIES, RUN_KEY, run_key

# RuntimeError is uvloop's word for a write to a connection that was reset since its last use
AWAY: Final = (RedisError, OSError, RuntimeError)
OWN_ONLY: Final = (
    "if not string.find(redis.call('INFO', 'replication'), 'role:master', 1, true) then"
    " return redis.error_reply('READONLY this is a replica') end"
    " local id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')"
    " local had = redis.call('GET', KEYS[1])"
    " if had == id then return 0 end"
    " if not had and ARGV[1] == 'beside' then redis.call('SET', KEYS[1], id) return 0 end"
    " redis.call('FLUSHDB', 'ASYNC') redis.call('SET', KEYS[1], id) return 1"
)
Argument = str | int | float | bytes | memoryview


def pack(*command: Argument) -> bytes:
    """Packs one command, about 0.1 µs an argument."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub means tuples of any length
    return packed


async def exchange(connection: AbstractConnection, packed: bytes, replies: int) -> list[Any]:
    """Sends packed commands on a connection and reads their replies; raises RedisError or OSError."""
    await connection.send_packed_command(packed, check_health=False)
    return [await connection.read_response(disconnect_on_error=False) for _ in range(replies)]


def look(key: str, *, beside: bool = False) -> bytes:
    """Packs the command that empties a database filled by another process than the one it runs in.

    The run id of the process is kept under `key`. Where there is none, another process is assumed; but `beside` another
    look, which says that this is not so, it is only noted. The reply is 1 when the database was emptied.
    """
    return pack("EVAL", OWN_ONLY, 1, key, "beside" if beside else "")


EMPTY_FOREIGN: Final = look(RUN_KEY)


@dataclass(frozen=True, slots=True)
class Place:
    """The node's address, None when it never changes, what makes connections to it, and what each of them sends first.

    A connection connects at its first use.
    """

    address: Address | None
    connection: Callable[[], AbstractConnection] = field(compare=False, repr=False)
    looks: tuple[bytes, ...] = (EMPTY_FOREIGN,)


class Finder(Protocol):
    """Finds the place."""

    @property
    def watched(self) -> bool:
        """Whether the place may change and leave connections that still answer."""

    async def find(self) -> Place:
        """Returns the place of now; raises RedisError or OSError, and has no timeout of its own."""


class OneNode:
    """The node of `redis.url`."""

    watched = False

    def __init__(self, settings: RedisSettings) -> None:
        self._place = Place(None, ConnectionPool.from_url(settings.url, **_options(settings)).make_connection)

    async def find(self) -> Place:
        """Returns the one place."""
        return self._place


class SentinelMaster:
    """The master of `redis.sentinel_master`, as `redis.sentinels` know it."""

    watched = True  # an old master that was cut off goes on answering those on its side

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        # a sentinel that cannot reach most of the others may have missed a failover, and says so
        self._question = pack("SENTINEL", "CKQUORUM", settings.sentinel_master) + pack(
            "SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.sentinel_master
        )

    async def find(self) -> Place:
        """Asks the sentinels, two round trips on connections of their own."""
        return await _first_answer([self._ask(sentinel) for sentinel in self._settings.sentinels])

    async def _ask(self, sentinel: Address) -> Place:
        settings = self._settings
        connection = _connection(settings, sentinel, settings.sentinel_user, settings.sentinel_password)
        try:
            _, found = await exchange(connection, self._question, 2)
        finally:
            await connection.disconnect(nowait=True)
        if found is None:
            raise RedisError(f"{sentinel} knows no {settings.sentinel_master}")
        return _place(settings, Address(found[0].decode(), int(found[1])), (EMPTY_FOREIGN,))


class ClusterNode:
    """The node of `redis.cluster` that holds a family of keys.

    Emptying a node takes all its families. So the run id of its process stands under the key of the first family that
    lives there, and every other family's own key only tells that it was moved there with what another process held.
    """

    watched = False  # a node answers MOVED for what it does not hold, and nothing when it is cut off

    def __init__(self, settings: RedisSettings, family: str) -> None:
        self._settings = settings
        self._family = family

    async def find(self) -> Place:
        """Asks the cluster, two round trips on connections of their own."""
        return await _first_answer([self._ask(node) for node in self._settings.cluster])

    async def _ask(self, node: Address) -> Place:
        connection = _connection(self._settings, node, self._settings.user, self._settings.password)
        try:
            state, slots = await exchange(connection, pack("CLUSTER", "INFO") + pack("CLUSTER", "SLOTS"), 2)
        finally:
            await connection.disconnect(nowait=True)
        if b"cluster_state:ok" not in state:
            raise RedisError(f"{node} says that the cluster is down")
        owners = {family: owner(slots, family, node) for family in FAMILIES}
        address = owners[self._family]
        first = next(family for family in FAMILIES if owners[family] == address)
        of_node, own = look(run_key(first)), look(run_key(self._family), beside=True)
        # first whether the family is from elsewhere, since that empties all; last, so that it is noted in any case
        return _place(self._settings, address, (of_node,) if first == self._family else (own, of_node, own))


def owner(slots: Sequence[Any], family: str, asked: Address) -> Address:
    """Returns the node that holds a family's slot by the reply to CLUSTER SLOTS of the node `asked`."""
    slot = key_slot(run_key(family).encode())
    for first, last, (host, port, *_), *_ in slots:
        if first <= slot <= last:
            return Address(host.decode() if host else asked.host, int(port))  # no host: the one that was asked
    raise RedisError(f"nobody holds slot {slot}")


def finder_of(settings: RedisSettings, family: str) -> Finder:
    """Returns what finds the place of a family of keys."""
    if settings.cluster:
        return ClusterNode(settings, family)
    return SentinelMaster(settings) if settings.sentinels else OneNode(settings)


def _options(settings: RedisSettings) -> dict[str, Any]:
    """Options of every connection: one attempt and no timeouts, the call's covers everything."""
    return {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "socket_connect_timeout": settings.timeout_ms / 1_000,
        "health_check_interval": 0,
        "decode_responses": False,
        "protocol": 2,
    }


def _place(settings: RedisSettings, address: Address, looks: tuple[bytes, ...]) -> Place:
    """Returns the place of a node that sentinels or a cluster named."""
    user, password, database = settings.user, settings.password, settings.database
    return Place(address, lambda: _connection(settings, address, user, password, database), looks)


def _connection(
    settings: RedisSettings, address: Address, user: str, password: str, database: int = 0
) -> AbstractConnection:
    """Makes a connection to a node or a sentinel."""
    options = _options(settings) | {"username": user or None, "password": password or None, "db": database}
    if settings.tls:
        return SSLConnection(host=address.host, port=address.port, ssl_ca_certs=settings.tls_ca or None, **options)
    return Connection(host=address.host, port=address.port, **options)


async def _first_answer(questions: Sequence[Coroutine[Any, Any, Place]]) -> Place:
    """Returns the first answer that is not an error, or raises the last error."""
    asking = [asyncio.create_task(question) for question in questions]
    failed: BaseException = RedisError("nobody was asked")
    try:
        for answer in asyncio.as_completed(asking):
            try:
                return await answer
            except AWAY as error:
                failed = error
        raise failed
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

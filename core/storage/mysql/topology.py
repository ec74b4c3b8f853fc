"""Who is the primary, and which replicas are fresh enough: found out by looking, all the time.

Every node is looked at each `probe_interval_ms` over a connection of its own: `@@read_only` tells the primary,
semi-sync is reported. How fresh a replica is comes from GTIDs, not from Seconds_Behind_Master, which counts whole
seconds and says 0 while a dead network goes unnoticed: the primary's position, read at a known time, is waited for on
the replica (MASTER_GTID_WAIT on MariaDB, WAIT_FOR_EXECUTED_GTID_SET on MySQL), never past the next look, since it may
be promoted meanwhile. Once it is there, the replica has everything that was committed before that time. It is used
until that time is `replica_lag_max_ms` ago, so no read is staler than that, whatever has happened to the replica, to
the primary or to this process (P7). No privilege is needed beyond reading.

A node that changes its role or goes away loses its connections, so that nobody waits for a dead one.

Each failover raises the epoch (docs/adr/0029). A node that takes writes in an epoch below the highest one this process
has seen is an old primary, and nobody's; one that follows in an older epoch answers no reads. Two writable nodes of one
epoch are nobody's primary: writing to either could lose invoices, so issuing waits until that is settled. So it does
when the primary does not wait for a replica before it acknowledges, unless mysql.durability allows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import aiomysql
import pymysql

from core.settings import Address, MySQLSettings
from core.storage.mysql.pool import Access, Node, Primary, Replicas, is_away, rows, unavailable

LOG = logging.getLogger(__name__)

PROBE_TIMEOUT_MS: Final = 1_000
PROBE_TIMEOUTS_MAX: Final = 3  # in a row, before a node that still accepts connections counts as away

_FLAVOUR = "SELECT VERSION()"
_SEMI_SYNC = "SHOW GLOBAL STATUS WHERE Variable_name REGEXP '^Rpl_semi_sync_.*_(status|wait_sessions)$'"


class Role(enum.StrEnum):
    """What a node is now."""

    PRIMARY = "primary"
    REPLICA = "replica"
    FENCED = "fenced"  # takes writes, but in an epoch that is over
    UNSAFE = "unsafe"  # takes writes, and acknowledges them before a replica has them
    AWAY = "away"


WRITABLE: Final = frozenset({Role.PRIMARY, Role.UNSAFE})


class TopologyMetrics(Protocol):
    """What is reported of the nodes."""

    def node(self, address: Address, *, role: str, age_s: float | None) -> None:
        """A node was looked at: its role, and for a replica how old its state is at most."""

    def semi_sync(self, address: Address, on: bool) -> None:
        """Whether the primary waits for a replica before it answers a commit (P1)."""

    def commit_stall(self, address: Address, stall_s: float) -> None:
        """How long a commit has been waiting for a receipt while no other one gets through; 0 where none does."""


@dataclass(frozen=True, slots=True)
class _Flavour:
    """The dialect of a server."""

    look: str  # read_only, the position
    wait: str


MARIADB: Final = _Flavour(
    look="SELECT @@GLOBAL.read_only, @@GLOBAL.gtid_binlog_pos", wait="SELECT MASTER_GTID_WAIT(%s, %s)"
)
MYSQL: Final = _Flavour(
    look="SELECT @@GLOBAL.read_only, @@GLOBAL.gtid_executed", wait="SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)"
)
_EPOCH: Final = ", (SELECT epoch FROM fencing)"
NO_TABLE: Final = 1146


@dataclass(slots=True)
class _Watched:
    """A node and what is known of it. `fresh_at`: everything committed before this moment is there."""

    node: Node  # for reads
    writing: Node
    issuing: (
        Node  # commits have connections of their own: reads and other writes never wait for them, nor they for these
    )
    role: Role = Role.AWAY
    epoch: int = 0
    fresh_at: float = float("-inf")
    looked_at: float = float("-inf")  # when the last look began
    awaited: _Position | None = None  # the primary's position that a replica did not reach in its last look
    stalled_at: float | None = None  # since when a commit waits for a receipt and the position stands still
    timeouts: int = 0
    connection: aiomysql.Connection | None = None
    flavour: _Flavour | None = None


@dataclass(slots=True)
class _Position:
    """The primary's position and when its reading began; `newer` is set once there is another."""

    gtid: str
    began_at: float
    newer: asyncio.Event = field(default_factory=asyncio.Event)


class Topology:
    """Watches the nodes of the settings and hands out the present primary and the fresh replicas.

    `start` looks once and returns though no node may be there yet; `close` ends everything.
    """

    def __init__(
        self,
        *,
        settings: MySQLSettings,
        metrics: TopologyMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._lag_max_s = settings.replica_lag_max_ms / 1_000
        self._interval_s = settings.probe_interval_ms / 1_000
        addresses = dict.fromkeys((settings.primary, *settings.replicas))
        self._watched = [
            _Watched(
                node=Node(settings, address, access=Access.READS),
                writing=Node(settings, address, access=Access.WRITES),
                issuing=Node(settings, address, access=Access.WRITES),
            )
            for address in addresses
        ]
        self._epoch = 0  # the highest one seen of any node
        self._primary: Primary | None = None
        self._issuing: Primary | None = None
        self._fresh = Replicas(())
        self._position = _Position("", float("-inf"))
        self._tasks: set[asyncio.Task[None]] = set()

    def primary(self) -> Primary:
        """Returns the primary; raises STORAGE_UNAVAILABLE while none is known. No I/O."""
        if self._primary is None:
            raise unavailable("no primary is known")
        return self._primary

    def issuing(self) -> Primary:
        """Returns the same primary with the connections that are for issuing only; raises as `primary`. No I/O."""
        if self._issuing is None:
            raise unavailable("no primary is known")
        return self._issuing

    def replicas(self) -> Replicas:
        """Returns the replicas that are fresh enough at this moment, maybe none. No I/O."""
        oldest = self._clock() - self._lag_max_s
        fresh = tuple(
            watched.node
            for watched in self._watched
            if watched.role is Role.REPLICA and watched.fresh_at >= oldest and watched.epoch == self._epoch
        )
        if fresh != self._fresh.nodes:
            self._fresh = Replicas(fresh)  # kept while it lasts: it takes its nodes in turn
        return self._fresh

    async def start(self) -> None:
        """Looks at every node once, then goes on looking in the background."""
        await asyncio.gather(*(self._look(watched) for watched in self._watched))
        await asyncio.gather(*(self._look(watched) for watched in self._watched if watched.role is Role.REPLICA))
        for watched in self._watched:
            self._spawn(self._watch(watched))

    async def close(self) -> None:
        """Stops looking and closes all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for watched in self._watched:
            _hang_up(watched)
            _drop(watched)

    async def _watch(self, watched: _Watched) -> None:
        """Looks at one node for ever; a replica as soon as there is a newer position to wait for."""
        while True:
            rest_s = max(watched.looked_at + self._interval_s - self._clock(), 0.0)
            if watched.role is not Role.REPLICA or watched.awaited is not None:
                await asyncio.sleep(rest_s)
            elif self._position.began_at <= watched.fresh_at:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rest_s):
                        await self._position.newer.wait()
            try:
                await self._look(watched)
            except Exception:  # a fault of ours in one look must not end the looking
                LOG.exception("a look at %s failed", watched.node.address)
                await asyncio.sleep(self._interval_s)

    async def _look(self, watched: _Watched) -> None:
        """Looks at one node and draws the consequences."""
        watched.looked_at = self._clock()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_MS / 1_000):
                role = await self._probe(watched)
            if role is Role.REPLICA:
                async with asyncio.timeout(PROBE_TIMEOUT_MS / 1_000 + self._interval_s):
                    await self._wait(watched)
            watched.timeouts = 0
        except Exception as error:
            _hang_up(watched)
            watched.timeouts += 1
            if isinstance(error, TimeoutError) and watched.timeouts < PROBE_TIMEOUTS_MAX:
                return
            if not isinstance(error, TimeoutError) and not is_away(error):
                LOG.exception("a look at %s failed", watched.node.address)
            role = Role.AWAY
        self._note(watched, role)

    async def _probe(self, watched: _Watched) -> Role:
        """Asks a node what it is and in which epoch, and the primary for its position; 1 to 3 round trips."""
        if watched.connection is None:
            watched.connection = await self._connect(watched.node.address)
            version = await rows(watched.connection, _FLAVOUR)
            watched.flavour = MARIADB if "mariadb" in str(version[0][0]).lower() else MYSQL
        connection, flavour = watched.connection, watched.flavour or MARIADB
        began_at = self._clock()
        try:
            read_only, gtid, watched.epoch = (await rows(connection, flavour.look + _EPOCH))[0]
        except pymysql.err.ProgrammingError as error:
            if error.args[0] != NO_TABLE:
                raise
            watched.epoch = 0  # before the migrations; nothing can be written yet
            read_only, gtid = (await rows(connection, flavour.look))[0]
        self._epoch = max(self._epoch, watched.epoch)
        if read_only:
            return Role.REPLICA
        if watched.epoch < self._epoch:
            return Role.FENCED
        status = await rows(connection, _SEMI_SYNC)
        on = any(value == "ON" for name, value in status if "slave" not in name and "replica" not in name)
        waits = any(int(value) > 0 for name, value in status if name.endswith("_wait_sessions"))
        stands = waits and gtid == self._position.gtid
        watched.stalled_at = (watched.stalled_at or self._position.began_at) if stands else None
        if self._metrics is not None:
            self._metrics.semi_sync(watched.node.address, on)
        if not on and self._settings.durability == "strict":
            return Role.UNSAFE
        self._position.newer.set()
        self._position = _Position(gtid, began_at)
        return Role.PRIMARY

    async def _wait(self, watched: _Watched) -> None:
        """Waits until a replica has reached the primary's position, or the next look is due; 1 round trip.

        What it did not reach is waited for again in the next look, for as long as it is of use: a replica that is
        always a little behind would never reach the newest.
        """
        awaited = watched.awaited
        if awaited is None or awaited.began_at < self._clock() - self._lag_max_s:
            awaited = self._position
        if watched.connection is None or watched.flavour is None or awaited.began_at <= watched.fresh_at:
            return
        reached = await rows(watched.connection, watched.flavour.wait, (awaited.gtid, self._interval_s))
        watched.awaited = None if reached[0][0] == 0 else awaited
        if watched.awaited is None:
            watched.fresh_at = awaited.began_at

    async def _connect(self, address: Address) -> aiomysql.Connection:
        """Opens a connection for looking, which is never lent."""
        return await aiomysql.connect(
            host=address.host,
            port=address.port,
            user=self._settings.user,
            password=self._settings.password,
            db=self._settings.database,
            connect_timeout=self._settings.connect_timeout_ms / 1_000,
            autocommit=True,
        )

    def _note(self, watched: _Watched, role: Role) -> None:
        """Notes a node's role, and settles who is the primary."""
        self._turn(watched, role)
        for item in self._watched:
            if item.role in WRITABLE and item.epoch < self._epoch:  # another node has a later one
                self._turn(item, Role.FENCED)
        writable = [item for item in self._watched if item.role in WRITABLE]
        if len(writable) != 1:
            if len(writable) > 1:
                names = ", ".join(f"{item.node.address.host}:{item.node.address.port}" for item in writable)
                LOG.error("several nodes take writes, so none is used: %s", names)
            self._primary = self._issuing = None
        else:
            self._settle(writable[0])
        if self._metrics is not None:
            age_s = self._clock() - watched.fresh_at if role is Role.REPLICA else None
            self._metrics.node(watched.node.address, role=role, age_s=age_s)
            stalled_at = watched.stalled_at if role is Role.PRIMARY else None
            self._metrics.commit_stall(watched.node.address, self._clock() - stalled_at if stalled_at else 0.0)

    def _turn(self, watched: _Watched, role: Role) -> None:
        """Gives a node another role and drops its connections: what is under way on them ends, its outcome unknown."""
        if role is watched.role:
            return
        log = LOG.error if role in (Role.FENCED, Role.UNSAFE) else LOG.info
        log("%s:%s is %s now, epoch %s", watched.node.address.host, watched.node.address.port, role, watched.epoch)
        watched.role = role
        watched.fresh_at = float("-inf") if role is not Role.REPLICA else watched.fresh_at
        _drop(watched)

    def _settle(self, watched: _Watched) -> None:
        """Makes a node the primary of its epoch; stores that hold an earlier one ask again after its failure."""
        known = self._primary
        if watched.role is Role.UNSAFE:
            self._primary = self._issuing = None
            return
        if known is not None and known.node is watched.node and known.epoch == watched.epoch:
            return
        self._primary = Primary(watched.node, writing=watched.writing, epoch=watched.epoch)
        self._issuing = Primary(watched.issuing, epoch=watched.epoch)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _drop(watched: _Watched) -> None:
    """Ends the connections to a node, and what is under way on them. No I/O."""
    for node in (watched.node, watched.writing, watched.issuing):
        node.drop()


def _hang_up(watched: _Watched) -> None:
    """Closes the looking connection."""
    connection, watched.connection = watched.connection, None
    if connection is not None:
        connection.close()

"""What a fault is, and where it happens."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import pymysql
import redis

from stack import Stack, StackError, mariadb

HEALTHY_S: Final = 90.0  # after the end of a fault; beyond, the run ends with an error
REDIS_S: Final = 5.0
ANSWER_S: Final = 10  # of a database, to a small question
LONG_S: Final = 300  # to a large one
EDGE: Final = frozenset({"envoy", "load"})
PROMISED: Final = ("P1", "P2", "P3", "P4", "P10")  # what the loss of any process must leave whole


@dataclass(slots=True)
class Site:
    """The stack that faults happen to, and the counts of what was done to it. All methods block."""

    stack: Stack
    random: random.Random
    quick: bool = False
    kills: int = 0
    failovers: int = 0
    releases: int = 0  # of commits whose receipt was lost
    notes: list[str] = field(default_factory=list)

    def kill(self, name: str) -> None:
        """Ends a process with SIGKILL; the supervisor starts it again. One that is just starting is waited for."""
        deadline = time.monotonic() + HEALTHY_S
        while True:
            try:
                self.stack.kill(name)
            except StackError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                self.kills += 1
                return

    def names(self, kind: str) -> list[str]:
        """The processes of a kind ("server", "worker", "mysql") by number."""
        return sorted(name for name in self.stack.status() if name.startswith(f"{kind}-"))

    def any_of(self, kind: str) -> str:
        """One process of a kind, drawn by the seed."""
        return self.random.choice(self.names(kind))

    @property
    def primary(self) -> str:
        """The node that takes writes now."""
        return self.stack.state.primary

    def replicas(self) -> list[str]:
        """The nodes that follow."""
        return list(self.stack.state.replicas)

    @contextmanager
    def sql(self, node: str, *, read_s: int = ANSWER_S) -> Iterator[pymysql.cursors.DictCursor]:
        """A cursor as root on one node, whose statements may take `read_s`."""
        with mariadb.root(self.stack.folder, self.stack.state, node, read_s=read_s) as cursor:
            yield cursor

    @contextmanager
    def cache(self) -> Iterator[redis.Redis]:
        """A client of Redis."""
        with closing(redis.Redis.from_url(self.stack.redis_url, socket_timeout=REDIS_S)) as client:
            yield client

    def wait_until_well(self) -> None:
        """Waits until every process answers and every replica follows. Raises StackError when that takes too long."""
        deadline = time.monotonic() + HEALTHY_S
        for name in self.stack.status():
            self.stack.wait_healthy(name, timeout_s=max(1.0, deadline - time.monotonic()))
        position = ""
        while True:
            if self._follow():
                status = self.stack.replication()
                if not status.waits_s or position not in ("", status.primary_gtid):
                    return  # no commit waits, or others get through
                position = status.primary_gtid
                if status.stalled:  # as an operator would: docs/runbooks.md
                    with suppress(StackError):
                        self.releases += self.stack.release() is not None
            if time.monotonic() > deadline:
                raise StackError(f"replication does not come back: {self.stack.replication()}")
            time.sleep(0.1)

    def _follow(self) -> bool:
        """Tells whether the primary counts every replica, and each of them receives and applies."""
        replicas = self.replicas()
        try:
            for node in replicas:
                with self.sql(node) as cursor:
                    cursor.execute("SHOW SLAVE STATUS")
                    rows: Any = cursor.fetchall()
                    if not rows or {rows[0]["Slave_IO_Running"], rows[0]["Slave_SQL_Running"]} != {"Yes"}:
                        return False
            with self.sql(self.primary) as cursor:
                cursor.execute("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'")
                found: Any = cursor.fetchall()
                return int(found[0]["Value"]) >= len(replicas)
        except (pymysql.err.MySQLError, OSError):
            return False


class Fault(ABC):
    """One way to break the stack. `begin` breaks, `end` mends; both block, and run in a thread.

    One object serves a whole run: what `end` needs is noted by `begin`. Faults whose `parts` meet are never paired.
    """

    name: str
    breaks: str
    heals: str
    promises: ClassVar[tuple[str, ...]] = PROMISED
    affects: str = "issue"  # the kind of call whose recovery is measured
    parts: frozenset[str]  # kinds of processes: server, worker, envoy, redis, mysql, s3, load (or what needs it)
    hold_s: tuple[float, float] = (0.0, 0.0)  # from begin to end: drawn between these
    quick_hold_s: tuple[float, float] = (0.0, 0.0)
    target_s: float | None = None  # to the first acknowledged call afterwards
    stalls: bool = False  # the affected calls cannot go on before its end: recovery counts from there
    waits: bool = False  # beginning it waits for other processes' health: it comes first in a pair
    failover: bool = False  # needs a stack with several replicas
    kills: bool = False  # whether it always kills a process
    own_disk: bool = False  # needs data folders that are file systems of their own
    full_only: bool = False  # too long for the quick run
    weight: int = 1  # how often it comes in a round of the full run

    @property
    def at_edge(self) -> bool:
        """Whether callers lose Envoy itself, so that those who repeat nothing notice."""
        return self.parts <= EDGE

    def prepare(self, site: Site) -> None:  # noqa: B027 -- most need nothing
        """Called once, when the load has begun and before the first fault."""

    @abstractmethod
    def begin(self, site: Site) -> None:
        """Breaks something."""

    def end(self, site: Site) -> None:  # noqa: B027 -- what the supervisor mends needs nothing
        """Mends it; health is waited for afterwards."""

    def settle(self, site: Site) -> None:  # noqa: B027 -- as a rule health tells
        """Waits until what was mended works again, where a process that answers does not show it."""

    def hold(self, site: Site) -> float:
        """How long it lasts, in seconds, drawn by the seed."""
        return site.random.uniform(*(self.quick_hold_s if site.quick else self.hold_s))

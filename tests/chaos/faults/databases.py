"""Replicas that stand still, lag or are all gone; a schema change under load."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar

import pymysql

from tests.chaos.faults.fault import LONG_S, Fault, Site

DELAY_S = 30


class LastReplica(Fault):
    """No replica is left that could receive a commit: issuing waits, and nothing is acknowledged meanwhile."""

    name = "last replica lost and back"
    breaks = "nobody receives commits: issuing waits (P1)"
    heals = "the replicas are started again"
    promises: ClassVar[tuple[str, ...]] = ("P1", "P2", "P3")
    parts = frozenset({"mysql"})
    hold_s = (1.0, 8.0)
    quick_hold_s = (0.5, 1.0)
    stalls = True

    def __init__(self) -> None:
        self._stopped: list[str] = []

    def begin(self, site: Site) -> None:
        self._stopped = site.replicas()
        for node in self._stopped:
            site.stack.stop(node)

    def end(self, site: Site) -> None:
        for node in self._stopped:
            site.stack.start(node)


class StoppedApplier(Fault):
    """A replica receives and does not apply: its reads grow old, and must not be believed."""

    name = "replica SQL thread stopped"
    breaks = "the replica's rows grow old"
    heals = "the thread is started again"
    promises: ClassVar[tuple[str, ...]] = ("P1", "P7")
    parts = frozenset({"mysql"})
    affects = "verify"
    hold_s = (3.0, 15.0)
    quick_hold_s = (2.0, 3.0)
    target_s = 0.0

    def __init__(self) -> None:
        self._nodes: list[str] = []

    def begin(self, site: Site) -> None:
        self._nodes = site.replicas()
        for node in self._nodes:
            with site.sql(node) as cursor:
                cursor.execute("STOP SLAVE SQL_THREAD")

    def end(self, site: Site) -> None:
        for node in self._nodes:
            with site.sql(node) as cursor:
                cursor.execute("START SLAVE SQL_THREAD")


class Behind(StoppedApplier):
    """Replicas apply what they receive half a minute later."""

    name = "replicas 30 s behind"
    breaks = "the replicas' rows are 30 s old"
    heals = "the delay is taken off"
    hold_s = (5.0, 40.0)

    def begin(self, site: Site) -> None:
        self._nodes = site.replicas()
        for node in self._nodes:
            self._delay(site, node, DELAY_S)

    def end(self, site: Site) -> None:
        for node in self._nodes:
            self._delay(site, node, 0)

    @staticmethod
    def _delay(site: Site, node: str, seconds: int) -> None:
        with site.sql(node) as cursor:
            cursor.execute("STOP SLAVE")
            cursor.execute("CHANGE MASTER TO MASTER_DELAY = %s", (seconds,))
            cursor.execute("START SLAVE")


class SchemaChange(Fault):
    """An additive migration of the hot table while calls are written to it, and its way back."""

    name = "schema migration under load"
    breaks = "the hot table gets another column and an index"
    heals = "they are taken away again: code runs before, during and after"
    promises: ClassVar[tuple[str, ...]] = ("P1", "P2", "P3", "P10")
    parts = frozenset({"mysql"})
    hold_s = (1.0, 4.0)
    quick_hold_s = (0.5, 1.0)
    # an additive change, as migrations are: no reader or writer names the column. One step waits for its locks
    CHANGES: ClassVar[tuple[str, ...]] = (
        "ALTER TABLE billow.invoices ADD COLUMN chaos_note VARCHAR(20) NULL",
        "ALTER TABLE billow.invoices ADD INDEX chaos_by_note (chaos_note)",
    )
    BACK: ClassVar[tuple[str, ...]] = (
        "ALTER TABLE billow.invoices DROP INDEX IF EXISTS chaos_by_note",
        "ALTER TABLE billow.invoices DROP COLUMN IF EXISTS chaos_note",
    )

    def begin(self, site: Site) -> None:
        self._alter(site, self.CHANGES)

    def end(self, site: Site) -> None:
        self._alter(site, self.BACK)

    @staticmethod
    def _alter(site: Site, statements: Iterable[str]) -> None:
        with site.sql(site.primary, read_s=LONG_S) as cursor:
            cursor.execute("SET SESSION lock_wait_timeout = 30")
            for statement in statements:
                cursor.execute(statement)


class KilledConnections(Fault):
    """The primary ends every connection of the platform, in the middle of transactions and commits."""

    name = "database connections killed"
    breaks = "connections end anywhere, also while a commit is under way: was it done?"
    heals = "new ones are opened; request ids tell what was done (P2)"
    parts = frozenset({"mysql"})
    target_s = 2.0

    def begin(self, site: Site) -> None:
        for _ in range(3):
            with site.sql(site.primary) as cursor:
                cursor.execute("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'billow'")
                rows: Any = cursor.fetchall()
                for row in rows:
                    with suppress(pymysql.err.MySQLError):  # it has ended by itself
                        cursor.execute("KILL %s", (row["ID"],))
            time.sleep(0.1)


def faults() -> Iterable[Fault]:
    """One of each."""
    return (LastReplica(), StoppedApplier(), Behind(), SchemaChange(), KilledConnections())

"""Redis emptied, hung, full, and back with what it knew long ago (P5, P7)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

import redis

from tests.chaos.faults.fault import Fault, Site

CACHE = ("P5", "P7", "P2")
OLD_S: Final = 13.0


class CacheFault(Fault):
    """What all faults of the cache share: checks are what it hurts, and nothing may be slower to come back for it."""

    promises: ClassVar[tuple[str, ...]] = CACHE
    parts = frozenset({"redis"})
    affects = "verify"
    target_s = 0.0


class Flushed(CacheFault):
    """FLUSHALL under load."""

    name = "redis flushed"
    breaks = "every cached answer and every wake-up is gone"
    heals = "refilled from the database"

    def begin(self, site: Site) -> None:
        with site.cache() as client:
            client.flushall()


class Hung(CacheFault):
    """CLIENT PAUSE: connected, silent; the process itself is frozen by another fault."""

    name = "redis hung"
    breaks = "commands are taken and not answered"
    heals = "answers after the hold; clients skip the cache meanwhile"
    hold_s = (2.0, 8.0)
    quick_hold_s = (1.0, 2.0)

    def __init__(self) -> None:
        self._seconds = 0.0

    def hold(self, site: Site) -> float:
        self._seconds = super().hold(site)
        return self._seconds

    def begin(self, site: Site) -> None:
        with site.cache() as client:
            client.client_pause(int(self._seconds * 1_000))


class Full(CacheFault):
    """Out of memory: 1 MB, and no eviction."""

    name = "redis out of memory"
    breaks = "every write is refused"
    heals = "its limit is put back"
    hold_s = (2.0, 8.0)
    quick_hold_s = (1.0, 2.0)

    def __init__(self) -> None:
        self._before = ""

    def begin(self, site: Site) -> None:
        with site.cache() as client:
            self._before = str(client.config_get("maxmemory")["maxmemory"])
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1mb")

    def end(self, site: Site) -> None:
        with site.cache() as client:
            client.config_set("maxmemory", self._before)
            client.config_set("maxmemory-policy", "allkeys-lru")


class OldCopy(CacheFault):
    """Stopped, and started from a dump taken before: it knows states that are no more.

    The copy is at least OLD_S old, more than what workers put right by themselves; often it is as old as the run.
    """

    name = "redis restored from an old copy"
    breaks = "the cache says what was true before"
    heals = "whoever connects to it first empties it"
    hold_s = (0.0, 4.0)

    def __init__(self) -> None:
        self._copy = b""
        self._taken_at = 0.0

    def prepare(self, site: Site) -> None:
        self._take(site)

    def hold(self, site: Site) -> float:
        if not site.quick and site.random.random() < 0.5:
            self._take(site)
        return max(super().hold(site), self._taken_at + OLD_S - time.monotonic())

    def begin(self, site: Site) -> None:
        pass  # what is restored at the end was taken before

    def end(self, site: Site) -> None:
        site.stack.stop("redis")
        self._dump(site).write_bytes(self._copy)
        site.stack.start("redis")
        self._dump(site).unlink()  # the next start begins empty again

    def _take(self, site: Site) -> None:
        with site.cache() as client:
            client.save()
        self._copy, self._taken_at = self._dump(site).read_bytes(), time.monotonic()

    @staticmethod
    def _dump(site: Site) -> Path:
        return site.stack.folder.redis / "dump.rdb"


class Storm(CacheFault):
    """Every connection cut, again and again."""

    name = "redis connections cut"
    breaks = "connections end under their commands"
    heals = "new ones are opened"
    hold_s = (1.0, 3.0)
    quick_hold_s = (0.2, 0.5)

    def begin(self, site: Site) -> None:
        for _ in range(5):
            with site.cache() as client, suppress(redis.RedisError):
                client.client_kill_filter(_type="normal")
            time.sleep(0.05)


def faults() -> Iterable[Fault]:
    """One of each."""
    return (Flushed(), Hung(), Full(), OldCopy(), Storm())

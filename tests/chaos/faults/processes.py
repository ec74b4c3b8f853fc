"""Processes killed, frozen, restarted in turn, added and taken away."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from tests.chaos.faults.fault import Fault, Site

KINDS = ("server", "worker", "envoy", "redis", "s3", "primary", "replica")
PARTS = {"primary": "mysql", "replica": "mysql"}
AFFECTS = {"worker": "archive", "s3": "archive", "redis": "verify"}
AGAIN: Final = 3
TARGETS_S = {"server": 2.0, "redis": 0.0, "worker": None, "s3": 0.0}  # issuing goes on without worker and store


def name_of(kind: str, site: Site) -> str:
    """The process meant by a kind now."""
    if kind == "primary":
        return site.primary
    if kind == "replica":
        return site.random.choice(site.replicas())
    return kind if kind in {"envoy", "redis", "s3"} else site.any_of(kind)


class Kill(Fault):
    """kill -9 of one process."""

    breaks = "the process is gone in the middle of what it did"
    heals = "the supervisor starts it again"
    kills = True

    def __init__(self, kind: str) -> None:
        self.name = f"kill {kind}"
        self.parts = frozenset({PARTS.get(kind, kind)})
        self.affects = AFFECTS.get(kind, "issue")
        self.target_s = TARGETS_S.get(kind)
        self.weight = 12
        self._kind = kind

    def begin(self, site: Site) -> None:
        site.kill(name_of(self._kind, site))


class KillAll(Fault):
    """kill -9 of every process of a kind at once."""

    breaks = "nobody of that kind is left"
    heals = "the supervisor starts them again"
    kills = True

    def __init__(self, kind: str) -> None:
        self.name = f"kill every {kind}"
        self.parts = frozenset({kind})
        self.affects = AFFECTS.get(kind, "issue")
        self.target_s = TARGETS_S.get(kind)
        self.weight = 8
        self._kind = kind

    def begin(self, site: Site) -> None:
        for name in site.names(self._kind):
            site.kill(name)


class KillAgain(Fault):
    """kill -9 of one process, and again while it comes back."""

    breaks = "the process does not come up"
    heals = "the supervisor starts it again, after a pause when it had ended at once"
    kills = True

    def __init__(self, kind: str) -> None:
        self.name = f"kill {kind} again and again"
        self.parts = frozenset({PARTS.get(kind, kind)})
        self.affects = AFFECTS.get(kind, "issue")
        self.target_s = TARGETS_S.get(kind)
        self.weight = 6
        self._kind = kind

    def begin(self, site: Site) -> None:
        name = name_of(self._kind, site)
        for _ in range(AGAIN):
            site.kill(name)
            time.sleep(site.random.uniform(0.2, 1.2))


class Freeze(Fault):
    """SIGSTOP, later SIGCONT: the process keeps its connections, says nothing, and comes back in the middle."""

    breaks = "the process hangs with its connections open"
    heals = "it goes on where it was: a zombie must not write"

    def __init__(self, kind: str) -> None:
        self.name = f"freeze {kind}"
        self.parts = frozenset({PARTS.get(kind, kind)})
        self.affects = AFFECTS.get(kind, "issue")
        self.target_s = 0.0 if kind in {"redis", "s3"} else None
        self.stalls = kind in {"primary", "envoy"}
        self.hold_s = (1.0, 12.0)
        self.quick_hold_s = (1.0, 3.0)
        self._kind = kind
        self._name = ""

    def begin(self, site: Site) -> None:
        self._name = name_of(self._kind, site)
        site.stack.pause(self._name)

    def end(self, site: Site) -> None:
        site.stack.resume(self._name)


class LongFreeze(Freeze):
    """A freeze of up to a minute, longer than every deadline and lease."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.name = f"freeze {kind} for long"
        self.hold_s = (35.0, 60.0)
        self.full_only = True


class RollingRestart(Fault):
    """Every server is drained and started anew, one after the other."""

    name = "rolling restart of servers"
    breaks = "connections are drained and moved"
    heals = "by itself: a release looks like this"
    waits = True
    parts = frozenset({"server"})
    target_s = 0.0

    def begin(self, site: Site) -> None:
        for name in site.names("server"):
            site.stack.restart(name)
            site.stack.wait_healthy("envoy")  # until it sees the new one: a release goes on only then


class RollingWorkers(RollingRestart):
    """Every worker is restarted in turn."""

    name = "rolling restart of workers"
    parts = frozenset({"worker"})
    affects = "archive"

    def begin(self, site: Site) -> None:
        for name in site.names("worker"):
            site.stack.restart(name)


class Scale(Fault):
    """One more server and worker, later one less."""

    name = "scale up and down"
    breaks = "processes come and go while calls are under way"
    heals = "by itself"
    waits = True
    parts = frozenset({"server", "worker"})
    hold_s = (2.0, 6.0)
    quick_hold_s = (0.5, 1.0)
    target_s = 0.0

    def begin(self, site: Site) -> None:
        site.stack.scale(servers=len(site.names("server")) + 1, workers=len(site.names("worker")) + 1)

    def end(self, site: Site) -> None:
        site.stack.scale(servers=len(site.names("server")) - 1, workers=len(site.names("worker")) - 1)


def faults() -> Iterable[Fault]:
    """One of each."""
    yield from (Kill(kind) for kind in KINDS)
    yield from (KillAll(kind) for kind in ("server", "worker"))
    yield from (KillAgain(kind) for kind in ("server", "worker"))
    yield from (Freeze(kind) for kind in KINDS)
    yield from (LongFreeze(kind) for kind in ("server", "primary"))
    yield from (RollingRestart(), RollingWorkers(), Scale())

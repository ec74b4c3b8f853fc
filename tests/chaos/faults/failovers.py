"""The primary's role moves to a replica, and the old primary comes back without what nobody had received."""

from __future__ import annotations

from collections.abc import Iterable

from tests.chaos.faults.fault import Fault, Site


class Failover(Fault):
    """The primary is killed, the most advanced replica takes its place; later the old one rejoins."""

    breaks = "the primary is gone for good"
    heals = "a replica is promoted; the old primary rejoins, its tail cut off"
    failover = True
    waits = True
    parts = frozenset({"mysql"})
    hold_s = (0.5, 4.0)
    quick_hold_s = (0.5, 1.0)
    target_s = 10.0

    def __init__(self, name: str, *, kill: bool, reachable: bool, frozen: bool = False, weight: int = 8) -> None:
        self.name = name
        self.weight = weight
        self._kill = kill
        self._reachable = reachable
        self._frozen = frozen
        self._old = ""

    def begin(self, site: Site) -> None:
        self._old = site.primary
        if self._frozen:
            site.stack.pause(self._old)
        site.stack.failover(kill=self._kill, reachable=self._reachable)
        site.failovers += 1
        site.kills += self._kill
        if self._frozen:
            site.stack.resume(self._old)  # a zombie: it believes itself to be the primary, and must not write

    def end(self, site: Site) -> None:
        site.kills += not self._kill and not self._ended(site)
        site.stack.rejoin(self._old)

    def _ended(self, site: Site) -> bool:
        """Whether the old primary is gone already; else the rejoining kills it."""
        return not site.stack.status()[self._old].pid


def faults() -> Iterable[Fault]:
    """One of each."""
    return (
        Failover("primary killed, failover", kill=True, reachable=True, weight=16),
        Failover("primary told to stop, failover", kill=False, reachable=True),
        Failover("primary cut off, failover", kill=False, reachable=False),
        Failover("primary frozen, failover, zombie", kill=False, reachable=False, frozen=True),
    )

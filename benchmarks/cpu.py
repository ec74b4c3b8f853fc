"""CPU time by process of the stack: what an invoice costs where. Read from /proc, to a hundredth of a second.

Servers start processes of their own, and a supervised program may: a name stands for its process and all below it.
What the stack spends on its own with nothing to do (health checks, replication, Envoy's timers) is measured before and
taken off, so that a slow minute does not look like an expensive invoice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import psutil

from stack import Stack

GENERATOR: Final = "generator"  # this process and those it started, without the stack
ALL: Final = "all"
US_PER_S: Final = 1_000_000

Pids = Callable[[], Mapping[str, int]]


def stack_pids(stack: Stack) -> dict[str, int]:
    """The running processes of a stack by name."""
    return {name: item.pid for name, item in stack.status().items() if item.pid}


def tree_cpu_s(root: psutil.Process, *, without: frozenset[int] = frozenset()) -> float:
    """CPU seconds of a process and all below it, those that have ended and were waited for included."""
    total = 0.0
    try:
        times = root.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system
        for child in root.children():
            if child.pid not in without:
                total += tree_cpu_s(child, without=without)
    except psutil.NoSuchProcess:
        pass
    return total


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds by process, over some seconds."""

    cpu_s: Mapping[str, float]
    duration_s: float

    def us_each(self, items: int, idle: Mapping[str, float]) -> dict[str, float]:
        """CPU µs an item by process and in all, less what the stack spends idle (seconds a second)."""
        if not items:
            return {}
        share = {
            name: max(0.0, spent - idle.get(name, 0.0) * self.duration_s) * US_PER_S / items
            for name, spent in self.cpu_s.items()
        }
        return {name: round(us, 1) for name, us in share.items()} | {ALL: round(sum(share.values()), 1)}


@dataclass(slots=True)
class Meter:
    """Reads the clocks of all processes. `pids` gives those of the stack by name."""

    pids: Pids
    supervisor: int | None = None  # pid of what the stack hangs on below this process: not the generator's
    idle: Mapping[str, float] = field(default_factory=dict)
    _before: dict[str, float] = field(default_factory=dict)
    _began: float = 0.0

    def _read(self) -> dict[str, float]:
        found = {}
        for name, pid in self.pids().items():
            try:
                found[name] = tree_cpu_s(psutil.Process(pid))
            except psutil.NoSuchProcess:
                continue
        without = frozenset() if self.supervisor is None else frozenset({self.supervisor})
        found[GENERATOR] = tree_cpu_s(psutil.Process(), without=without)
        return found

    def start(self) -> None:
        """Begins a measurement."""
        self._before = self._read()
        self._began = time.perf_counter()

    def stop(self) -> Spent:
        """Ends it; a process that was restarted in between counts from its start."""
        after = self._read()
        spent = {
            name: value - before if value >= (before := self._before.get(name, 0.0)) else value
            for name, value in after.items()
        }
        return Spent(spent, time.perf_counter() - self._began)

    async def learn_idle(self, duration_s: float) -> None:
        """Measures what everything spends while nothing is asked of it."""
        self.start()
        await asyncio.sleep(duration_s)
        spent = self.stop()
        self.idle = {name: value / spent.duration_s for name, value in spent.cpu_s.items() if name != GENERATOR}

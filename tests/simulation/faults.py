"""What goes wrong in a history, by its seed: at every call of a port, and of itself."""

from __future__ import annotations

import enum
import random
from collections.abc import Collection


class Kind(enum.StrEnum):
    """The kinds of fault; each can be left out, to find out which of them a failure needs."""

    FAIL_BEFORE = "fail before"  # the store is away: nothing was done
    FAIL_AFTER = "fail after"  # it was done, and the reply is lost
    HANG = "hang"  # no reply until the port's time is up; done or not
    SLOW = "slow"
    KILL_BEFORE = "kill before"  # the calling process ends before the call
    KILL_AFTER = "kill after"  # and here after it
    FREEZE = "freeze"  # the calling process stands still for a while, and goes on
    CACHE_FLUSH = "cache flush"
    CACHE_AWAY = "cache away"
    OBJECTS_AWAY = "objects away"
    CLOCK_JUMP = "clock jump"
    CLIENT_LEAVES = "client leaves"


AT_CALLS = (Kind.FAIL_BEFORE, Kind.FAIL_AFTER, Kind.HANG, Kind.SLOW, Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.FREEZE)
OF_THEMSELVES = (Kind.CACHE_FLUSH, Kind.CACHE_AWAY, Kind.OBJECTS_AWAY, Kind.CLOCK_JUMP)
TIMEOUT_S = 3.0  # what a port waits for its store
FREEZE_S_MAX = 8.0  # longer than a lease
JUMP_S_MAX = 60.0


class Faults:
    """Draws faults. Which kinds a history has at all, and how many, is drawn first: some are calm, some are storms."""

    def __init__(self, chance: random.Random, kinds: Collection[Kind]) -> None:
        self._chance = chance
        self.on = True
        drawn = {kind: chance.choice((0.0, 0.0, 0.01, 0.03, 0.1)) for kind in Kind}
        self._odds = {kind: odds if kind in kinds else 0.0 for kind, odds in drawn.items()}

    def at_call(self) -> Kind | None:
        """What goes wrong with this call of a port, or None."""
        if self.on:
            for kind in AT_CALLS:
                if self._odds[kind] and self._chance.random() < self._odds[kind]:
                    return kind
        return None

    def next_event(self) -> tuple[float, Kind | None]:
        """After how many seconds something goes wrong of itself, and what."""
        kinds = [kind for kind in OF_THEMSELVES if self._odds[kind]]
        wait_s = self._chance.uniform(0.05, 3)
        return wait_s, self._chance.choice(kinds) if kinds else None

    def patience_s(self) -> float | None:
        """How long a client waits; None: as long as it takes."""
        if self.on and self._chance.random() < 2 * self._odds[Kind.CLIENT_LEAVES]:
            return self._chance.choice((0.0, 0.002, 0.05, 1.0, 4.0))
        return None

    def travel_s(self) -> float:
        """How long a message is on its way."""
        return self._chance.uniform(0, 0.004) if self._chance.random() < 0.9 else self._chance.uniform(0, 0.2)

    def pause_s(self, longest_s: float) -> float:
        """How long something lasts."""
        return self._chance.uniform(0, longest_s)

    def coin(self) -> bool:
        """One of two."""
        return self._chance.random() < 0.5

    def jump_us(self, furthest_s: float) -> int:
        """How far a clock is off after a jump."""
        return int(self._chance.uniform(-furthest_s, furthest_s) * 1_000_000)

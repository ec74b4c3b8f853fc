"""Which faults come when: drawn from the seed alone, so that a seed repeats a run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from tests.chaos.faults.fault import Fault

PAIRS_EVERY: Final = 2  # after each fault was there once alone, every second step is a pair
PAIR_GAP_S: Final = 1.5  # the second begins at most so long after the first
TRIES: Final = 50


@dataclass(frozen=True, slots=True)
class Step:
    """One fault, or two that overlap: the second begins `gap_s` after the first."""

    faults: tuple[Fault, ...]
    gap_s: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its faults."""
        return tuple(fault.name for fault in self.faults)


def chosen(catalogue: Mapping[str, Fault], patterns: Sequence[str], *, quick: bool) -> list[Fault]:
    """The faults of a run: those that match a pattern, or all; ValueError when a pattern matches none."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in catalogue):
            raise ValueError(f"no fault is called {pattern}; there are: {', '.join(catalogue)}")
    found = list(catalogue.values())
    if patterns:
        return [fault for fault in found if any(fnmatchcase(fault.name, pattern) for pattern in patterns)]
    return [fault for fault in found if not (quick and fault.full_only)]


def steps(faults: Sequence[Fault], *, seed: int) -> Iterator[Step]:
    """Goes on for ever: first every fault alone, then rounds in which some come in pairs.

    The first round is a round of the quick run; what comes often by its weight does so in the rounds after it.
    """
    draw = random.Random(f"{seed} schedule")
    first = list(faults)
    draw.shuffle(first)
    yield from (Step((fault,)) for fault in first)
    count = 0
    while True:
        round_ = [fault for fault in faults for _ in range(fault.weight)]
        draw.shuffle(round_)
        for fault in round_:
            count += 1
            if count % PAIRS_EVERY:
                yield Step((fault,))
                continue
            other = _other(fault, faults, draw)
            yield Step((fault,)) if other is None else Step((fault, other), draw.uniform(0, PAIR_GAP_S))


def pairs(faults: Sequence[Fault], *, seed: int, count: int) -> list[Step]:
    """Some pairs for the end of a quick run."""
    draw = random.Random(f"{seed} pairs")
    found = []
    for _ in range(count):
        fault = draw.choice(faults)
        other = _other(fault, faults, draw)
        if other is not None:
            found.append(Step((fault, other), draw.uniform(0, PAIR_GAP_S)))
    return found


def _other(fault: Fault, faults: Sequence[Fault], draw: random.Random) -> Fault | None:
    """A second fault that touches other parts and may begin while something is broken, or None."""
    for _ in range(TRIES):
        other = draw.choice(faults)
        if not (other.parts & fault.parts or other.full_only or other.waits):
            return other
    return None

"""What a process remembers for a moment: absences, and counts of a day. Bounded, and not shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from core import limits


class Absences:
    """Numbers that were not found a moment ago: remembered for NOT_FOUND_TTL_MS, then asked about again (P7).

    `clock` counts monotonic seconds. Holds at most ABSENCES_MAX; the oldest make room. They live in the process and
    not in Redis: a flood of made-up numbers then costs Redis nothing, and an entry never has an absence in its way.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}  # in the order of their end

    def add(self, numbers: Iterable[str]) -> None:
        """Remembers absences from now on."""
        until = self._clock() + limits.NOT_FOUND_TTL_MS / 1_000
        for number in numbers:
            self._until.pop(number, None)
            self._until[number] = until
        while len(self._until) > limits.ABSENCES_MAX:
            del self._until[next(iter(self._until))]

    def among(self, numbers: Iterable[str]) -> list[str]:
        """Returns those of the numbers that are remembered."""
        if not self._until:
            return []
        now = self._clock()
        known = self._until
        return [number for number in numbers if known.get(number, 0.0) > now]

    def remove(self, number: str) -> None:
        """Forgets an absence: the number was found."""
        self._until.pop(number, None)


class DayCounts:
    """Counts by number of the present day; holds at most PUBLIC_COUNTS_MAX numbers, then starts anew."""

    def __init__(self) -> None:
        self._day = 0
        self._counts: dict[str, int] = {}

    def add(self, numbers: Sequence[str], day: int) -> list[int]:
        """Counts one more of each number and returns the counts."""
        if day != self._day or len(self._counts) > limits.PUBLIC_COUNTS_MAX:
            self._day = day
            self._counts.clear()
        counts = []
        for number in numbers:
            count = self._counts[number] = self._counts.get(number, 0) + 1
            counts.append(count)
        return counts

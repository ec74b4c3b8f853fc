"""Numbers as spans of consecutive ones: what is issued, lost or listed comes in long runs, so millions take little."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

Span = tuple[int, int]  # the first and the last of consecutive numbers

LOOSE_MAX: Final = 50_000  # numbers held one by one before they are joined: about 5 MB


def joined(spans: Iterable[Span]) -> list[Span]:
    """Joins spans that touch or overlap; the result is in order."""
    whole: list[Span] = []
    for first, last in sorted(spans):
        if whole and first <= whole[-1][1] + 1:
            whole[-1] = (whole[-1][0], max(whole[-1][1], last))
        else:
            whole.append((first, last))
    return whole


class Numbers:
    """A set of numbers that grows in any order; 100 bytes a span, however many numbers are in it."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._spans: list[Span] = []
        self._loose: set[int] = set()
        for number in numbers:
            self.add(number)

    def add(self, number: int) -> bool:
        """Adds a number; tells whether it was not there yet."""
        if number in self:
            return False
        self._loose.add(number)
        if len(self._loose) >= LOOSE_MAX:
            self._join()
        return True

    def __contains__(self, number: int) -> bool:
        if number in self._loose:
            return True
        place = bisect_right(self._spans, number, key=lambda span: span[0])
        return place > 0 and number <= self._spans[place - 1][1]

    def spans(self) -> list[Span]:
        """Returns them as spans, disjoint and in order."""
        self._join()
        return list(self._spans)

    def _join(self) -> None:
        self._spans = joined([*self._spans, *((number, number) for number in self._loose)])
        self._loose.clear()

"""Numbers set aside for ever, because they may have been given to invoices that a restore has lost (docs/adr/0038).

A range is cut where its invoices end: the part that is used stays what it is, the numbers that may be out in the world
become a range of kind WITHDRAWN, from which nothing is issued and which keeps others from being added over it, and
issuing goes on behind them. Lost numbers of ranges that are lost themselves are set aside in the same way, so that
adding the range again is refused. Pure; who uses it holds the ranges' rows locked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

WITHDRAWN: Final = 0  # a kind that no invoice has
NOBODY: Final = 0  # the seller of numbers whose range is not known any more
LOCK: Final = "SELECT range_id, first_number, size, used, kind FROM number_ranges ORDER BY first_number FOR UPDATE"
_CHANGE: Final = (
    "UPDATE number_ranges SET first_number = %s, last_number = %s, size = %s, used = %s, kind = %s WHERE range_id = %s"
)
_ADD: Final = (
    "INSERT INTO number_ranges (first_number, last_number, size, used, kind, seller_key, created_at_us, color,"
    " quota_on) SELECT %s, %s, %s, %s, %s, seller_key, created_at_us, color, quota_on FROM number_ranges"
    " WHERE range_id = %s"
)
_ADD_UNKNOWN: Final = (
    "INSERT INTO number_ranges (first_number, last_number, size, used, kind, seller_key, created_at_us)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True, slots=True)
class RangeRow:
    """A range as LOCK reads it."""

    range_id: int
    first: int
    size: int
    used: int
    kind: int

    @property
    def last(self) -> int:
        """Its last number."""
        return self.first + self.size - 1

    @property
    def next(self) -> int:
        """The number that would be issued next."""
        return self.first + self.used


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Numbers `first` to `last` are set aside by these statements, in this order."""

    first: int
    last: int
    statements: tuple[tuple[str, tuple[Any, ...]], ...]

    @property
    def count(self) -> int:
        """How many numbers."""
        return self.last - self.first + 1


def range_row(range_id: int, first_number: str, size: int, used: int, kind: int) -> RangeRow:
    """Builds a row from its columns."""
    return RangeRow(range_id, int(first_number), size, used, kind)


def withdrawals(rows: Sequence[RangeRow], lost: Iterable[int], margin: int, *, now_us: int) -> Iterator[Withdrawal]:
    """Yields what sets aside the lost numbers, and `margin` more of every range that could have gone on.

    `rows`: all ranges in the order of their numbers. Numbers that the database has an invoice of are left alone.
    """
    numbers = sorted(set(lost))
    for row in rows:
        if row.kind == WITHDRAWN or row.used == row.size:
            continue
        last_lost = bisect_right(numbers, row.last) - 1
        known = max(row.next - 1, numbers[last_lost] if last_lost >= 0 else 0)
        through = min(row.last, known + margin)
        if through >= row.next:
            yield Withdrawal(row.next, through, tuple(_cut(row, through)))
    for first, last in _runs(_outside(rows, numbers)):
        values = (*_columns(first, last - first + 1, 0, WITHDRAWN), NOBODY, now_us)
        yield Withdrawal(first, last, ((_ADD_UNKNOWN, values),))


def _cut(row: RangeRow, through: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Cuts a range. The row that is there keeps what is still to be issued: the seller's ranges keep their order."""
    parts = [
        (through + 1, row.last - through, 0, row.kind),
        (row.first, row.used, row.used, row.kind),
        (row.next, through - row.next + 1, 0, WITHDRAWN),
    ]
    kept, *others = [part for part in parts if part[1]]
    yield _CHANGE, (*_columns(*kept), row.range_id)
    for part in others:
        yield _ADD, (*_columns(*part), row.range_id)


def _outside(rows: Sequence[RangeRow], numbers: Sequence[int]) -> Iterator[int]:
    """Yields the numbers that are in no range, in order."""
    at = 0
    for row in rows:
        end = bisect_left(numbers, row.first, lo=at)
        yield from numbers[at:end]
        at = bisect_right(numbers, row.last, lo=end)
    yield from numbers[at:]


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Joins consecutive numbers: yields the first and last of each run."""
    first = last = -1
    for number in numbers:
        if number == last + 1 and first >= 0:
            last = number
            continue
        if first >= 0:
            yield first, last
        first = last = number
    if first >= 0:
        yield first, last


def _columns(first: int, size: int, used: int, kind: int) -> tuple[Any, ...]:
    return f"{first:020d}", f"{first + size - 1:020d}", size, used, kind

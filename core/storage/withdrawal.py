"""Numbers set aside for ever, because they may have been given to invoices that a restore has lost (docs/adr/0038).

A range is cut where its invoices end: the part that is used stays what it is, the numbers that may be out in the world
become a range of kind WITHDRAWN, from which nothing is issued and which keeps others from being added over it, and
issuing goes on behind them. Lost numbers of ranges that are lost themselves are set aside in the same way, so that
adding the range again is refused. Pure; who uses it holds the ranges' rows locked. Lost numbers come as spans: a
restore to an hour ago may lose millions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.storage.spans import Span

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


def withdrawals(rows: Sequence[RangeRow], lost: Sequence[Span], margin: int, *, now_us: int) -> Iterator[Withdrawal]:
    """Yields what sets aside the lost numbers, and `margin` more of every range that could have gone on.

    `rows`: all ranges in the order of their numbers. `lost`: disjoint, in order. Numbers that the database has an
    invoice of are left alone.
    """
    for row in rows:
        if row.kind == WITHDRAWN or row.used == row.size:
            continue
        place = bisect_right(lost, row.last, key=lambda span: span[0]) - 1
        last_lost = min(row.last, lost[place][1]) if place >= 0 else 0
        through = min(row.last, max(row.next - 1, last_lost) + margin)
        if through >= row.next:
            yield Withdrawal(row.next, through, tuple(_cut(row, through)))
    for first, last in _outside(rows, lost):
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


def _outside(rows: Sequence[RangeRow], lost: Sequence[Span]) -> Iterator[Span]:
    """Yields what of the spans is in no range, in order."""
    place = 0
    for first, last in lost:
        while place < len(rows) and rows[place].last < first:
            place += 1
        at = place
        while at < len(rows) and rows[at].first <= last:
            if first < rows[at].first:
                yield first, rows[at].first - 1
            first = rows[at].last + 1
            at += 1
        if first <= last:
            yield first, last


def _columns(first: int, size: int, used: int, kind: int) -> tuple[Any, ...]:
    return f"{first:020d}", f"{first + size - 1:020d}", size, used, kind

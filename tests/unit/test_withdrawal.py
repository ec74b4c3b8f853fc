"""Numbers of lost invoices are set aside, whatever was lost: none of them can be issued again (P3)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.storage.spans import Numbers
from core.storage.withdrawal import NOBODY, WITHDRAWN, RangeRow, withdrawals

KIND = 2
SIZE_MAX = 12
RANGES_MAX = 4
GAP = 20  # between the first numbers of two ranges


class Table:
    """`number_ranges` as far as the statements go."""

    def __init__(self, rows: list[RangeRow]) -> None:
        self.rows = {row.range_id: row for row in rows}

    def run(self, sql: str, values: tuple[Any, ...]) -> None:
        """Does what a statement says; a first number stands once, as the unique key wants it."""
        first, last, size, used, kind, *rest = values
        if sql.startswith("UPDATE"):
            (range_id,) = rest
            assert range_id in self.rows
        else:
            assert (len(rest) == 1 and rest[0] in self.rows) or rest[0] == NOBODY
            range_id = max(self.rows, default=0) + 1
        row = RangeRow(range_id, int(first), size, used, kind)
        assert row.last == int(last)
        self.rows[range_id] = row
        firsts = [item.first for item in self.rows.values()]
        assert len(set(firsts)) == len(firsts)


@st.composite
def tables(draw: st.DrawFn) -> list[RangeRow]:
    """Ranges that do not overlap, in the order of their numbers; some were set aside before."""
    made = []
    for place in range(draw(st.integers(0, RANGES_MAX))):
        size = draw(st.integers(1, SIZE_MAX))
        kind = draw(st.sampled_from([KIND, KIND, WITHDRAWN]))
        used = draw(st.integers(0, size)) if kind == KIND else 0
        made.append(RangeRow(RANGES_MAX - place, place * GAP + 1, size, used, kind))
    return made


@st.composite
def numbers_lost(draw: st.DrawFn) -> set[int]:
    """Numbers inside and outside of the ranges, some of them in runs over the gaps between these."""
    runs = draw(st.lists(st.tuples(st.integers(1, RANGES_MAX * GAP), st.sampled_from([1, 2, SIZE_MAX, 3 * GAP]))))
    return {number for first, size in runs for number in range(first, first + size)}


@given(tables(), numbers_lost(), st.integers(0, SIZE_MAX))
def test_nothing_lost_is_issued_again_and_nothing_issued_is_set_aside(
    before: list[RangeRow], lost: set[int], margin: int
) -> None:
    table = Table(before)
    done = list(withdrawals(before, Numbers(lost).spans(), margin, now_us=1))
    for item in done:
        for sql, values in item.statements:
            table.run(sql, values)
    after = table.rows.values()
    issued = {number for row in before for number in range(row.first, row.next)}
    still_issued = {number for row in after for number in range(row.first, row.next)}
    aside = {number for row in after if row.kind == WITHDRAWN for number in range(row.first, row.last + 1)}
    coming = {n for row in after if row.kind != WITHDRAWN for n in range(row.next, row.last + 1)}
    assert still_issued == issued
    assert lost - issued <= aside
    assert not aside & issued
    assert not coming & lost
    covered = [number for row in after for number in range(row.first, row.last + 1)]
    assert len(covered) == len(set(covered))  # no number is in two ranges
    assert {number for row in before for number in range(row.first, row.last + 1)} <= set(covered)
    was_aside = {n for row in before if row.kind == WITHDRAWN for n in range(row.first, row.last + 1)}
    assert sum(item.count for item in done) == len(aside - was_aside)
    for row in before:  # of each range that could have gone on, `margin` more than is known
        if row.kind != WITHDRAWN:
            known = max([row.next - 1, *(number for number in lost if row.first <= number <= row.last)])
            assert set(range(known + 1, min(row.last, known + margin) + 1)) <= aside


def test_what_is_left_of_a_range_keeps_its_place() -> None:
    row = RangeRow(7, 100, 50, 10, KIND)
    table = Table([row])
    for item in withdrawals([row], [(112, 112)], 0, now_us=1):
        for sql, values in item.statements:
            table.run(sql, values)
    assert table.rows[7] == RangeRow(7, 113, 37, 0, KIND)
    assert sorted((item.first, item.size, item.used, item.kind) for item in table.rows.values()) == [
        (100, 10, 10, KIND),
        (110, 3, 0, WITHDRAWN),
        (113, 37, 0, KIND),
    ]

"""What a run of the benchmarks consists of."""

from __future__ import annotations

import pytest

from benchmarks import matrix, soak
from benchmarks.__main__ import APART, PARTS, arguments, chosen, plan_of
from benchmarks.matrix import Cell, full
from benchmarks.plan import FULL, QUICK


def test_a_run_has_every_part_but_those_that_take_long() -> None:
    assert chosen(arguments([])) == list(PARTS)
    everything = arguments(["--rows", "5000", "--soak-minutes", "1", "--overload-minutes", "1"])
    assert chosen(everything) == [*PARTS, *APART]
    assert chosen(arguments(["--only", "bulk, surge"])) == ["bulk", "surge"]
    with pytest.raises(ValueError, match="no part is called bulks"):
        chosen(arguments(["--only", "bulks"]))


def test_growth_is_measured_on_the_way() -> None:
    assert plan_of(arguments(["--rows", "10_000_000"])).rows == (0, 1_000_000, 10_000_000)
    assert plan_of(arguments(["--rows", "5_000"])).rows == (0, 5_000)
    assert plan_of(arguments(["--soak-minutes", "0.5"])).soak_s == 30


def test_a_full_run_has_the_rounds_and_lengths_of_the_targets() -> None:
    assert FULL.rounds >= 5
    assert FULL.bulk_s >= 60
    assert FULL.surge_s >= 60
    assert FULL.audit_rounds
    assert QUICK.rounds >= 3


def test_the_matrix_has_every_batch_size_with_every_number_of_streams() -> None:
    grid = full(1_000)
    assert {(cell.batch_items, cell.streams) for cell in grid} >= {(i, s) for i in (100, 500, 1_000) for s in (1, 2, 8)}
    assert {cell.lines for cell in grid} == {1, 3, 20, 200}
    assert {cell.sellers for cell in grid} == {1, 10, 1_000}
    assert len(set(grid)) == len(grid)
    assert Cell() in matrix.QUICK
    assert set(matrix.QUICK) <= set(grid)


def test_growth_of_memory_leaves_the_warm_up_out() -> None:
    assert soak.growth([50, 90, 100, 100, 100, 100, 110, 110]) == pytest.approx(1.1)
    assert soak.growth([50, 100]) == 1

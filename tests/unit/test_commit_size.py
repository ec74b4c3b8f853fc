"""The size of commits beside single calls: by time, steady, and within its bounds."""

from __future__ import annotations

import pytest

from core import limits
from server.commit_size import CommitSize


@pytest.mark.parametrize(("fixed_s", "item_s"), [(0.003, 16e-5), (0.002, 8e-5), (0.001, 5e-4), (0.0, 1e-5)])
def test_commits_beside_single_calls_take_about_as_long_whatever_an_invoice_costs(
    fixed_s: float, item_s: float
) -> None:
    size = CommitSize()
    for _ in range(40):
        size.learn(size.items(), fixed_s + item_s * size.items())
    took_ms = (fixed_s + item_s * size.items()) * 1_000
    if limits.COMMIT_ITEMS_BESIDE_MIN < size.items() < limits.COMMIT_ITEMS_MAX - 1:
        assert took_ms == pytest.approx(limits.COMMIT_BESIDE_MS, rel=0.02)
    else:
        assert (took_ms > limits.COMMIT_BESIDE_MS) == (size.items() == limits.COMMIT_ITEMS_BESIDE_MIN)


def test_one_slow_commit_moves_their_size_a_quarter_and_a_small_one_not_at_all() -> None:
    size = CommitSize()
    for _ in range(40):
        size.learn(500, limits.COMMIT_BESIDE_MS / 1_000)
    assert size.items() == pytest.approx(500, abs=1)
    size.learn(500, 30.0)
    assert size.items() == pytest.approx(400, abs=1)
    size.learn(limits.COMMIT_ITEMS_BESIDE_MIN - 1, 30.0)
    assert size.items() == pytest.approx(400, abs=1)

"""The histogram of latencies."""

from __future__ import annotations

import pytest

from benchmarks.latency import LONGEST_US, Latencies, decoded, merged


def thousand() -> Latencies:
    """1 ms, 2 ms, … 1,000 ms."""
    latencies = Latencies()
    for number in range(1, 1_001):
        latencies.record(number / 1_000)
    return latencies


def test_percentiles_are_exact_to_three_digits() -> None:
    summary = thousand().summary()
    assert summary["count"] == 1_000
    for name, milliseconds in {"p50": 500, "p95": 950, "p99": 990, "p99.9": 999, "max": 1_000}.items():
        assert summary[name] == pytest.approx(milliseconds, rel=0.002)


def test_nothing_noted_is_nothing() -> None:
    assert set(Latencies().summary().values()) == {0}


def test_several_are_one() -> None:
    fast, slow = Latencies(), Latencies()
    for _ in range(99):
        fast.record(0.001)
    slow.record(2.0)
    together = merged([fast, slow])
    assert together.count == 100
    assert together.percentile_ms(0.99) == pytest.approx(1, rel=0.002)
    assert together.max_ms == pytest.approx(2_000, rel=0.002)


def test_it_survives_being_written() -> None:
    assert decoded(thousand().encoded()).summary() == thousand().summary()


def test_the_longest_and_the_shortest_have_bounds() -> None:
    latencies = Latencies()
    latencies.record(10_000)
    latencies.record(0)
    assert latencies.max_ms == pytest.approx(LONGEST_US / 1_000, rel=0.002)

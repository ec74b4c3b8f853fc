"""CPU time by process."""

from __future__ import annotations

import os

import psutil
import pytest

from benchmarks.cpu import ALL, GENERATOR, Meter, Spent, tree_cpu_s


def burn(seconds: float) -> None:
    """Uses so much CPU time."""
    times = os.times()
    until = times.user + times.system + seconds
    while (now := os.times()).user + now.system < until:
        sum(range(1_000))


def test_what_is_spent_idle_is_taken_off() -> None:
    spent = Spent({"server-1": 3.0, "redis": 0.5}, duration_s=10.0)
    assert spent.us_each(10_000, {"server-1": 0.1, "redis": 0.06}) == {"server-1": 200.0, "redis": 0.0, ALL: 200.0}


def test_no_items_cost_nothing() -> None:
    assert Spent({"server-1": 3.0}, duration_s=1.0).us_each(0, {}) == {}


def test_a_process_below_another_counts_unless_it_is_left_out() -> None:
    with psutil.Popen(["sh", "-c", "while :; do :; done"]) as child:
        try:
            while sum(child.cpu_times()[:2]) < 0.2:
                sum(range(1_000))
            own = psutil.Process()
            without = tree_cpu_s(own, without=frozenset({child.pid}))
            assert tree_cpu_s(own) - without > 0.1  # the kernel counts in steps of 0.01 s: half is margin
        finally:
            child.kill()


def test_a_meter_sees_this_process_as_the_generator() -> None:
    meter = Meter(pids=dict)
    meter.start()
    burn(0.1)
    spent = meter.stop()
    assert spent.cpu_s[GENERATOR] == pytest.approx(0.1, abs=0.05)


def test_a_process_that_is_gone_is_left_out() -> None:
    with psutil.Popen(["true"]) as child:
        child.wait()
    meter = Meter(pids=lambda: {"gone": child.pid})
    meter.start()
    assert set(meter.stop().cpu_s) == {GENERATOR}

"""The event loop's lag: what stays refuses, what happens once does not."""

from __future__ import annotations

import asyncio
import time

from core import limits
from server.loop_lag import LOOK_S, LoopLag

BEHIND_S = limits.LOOP_DELAY_MS / 1_000 + 0.05
INTERVAL_S = limits.DELAY_INTERVAL_MS / 1_000


class Metrics:
    """Counts refusals and looks."""

    def __init__(self) -> None:
        self.refusals = 0
        self.late_s: list[float] = []

    def refused(self, lane: str, why: str, items: int) -> None:
        assert (lane, why, items) == ("loop", "lag", 1)
        self.refusals += 1

    def dropped(self, lane: str, items: int) -> None: ...

    def estimated(self, lane: str, wait_s: float) -> None:
        self.late_s.append(wait_s)


def test_a_loop_that_stays_behind_refuses_until_it_is_not() -> None:
    metrics = Metrics()
    lag = LoopLag(metrics=metrics, draw=lambda: 0.0)
    lag.look(10.0, BEHIND_S)
    assert lag.refusal_ms() == 0
    lag.look(10.0 + INTERVAL_S, BEHIND_S)
    assert lag.refusal_ms() == 200
    assert metrics.refusals == 1
    lag.look(10.1 + INTERVAL_S, 0.001)
    assert lag.refusal_ms() == 0
    assert metrics.refusals == 1


async def test_it_is_measured_on_the_loop_that_runs() -> None:
    metrics = Metrics()
    lag = LoopLag(metrics=metrics)
    lag.start()
    time.sleep(2 * LOOK_S)  # noqa: ASYNC251 (this is what it measures)
    await asyncio.sleep(2 * LOOK_S)
    lag.close()
    assert max(metrics.late_s) >= LOOK_S * 0.9
    seen = len(metrics.late_s)
    await asyncio.sleep(2 * LOOK_S)
    assert len(metrics.late_s) == seen

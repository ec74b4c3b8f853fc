"""How far the event loop is behind, and whether that is so much, for so long, that calls must be refused.

One loop does all the work of a process: when more calls come than it can answer, they wait inside it, before any
queue that could refuse them. So every LOOK_S it is measured how late a timer is. Once that has stayed above
LOOP_DELAY_MS for DELAY_INTERVAL_MS, new calls are refused before their key and their message are looked at. A process
that was stopped and goes on is late once, which does not count.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from core import limits
from server.admission import AdmissionMetrics, Standing, retry_delay_ms

LOOK_S = 0.025
LANE = "loop"  # its name among the lanes, in metrics and refusals


class LoopLag:
    """Watches the running event loop from `start` to `close`."""

    def __init__(self, *, metrics: AdmissionMetrics, draw: Callable[[], float] = random.random) -> None:
        self._metrics = metrics
        self._draw = draw
        self._delay = Standing(target_s=limits.LOOP_DELAY_MS / 1_000, interval_s=limits.DELAY_INTERVAL_MS / 1_000)
        self._late_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to look."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_S, self._look, loop, loop.time() + LOOK_S)

    def close(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        now_s = loop.time()
        self.look(now_s, now_s - due_s)
        self._timer = loop.call_later(LOOK_S, self._look, loop, now_s + LOOK_S)

    def look(self, now_s: float, late_s: float) -> None:
        """Notes how late the loop is."""
        self._late_s = late_s
        self._delay.look(now_s, late_s)
        self._metrics.estimated(LANE, late_s)

    def refusal_ms(self) -> int:
        """When a new call shall come back, or 0 when it is taken; notes the refusal."""
        if not self._delay.standing:
            return 0
        self._metrics.refused(LANE, "lag", 1)
        return retry_delay_ms(self._late_s, self._draw)

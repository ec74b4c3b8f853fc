"""When the jobs behind the commits go on at once: only while a transaction takes as much as it may."""

from __future__ import annotations

from typing import cast

import pytest

from core.limits import FAN_OUT_BATCHES_MAX
from core.storage.delivery_port import DeliveryQueue
from workers.deliver import FanOutJob


class Queue:
    """A DeliveryQueue in which batches wait."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting

    async def fan_out(self, *, batches_max: int) -> int:
        """Takes some."""
        taken = min(self.waiting, batches_max)
        self.waiting -= taken
        return taken


@pytest.mark.parametrize(
    ("waiting", "steps"),
    [(0, [False]), (FAN_OUT_BATCHES_MAX - 1, [False]), (2 * FAN_OUT_BATCHES_MAX + 1, [True, True, False])],
)
async def test_fan_out_goes_on_at_once_only_after_a_full_take(waiting: int, steps: list[bool]) -> None:
    queue = Queue(waiting)
    job = FanOutJob(queue=cast("DeliveryQueue", queue), idle_wait_ms=1)
    assert [await job.step() for _ in steps] == steps
    assert queue.waiting == 0

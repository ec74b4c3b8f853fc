"""Delivery: makes the deliveries of standing rules, and sends what is due. At least once, with a stable id.

- FanOutJob turns new batches into deliveries, exactly once (core/storage/mysql/batch_feed.py).
- SendJob leases due deliveries endpoint by endpoint, has at most ENDPOINT_SENDS_MAX attempts to one endpoint and
  SENDS_MAX in all under way, and notes what came of them, as many together as have gathered. A slow endpoint holds its
  own few places and nobody else's; one that fails over and over is left alone for a while, then tried by one attempt.

Whatever dies, a lease runs out and the delivery is due again. What was sent and not noted is then sent again, with the
same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from core import limits
from core.storage.delivery_port import DeliveryQueue, Due, EndpointKind, Outcome
from workers.attempts import CIRCUIT_FAILURES, Answer, Policy, Sender
from workers.metrics import DeliveryMetrics

LOG = logging.getLogger(__name__)

NOTE_MS: Final = 30_000  # a lease lasts this much longer than an attempt may
CLOSE_S: Final = 3.0  # for attempts under way when stopped


class FanOutJob:
    """Makes the deliveries that standing rules want."""

    name = "fan-out"

    def __init__(self, *, queue: DeliveryQueue, idle_wait_ms: int) -> None:
        self._queue = queue
        self._idle_wait_ms = idle_wait_ms

    async def step(self) -> bool:
        """Looks at some batches; see the port of Loop."""
        return await self._queue.fan_out(batches_max=limits.FAN_OUT_BATCHES_MAX) > 0

    async def idle(self) -> None:
        """Waits for the next look."""
        await asyncio.sleep(self._idle_wait_ms / 1_000)


class SendJob:
    """Sends what is due by the sender of its kind. `close` it at the end."""

    name = "deliver"

    def __init__(
        self,
        *,
        queue: DeliveryQueue,
        senders: Mapping[EndpointKind, Sender],
        policy: Policy,
        metrics: DeliveryMetrics,
        owner: str,
        timeout_ms: int,
        idle_wait_ms: int,
        now_us: Callable[[], int],
    ) -> None:
        self._queue = queue
        self._senders = senders
        self._policy = policy
        self._metrics = metrics
        self._owner = owner
        self._lease_ms = timeout_ms + NOTE_MS
        self._idle_wait_ms = idle_wait_ms
        self._now_us = now_us
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: Counter[int] = Counter()
        self._outcomes: list[Outcome] = []
        self._news = asyncio.Event()

    async def step(self) -> bool:
        """Notes what is done and starts what is due and has a place; see the port of Loop."""
        await self._note()
        if len(self._tasks) >= limits.SENDS_MAX:
            return False
        due = await self._queue.due_endpoints(kinds=tuple(self._senders), items_max=limits.ENDPOINTS_DUE_MAX)
        return await self._start(self._rooms(due)) > 0

    def _rooms(self, due: Mapping[int, int]) -> dict[int, int]:
        """Shares the free places out among endpoints, given with their failures in a row."""
        free = limits.SENDS_MAX - len(self._tasks)
        rooms: dict[int, int] = {}
        for endpoint_key, failures in due.items():
            places = 1 if failures >= CIRCUIT_FAILURES else limits.ENDPOINT_SENDS_MAX
            room = min(places - self._under_way[endpoint_key], free)
            if room > 0:
                rooms[endpoint_key] = room
                free -= room
        return rooms

    async def _start(self, rooms: Mapping[int, int]) -> int:
        """Claims for all endpoints at once what they have places for, and starts it; returns how many."""
        claims = await asyncio.gather(
            *(
                self._queue.claim(endpoint_key, owner=self._owner, items_max=room, lease_ms=self._lease_ms)
                for endpoint_key, room in rooms.items()
            ),
            return_exceptions=True,
        )
        claimed = [due for claim in claims if not isinstance(claim, BaseException) for due in claim]
        for due in claimed:
            self._under_way[due.endpoint.endpoint_key] += 1
            task = asyncio.create_task(self._attempt(due), name=f"delivery {due.delivery_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for claim in claims:
            if isinstance(claim, BaseException):
                raise claim  # what the others got is under way
        return len(claimed)

    async def _attempt(self, due: Due) -> None:
        """Makes one attempt and leaves its outcome to be noted."""
        began_us = self._now_us()
        try:
            answer = await self._senders[due.endpoint.kind].send(due)
        except Exception as error:
            LOG.exception("sender failed", extra={"delivery_id": due.delivery_id})
            answer = Answer(delivered=False, code=0, detail=type(error).__name__)
        finally:
            self._under_way[due.endpoint.endpoint_key] -= 1
            if not self._under_way[due.endpoint.endpoint_key]:
                del self._under_way[due.endpoint.endpoint_key]
        now_us = self._now_us()
        self._outcomes.append(self._policy.outcome(due, answer, began_us=began_us, now_us=now_us))
        self._metrics.attempted(due.endpoint.kind.name.lower(), answer.delivered, (now_us - began_us) / 1_000_000)
        self._news.set()

    async def _note(self) -> None:
        """Notes outcomes; those that could not be noted wait for the next time."""
        self._news.clear()
        noting, self._outcomes = self._outcomes, []
        if not noting:
            return
        try:
            held = await self._queue.finish(self._owner, noting)
        except BaseException:
            self._outcomes = noting + self._outcomes
            raise
        if held < len(noting):
            LOG.warning("leases lost", extra={"deliveries": len(noting) - held})

    async def idle(self) -> None:
        """Waits until an attempt ends, or for the next look."""
        try:
            await asyncio.wait_for(self._news.wait(), self._idle_wait_ms / 1_000)
        except TimeoutError:
            return

    async def close(self) -> None:
        """Gives attempts under way a moment, notes what there is, and cancels the rest: it is due again later."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._note()
        except Exception:
            LOG.exception("outcomes are lost", extra={"deliveries": len(self._outcomes)})

"""Delivery: makes the deliveries of standing rules, and sends what is due. At least once, with a stable id.

- FanOutJob turns new batches into deliveries, exactly once (core/storage/mysql/batch_feed.py).
- SendJob leases due deliveries endpoint by endpoint, for one that works some ahead, and has at most ENDPOINT_SENDS_MAX
  attempts to one endpoint and SENDS_MAX in all under way. A slow endpoint holds its own few places and nobody else's;
  one that fails has fewer of them, and one that fails over and over is left alone for a while, then tried by one.
- NoteJob notes what came of attempts, as many together as have gathered while the ones before were noted.
- GiveUpJob fails what has waited behind a failing endpoint for as long as a whole schedule lasts.

Whatever dies, a lease runs out and the delivery is due again. What was sent and not noted is then sent again, with the
same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from core import limits
from core.storage.delivery_port import DeliveryQueue, Due, EndpointKind, Outcome
from workers.attempts import CIRCUIT_FAILURES, Answer, Policy, Sender
from workers.metrics import DeliveryMetrics

LOG = logging.getLogger(__name__)

NOTE_MS: Final = 30_000  # a lease lasts this much longer than an attempt may
READY_MS: Final = 10_000  # and this much longer for those leased ahead; what has not begun by then is given back
LOOK_S: Final = 0.01  # between looks while attempts end
NOTE_S: Final = 0.01  # in which outcomes gather that one transaction notes
GIVE_UP_LOOK_S: Final = 60.0
SHARED: Final = frozenset({EndpointKind.EMAIL, EndpointKind.SMS})  # go through one relay, one gateway
CLOSE_S: Final = 3.0  # for attempts under way when stopped


class FanOutJob:
    """Makes the deliveries that standing rules want, of what gathers in `idle_wait_ms` (workers/collect.py)."""

    name = "fan-out"

    def __init__(self, *, queue: DeliveryQueue, idle_wait_ms: int) -> None:
        self._queue = queue
        self._idle_wait_ms = idle_wait_ms

    async def step(self) -> bool:
        """Looks at some batches; see the port of Loop."""
        return await self._queue.fan_out(batches_max=limits.FAN_OUT_BATCHES_MAX) == limits.FAN_OUT_BATCHES_MAX

    async def idle(self) -> None:
        """Waits for the next look."""
        await asyncio.sleep(self._idle_wait_ms / 1_000)


class Notebook:
    """Outcomes on their way into the database."""

    def __init__(self, *, queue: DeliveryQueue, owner: str) -> None:
        self._queue = queue
        self._owner = owner
        self._outcomes: list[Outcome] = []
        self._news = asyncio.Event()

    def add(self, outcome: Outcome) -> None:
        """Takes an outcome."""
        self._outcomes.append(outcome)
        self._news.set()

    async def note(self) -> bool:
        """Notes some; those that could not be noted wait for the next time. False when there were none."""
        self._news.clear()
        noting, self._outcomes = self._outcomes[: limits.NOTES_MAX], self._outcomes[limits.NOTES_MAX :]
        if not noting:
            return False
        if self._outcomes:
            self._news.set()
        try:
            held = await self._queue.finish(self._owner, noting)
        except BaseException:
            self._outcomes = noting + self._outcomes
            raise
        if held < len(noting):
            LOG.warning("leases lost", extra={"deliveries": len(noting) - held})
        return True

    async def wait(self) -> None:
        """Waits for an outcome, and a moment for more of them."""
        await self._news.wait()
        await asyncio.sleep(NOTE_S)


class NoteJob:
    """Writes outcomes down."""

    name = "note-deliveries"

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook

    async def step(self) -> bool:
        """Notes what has gathered; see the port of Loop."""
        await self._notebook.note()
        return False  # what came meanwhile may gather

    async def idle(self) -> None:
        """Waits for an outcome."""
        await self._notebook.wait()


class GiveUpJob:
    """Fails what waits for endpoints that do not recover."""

    name = "give-up"

    def __init__(self, *, queue: DeliveryQueue, due_for_ms: int) -> None:
        self._queue = queue
        self._due_for_ms = due_for_ms

    async def step(self) -> bool:
        """Gives some up; see the port of Loop."""
        given_up = await self._queue.give_up(
            failures_min=CIRCUIT_FAILURES, due_for_ms=self._due_for_ms, items_max=limits.GIVEN_UP_MAX
        )
        if given_up:
            LOG.warning("given up", extra={"deliveries": given_up})
        return given_up > 0

    async def idle(self) -> None:
        """Waits for the next look."""
        await asyncio.sleep(GIVE_UP_LOOK_S)


class SendJob:
    """Sends what is due by the sender of its kind. `close` it at the end, when NoteJob has ended."""

    name = "deliver"

    def __init__(
        self,
        *,
        queue: DeliveryQueue,
        notebook: Notebook,
        senders: Mapping[EndpointKind, Sender],
        policy: Policy,
        metrics: DeliveryMetrics,
        owner: str,
        timeout_ms: int,
        idle_wait_ms: int,
        now_us: Callable[[], int],
    ) -> None:
        self._queue = queue
        self._notebook = notebook
        self._senders = senders
        self._policy = policy
        self._metrics = metrics
        self._owner = owner
        self._lease_ms = READY_MS + timeout_ms + NOTE_MS
        self._idle_wait_ms = idle_wait_ms
        self._now_us = now_us
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: Counter[int] = Counter()
        self._of_kind: Counter[EndpointKind] = Counter()
        self._ready: dict[int, deque[tuple[Due, int]]] = {}  # with the time until which it may begin
        self._places: dict[int, int] = {}
        self._returned: list[int] = []
        self._news = asyncio.Event()

    async def step(self) -> bool:
        """Leases what is due and has room, and starts what has a place; see the port of Loop."""
        self._news.clear()
        await self._give_back()
        if self._ready_count() >= limits.READY_MAX:
            return False
        due = await self._queue.due_endpoints(kinds=tuple(self._senders), items_max=limits.ENDPOINTS_DUE_MAX)
        return await self._claim(self._rooms(due)) > 0

    def _ready_count(self) -> int:
        return sum(len(waiting) for waiting in self._ready.values())

    def _rooms(self, due: Mapping[int, int]) -> dict[int, int]:
        """Shares the room out among endpoints, given with their failures in a row."""
        self._under_way += Counter()  # lets go of zeros
        self._places = {
            key: places for key, places in self._places.items() if self._under_way[key] or key in self._ready
        }
        free = limits.READY_MAX - self._ready_count()
        rooms: dict[int, int] = {}
        for endpoint_key, failures in due.items():
            places = max(1, limits.ENDPOINT_SENDS_MAX >> failures) if failures < CIRCUIT_FAILURES else 1
            ahead = 0 if failures else limits.ENDPOINT_READY_MAX
            held = self._under_way[endpoint_key] + len(self._ready.get(endpoint_key, ()))
            if held > places + ahead // 2:
                continue
            self._places[endpoint_key] = places
            room = min(places + ahead - held, free)
            if room > 0:
                rooms[endpoint_key] = room
                free -= room
        return rooms

    async def _claim(self, rooms: Mapping[int, int]) -> int:
        """Leases for all endpoints at once what they have room for, and starts some; returns how many it leased."""
        claims = await asyncio.gather(
            *(
                self._queue.claim(endpoint_key, owner=self._owner, items_max=room, lease_ms=self._lease_ms)
                for endpoint_key, room in rooms.items()
            ),
            return_exceptions=True,
        )
        begin_by_us = self._now_us() + READY_MS * 1_000
        claimed = [due for claim in claims if not isinstance(claim, BaseException) for due in claim]
        for due in claimed:
            self._ready.setdefault(due.endpoint.endpoint_key, deque()).append((due, begin_by_us))
        self._fill()
        for claim in claims:
            if isinstance(claim, BaseException):
                raise claim  # what the others got is under way
        return len(claimed)

    def _fill(self) -> None:
        """Starts what is ready and has a place; the endpoint that was served longest ago comes first."""
        now_us = self._now_us()
        for endpoint_key in tuple(self._ready):
            waiting = self._ready.pop(endpoint_key)
            while waiting and len(self._tasks) < limits.SENDS_MAX:
                kind = waiting[0][0].endpoint.kind
                if self._under_way[endpoint_key] >= self._places.get(endpoint_key, 1):
                    break
                if kind in SHARED and self._of_kind[kind] >= limits.SHARED_SENDS_MAX:
                    break
                due, begin_by_us = waiting.popleft()
                if begin_by_us < now_us:
                    self._returned.append(due.delivery_id)
                    continue
                self._under_way[endpoint_key] += 1
                self._of_kind[kind] += 1
                task = asyncio.create_task(self._attempt(due), name=f"delivery {due.delivery_id}")
                self._tasks.add(task)
                task.add_done_callback(self._ended)
            if waiting:
                self._ready[endpoint_key] = waiting

    def _ended(self, task: asyncio.Task[None]) -> None:
        """An attempt is over: its place is free."""
        self._tasks.discard(task)
        self._fill()

    async def _attempt(self, due: Due) -> None:
        """Makes one attempt and leaves its outcome to be noted."""
        began_us, key = self._now_us(), due.endpoint.endpoint_key
        try:
            answer = await self._senders[due.endpoint.kind].send(due)
        except Exception as error:
            LOG.exception("sender failed", extra={"delivery_id": due.delivery_id})
            answer = Answer(delivered=False, code=0, detail=type(error).__name__)
        finally:
            self._of_kind[due.endpoint.kind] -= 1
            self._under_way[key] -= 1
            if len(self._ready.get(key, ())) < limits.ENDPOINT_READY_MAX // 2:
                self._news.set()  # it may have more
        if not answer.delivered:  # how many places it has now is decided anew
            self._returned += [waiting.delivery_id for waiting, _ in self._ready.pop(key, ())]
        now_us = self._now_us()
        self._notebook.add(self._policy.outcome(due, answer, began_us=began_us, now_us=now_us))
        result = "delivered" if answer.delivered else "postponed" if answer.postponed else "failed"
        self._metrics.attempted(due.endpoint.kind.name.lower(), result, (now_us - began_us) / 1_000_000)

    async def _give_back(self) -> None:
        """Gives back leases of what will not begin; those that cannot be given back now run out."""
        returned, self._returned = self._returned, []
        await self._queue.release(self._owner, returned)

    async def idle(self) -> None:
        """Waits until an attempt ends, or for the next look."""
        try:
            await asyncio.wait_for(self._news.wait(), self._idle_wait_ms / 1_000)
            await asyncio.sleep(LOOK_S)
        except TimeoutError:
            return

    async def close(self) -> None:
        """Gives attempts under way a moment, notes what there is, gives back what is ready, and cancels the rest."""
        self._returned += [due.delivery_id for waiting in self._ready.values() for due, _ in waiting]
        self._ready.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_S):
                while await self._notebook.note():
                    pass
                await self._give_back()
        except Exception:
            LOG.exception("outcomes are lost: their deliveries are due again when their leases run out")

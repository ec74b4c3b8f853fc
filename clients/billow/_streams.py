"""Batches through bidirectional streams: answers in order, bounded in flight, carried on after a broken stream.

A source of batches is spread over a few streams (each stream of HTTP/2 lands on one server process, so several use
several). What is not answered when a stream breaks is sent again on a new one, and what was refused for a passing
reason (overload, storage away) is sent again after the server's RetryInfo: both are safe because issuing happens once
per request id and verifying changes nothing.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from google.rpc import status_pb2
from grpc import StatusCode, aio

from ._call import Caller, closed_error, ended_early_error, error_of_rpc, silence_error, wrong_answer
from ._error_reading import MASKED_STATUS, error_of_call, error_of_status
from ._errors import BillowError, DeadlineExceeded
from ._frames import ItemFramer

Result = TypeVar("Result")
Outcome = TypeVar("Outcome")

_GOODBYE_S = 1.0  # for a stream whose every answer is in: nothing is lost when it does not end in time
_TRUE_STATUS_S = 0.5


class Answer(Protocol):
    """A message of the server: the answer to one batch."""

    @property
    def sequence(self) -> int:
        """The number of the message answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire(Generic[Result]):
    """How one streaming method speaks."""

    open: Callable[..., aio.StreamStreamCall[bytes, Any]]
    framer: ItemFramer
    results: Callable[[Any], Sequence[Result]]
    message_refusal: Callable[[Any], status_pb2.Status | None]
    """The status with which a whole batch was refused, or None."""
    item_refusals: Callable[[Sequence[Result]], list[tuple[int, status_pb2.Status]]] | None
    """Index and status of each item that was refused; None where items cannot be refused."""
    refused: Callable[[status_pb2.Status], Result] | None
    """The result of an item whose whole batch was refused; None where such an error ends everything."""


class _Batch(Generic[Result]):
    """One batch of the source until its results are handed on. ``places``: where the items still open belong."""

    __slots__ = ("attempt", "items", "places", "results", "settled")

    def __init__(self, items: Sequence[bytes]) -> None:
        self.items = items
        self.places: list[int] | None = None
        self.results: Sequence[Result] = ()
        self.settled = not items
        self.attempt = 0


class _Lane(Generic[Result]):
    """One stream while it lasts: what was sent on it and is not answered."""

    __slots__ = ("end", "progressed", "sent", "wake")

    def __init__(self) -> None:
        self.sent: dict[int, _Batch[Result]] = {}
        self.wake = asyncio.Event()
        self.progressed = False
        self.end: asyncio.Future[BillowError] = asyncio.get_running_loop().create_future()

    def ended(self, call: aio.StreamStreamCall[bytes, Any]) -> None:
        """Notes why ``call`` ended. A write that meets the end of a stream makes grpc.aio say "internal error" before
        or after the true status, which it forgets then; here every status passes, and the true one is kept.
        """
        details = _at_once(call.details())
        if details != MASKED_STATUS and not self.end.done():
            code = _at_once(call.code())
            told = error_of_call(code, details, _at_once(call.trailing_metadata()))
            self.end.set_result(told if code is not StatusCode.OK else ended_early_error())

    async def true_error(self, failure: aio.AioRpcError) -> BillowError:
        """Why the stream ended whose reader met ``failure``."""
        if failure.details() == MASKED_STATUS:
            with suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(self.end), _TRUE_STATUS_S)
        return error_of_rpc(failure)


class BatchStreams(Generic[Result]):
    """One run over a source. Belongs to one event loop; used once."""

    def __init__(
        self, *, caller: Caller, wire: Wire[Result], in_flight: int, streams: int, answer_s: float, items_max: int
    ) -> None:
        if not 1 <= in_flight <= 64 or not 1 <= streams <= in_flight:
            raise ValueError("in_flight must be 1 to 64 and streams 1 to in_flight")
        self._caller = caller
        self._wire = wire
        self._answer_s = answer_s
        self._items_max = items_max
        self._streams = streams
        self._lane_batches_max = -(-in_flight // streams)
        self._room = asyncio.Semaphore(in_flight)
        self._pending: deque[_Batch[Result]] = deque()  # taken from the source, not yet handed on; in order
        self._queue: deque[_Batch[Result]] = deque()  # to be sent
        self._work = asyncio.Event()  # the queue may have something, or all is over
        self._news = asyncio.Event()  # the first pending batch may be settled, or all is over
        self._exhausted = False
        self._source_error: BaseException | None = None
        self._failure: BaseException | None = None
        self._sequence = 0
        self._lanes: set[_Lane[Result]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    async def run(self, source: AsyncIterator[Sequence[bytes]]) -> AsyncGenerator[Sequence[Result], None]:
        """Yields the results of each batch of ``source``, in its order.

        Raises BillowError when the streams fail for good, after handing on what was answered before in order; and
        whatever the source raises, after the answers to all that it gave before.
        """
        tasks = [asyncio.create_task(self._feed(source))]
        tasks += [asyncio.create_task(self._carry()) for _ in range(self._streams)]
        try:
            while True:
                while self._pending and self._pending[0].settled:
                    batch = self._pending.popleft()
                    self._room.release()
                    if self._over():
                        self._wake_all()
                    yield batch.results
                if self._failure is not None:
                    raise self._failure
                if self._over():
                    break
                self._news.clear()
                await self._news.wait()
            await asyncio.wait(tasks, timeout=2 * _GOODBYE_S)  # a lane may be waiting to try again, for nothing now
            if self._source_error is not None:
                raise self._source_error
        finally:
            for timer in self._timers:
                timer.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _over(self) -> bool:
        return self._failure is not None or (self._exhausted and not self._pending)

    def _wake_all(self) -> None:
        self._work.set()
        self._news.set()
        for lane in self._lanes:
            lane.wake.set()

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._wake_all()

    # --- from the source into the queue -------------------------------------------------------------------------

    async def _feed(self, source: AsyncIterator[Sequence[bytes]]) -> None:
        try:
            async for items in source:
                await self._room.acquire()
                if len(items) > self._items_max:
                    raise ValueError(f"a batch of {len(items)} items: at most {self._items_max} are allowed")
                batch: _Batch[Result] = _Batch(items)
                self._pending.append(batch)
                if batch.settled:
                    self._news.set()
                else:
                    self._enqueue(batch)
        except Exception as error:  # noqa: BLE001 - raised to the consumer after the answers that are due
            self._source_error = error
        finally:
            self._exhausted = True
            self._wake_all()

    def _enqueue(self, batch: _Batch[Result]) -> None:
        self._queue.append(batch)
        self._work.set()

    def _enqueue_later(self, batch: _Batch[Result], *, retry_delay_ms: int) -> None:
        wait_s = self._caller.stream_backoff_s(attempt=batch.attempt, retry_delay_ms=retry_delay_ms)

        def due() -> None:
            self._timers.discard(timer)
            self._enqueue(batch)

        timer = asyncio.get_running_loop().call_later(wait_s, due)
        self._timers.add(timer)

    async def _wait_for_work(self) -> bool:
        """True when the queue has a batch, False when all is over."""
        while not self._queue:
            if self._over():
                return False
            self._work.clear()
            await self._work.wait()
        return not self._over()

    # --- one stream after the other, carrying the queue ----------------------------------------------------------

    async def _carry(self) -> None:
        attempt = 0
        while await self._wait_for_work():
            lane: _Lane[Result] = _Lane()
            self._lanes.add(lane)
            try:
                await self._carry_once(lane)
                continue
            except BillowError as failure:
                error: BaseException = failure
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                error = closed_error()  # the channel was closed under the call
                self._fail(error)
            except Exception as failure:  # noqa: BLE001 - raised to the consumer by _fail
                error = failure
            finally:
                self._lanes.discard(lane)
                self._queue.extendleft(reversed(lane.sent.values()))
                lane.sent.clear()
            attempt = 1 if lane.progressed else attempt + 1
            if not _can_go_on(error) or attempt >= self._caller.policy.stream_attempts_max:
                self._fail(error)
                return
            delay_ms = error.retry_delay_ms if isinstance(error, BillowError) else 0
            await asyncio.sleep(self._caller.stream_backoff_s(attempt=attempt, retry_delay_ms=delay_ms))

    async def _carry_once(self, lane: _Lane[Result]) -> None:
        """Sends and receives on one stream until all is over; raises BillowError when the stream breaks."""
        try:
            call = self._wire.open(metadata=self._caller.metadata)
        except aio.UsageError as failure:
            raise closed_error() from failure
        call.add_done_callback(lane.ended)
        room = asyncio.Semaphore(self._lane_batches_max)
        sender = asyncio.create_task(self._send(call, lane, room))
        try:
            while True:
                if not lane.sent:
                    if self._over() or sender.done():
                        break
                    lane.wake.clear()
                    await lane.wake.wait()
                    continue
                self._settle(lane, await self._read(call, lane))
                room.release()
            if self._over() and self._failure is None:
                await _say_goodbye(call)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            call.cancel()

    async def _send(self, call: aio.StreamStreamCall[bytes, Any], lane: _Lane[Result], room: asyncio.Semaphore) -> None:
        try:
            while True:
                await room.acquire()
                if not await self._wait_for_work():
                    return
                batch = self._queue.popleft()
                self._sequence += 1
                lane.sent[self._sequence] = batch
                lane.wake.set()
                await call.write(self._wire.framer.frame(batch.items, sequence=self._sequence))
        except (aio.AioRpcError, asyncio.InvalidStateError):
            return  # the stream broke; the reader learns why
        finally:
            lane.wake.set()

    async def _read(self, call: aio.StreamStreamCall[bytes, Any], lane: _Lane[Result]) -> Any:
        try:
            async with asyncio.timeout(self._answer_s):
                answer = await call.read()
        except TimeoutError as failure:
            raise silence_error(self._answer_s) from failure
        except aio.AioRpcError as failure:
            raise await lane.true_error(failure) from failure
        if answer is aio.EOF:
            raise ended_early_error()
        return answer

    # --- answers ----------------------------------------------------------------------------------------------------

    def _settle(self, lane: _Lane[Result], answer: Answer) -> None:
        batch = lane.sent.pop(answer.sequence, None)
        if batch is None:
            raise wrong_answer(f"an answer to message {answer.sequence}, which is not open")
        status = self._wire.message_refusal(answer)
        if status is not None:
            self._settle_refused(batch, status)
            lane.progressed = lane.progressed or batch.settled
            return
        lane.progressed = True
        self._caller.stream_answered()
        results = self._wire.results(answer)
        if len(results) != len(batch.items):
            lane.sent[answer.sequence] = batch
            raise wrong_answer(f"{len(results)} results for {len(batch.items)} items")
        self._merge(batch, results)

    def _settle_refused(self, batch: _Batch[Result], status: status_pb2.Status) -> None:
        error = error_of_status(status)
        batch.attempt += 1
        if error.retryable and batch.attempt < self._caller.policy.stream_attempts_max:
            self._enqueue_later(batch, retry_delay_ms=error.retry_delay_ms)
        elif self._wire.refused is None:
            self._fail(error)
        else:
            self._merge(batch, [self._wire.refused(status) for _ in batch.items], final=True)

    def _merge(self, batch: _Batch[Result], results: Sequence[Result], *, final: bool = False) -> None:
        again, delay_ms = ([], 0) if final else self._passing_errors(results)
        if batch.places is None:
            batch.results = results
        else:
            merged = list(batch.results)
            for place, result in zip(batch.places, results, strict=True):
                merged[place] = result
            batch.results = merged
        batch.attempt += bool(again)
        if again and batch.attempt < self._caller.policy.stream_attempts_max:
            places = batch.places
            batch.places = again if places is None else [places[index] for index in again]
            batch.items = [batch.items[index] for index in again]
            self._enqueue_later(batch, retry_delay_ms=delay_ms)
            return
        batch.settled = True
        batch.items = ()
        if batch is self._pending[0]:
            self._news.set()

    def _passing_errors(self, results: Sequence[Result]) -> tuple[list[int], int]:
        """Indexes of items refused for a passing reason, and the longest wait asked for, in ms."""
        again: list[int] = []
        delay_ms = 0
        for index, status in self._wire.item_refusals(results) if self._wire.item_refusals else ():
            error = error_of_status(status)
            if error.retryable:
                again.append(index)
                delay_ms = max(delay_ms, error.retry_delay_ms)
        return again, delay_ms


def _can_go_on(error: BaseException) -> bool:
    """Whether a stream that ended with this may be opened anew: its items keep their request ids."""
    return isinstance(error, BillowError) and (error.retryable or isinstance(error, DeadlineExceeded))


def _at_once(step: Coroutine[Any, Any, Outcome]) -> Outcome:
    """What a coroutine gives that has nothing to wait for."""
    try:
        step.send(None)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome
    step.close()
    raise RuntimeError("the status of a finished stream is not there")


async def _say_goodbye(call: aio.StreamStreamCall[bytes, Any]) -> None:
    with suppress(TimeoutError, aio.AioRpcError, asyncio.InvalidStateError):
        async with asyncio.timeout(_GOODBYE_S):
            await call.done_writing()
            await call.read()

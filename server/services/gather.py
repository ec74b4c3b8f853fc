"""Lookups that arrive together are read together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from core.domain.errors import BillowError, Reason

OVERLOAD_RETRY_MS = 200
PACE_S = 0.005

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Gather(Generic[Key, Value]):
    """Turns single lookups into batched reads.

    What arrives in one turn of the event loop, or while all `reads_max` reads are under way, becomes the next read of
    at most `items_max` keys. After a read of several keys the next one begins PACE_S after it, after a lone key's twice
    the time later that it took: a lone lookup goes at once, and many share what a read costs (docs/adr/0037). The same
    key is read once a batch. A lookup never joins a read that began before it, so an answer is never older than its
    question (P7). At most `waiting_max` keys wait; beyond, OVERLOADED. A read that fails fails for those who waited for
    it only. `read` must end by itself: it has a timeout of its own.
    """

    def __init__(
        self,
        *,
        read: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Value]]],
        items_max: int,
        waiting_max: int,
        reads_max: int = 2,
    ) -> None:
        self._read = read
        self._items_max = items_max
        self._waiting_max = waiting_max
        self._reads_left = reads_max
        self._waiting: dict[Key, list[asyncio.Future[Value | None]]] = {}  # a future for each who waits
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._pace_s = 0.0
        self._not_before_s = 0.0

    async def get(self, key: Key) -> Value | None:
        """Returns the value of the key, or None; raises what the read raises, or OVERLOADED.

        Cancelling one lookup leaves the read and the other lookups alone.
        """
        return await self._enter(key)

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Value]:
        """As `get`, for several keys: those found, by key."""
        futures: list[asyncio.Future[Value | None]] = []
        try:
            futures.extend(map(self._enter, keys))  # what is entered before a refusal is in there
        except BillowError:
            for future in futures:
                future.cancel()
            raise
        values = await asyncio.gather(*futures)
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    def want(self, key: Key) -> bool:
        """Has the key read without waiting for it; tells whether there was room."""
        if key not in self._waiting:
            if len(self._waiting) >= self._waiting_max:
                return False
            self._waiting[key] = []
            self._schedule()
        return True

    def _enter(self, key: Key) -> asyncio.Future[Value | None]:
        """Puts a key into the next read."""
        future: asyncio.Future[Value | None] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.get(key)
        if waiters is None:
            if len(self._waiting) >= self._waiting_max:
                words = f"{len(self._waiting)} lookups are waiting already"
                raise BillowError(Reason.OVERLOADED, words, retry_delay_ms=OVERLOAD_RETRY_MS)
            self._waiting[key] = [future]
            self._schedule()
        else:
            waiters.append(future)
        return future

    def _schedule(self) -> None:
        """Sees to it that what waits is read as soon as a read is free and it is time."""
        if self._scheduled or not self._reads_left:
            return
        self._scheduled = True
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before_s:
            loop.call_at(self._not_before_s, self._start)
        else:
            loop.call_soon(self._start)

    def _start(self) -> None:
        """Starts reads while keys wait and reads are free."""
        self._scheduled = False
        self._not_before_s = asyncio.get_running_loop().time() + self._pace_s
        while self._waiting and self._reads_left:
            if len(self._waiting) <= self._items_max:
                batch, self._waiting = self._waiting, {}
            else:
                batch = {key: self._waiting.pop(key) for key in list(self._waiting)[: self._items_max]}
            self._reads_left -= 1
            task = asyncio.create_task(self._run(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: dict[Key, list[asyncio.Future[Value | None]]]) -> None:
        """Reads one batch and resolves everybody who waits for it, whatever happens."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            values = await self._read(list(batch))
            for key, waiters in batch.items():
                value = values.get(key)
                for future in waiters:
                    if not future.done():
                        future.set_result(value)
        except Exception as error:  # noqa: BLE001 (handed to those who wait)
            for future in _open(batch):
                future.set_exception(error)
        finally:
            for future in _open(batch):
                future.cancel()  # the task itself was cancelled
            self._reads_left += 1
            self._pace_s = PACE_S if len(batch) > 1 else min(2 * (loop.time() - began_s), PACE_S)
            self._not_before_s = max(self._not_before_s, began_s + self._pace_s)
            if self._waiting:
                self._schedule()

    async def close(self) -> None:
        """Waits until nothing waits and nothing is under way."""
        while self._waiting or self._tasks:
            if self._tasks:
                await asyncio.gather(*self._tasks, return_exceptions=True)
            else:
                await asyncio.sleep(0)  # a read is about to start


def _open(batch: dict[Key, list[asyncio.Future[Value | None]]]) -> list[asyncio.Future[Value | None]]:
    """The futures of a batch that are not resolved yet."""
    return [future for waiters in batch.values() for future in waiters if not future.done()]

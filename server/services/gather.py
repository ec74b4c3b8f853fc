"""Lookups that arrive together are read together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from core.domain.errors import BillowError, Reason

OVERLOAD_RETRY_MS = 200

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Gather(Generic[Key, Value]):
    """Turns single lookups into batched reads.

    What arrives in one turn of the event loop, or while all `reads_max` reads are under way, becomes the next read of
    at most `items_max` keys. The same key is read once a batch. A lookup never joins a read that began before it, so
    an answer is never older than its question (P7). At most `waiting_max` keys wait; beyond, OVERLOADED. A read that
    fails fails for those who waited for it only. `read` must end by itself: it has a timeout of its own.
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
        self._waiting: dict[Key, asyncio.Future[Value | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def get(self, key: Key) -> Value | None:
        """Returns the value of the key, or None; raises what the read raises, or OVERLOADED.

        Cancelling one lookup leaves the read and the other lookups alone.
        """
        return await asyncio.shield(self._enter(key))

    async def get_many(self, keys: Sequence[Key]) -> dict[Key, Value]:
        """As `get`, for several keys: those found, by key."""
        futures = {key: self._enter(key) for key in keys}
        found: dict[Key, Value] = {}
        for key, future in futures.items():
            value = await asyncio.shield(future)
            if value is not None:
                found[key] = value
        return found

    def want(self, key: Key) -> bool:
        """Has the key read without waiting for it; tells whether there was room."""
        if key not in self._waiting and len(self._waiting) >= self._waiting_max:
            return False
        self._enter(key)
        return True

    def _enter(self, key: Key) -> asyncio.Future[Value | None]:
        """Puts a key into the next read."""
        future = self._waiting.get(key)
        if future is None:
            if len(self._waiting) >= self._waiting_max:
                words = f"{len(self._waiting)} lookups are waiting already"
                raise BillowError(Reason.OVERLOADED, words, retry_delay_ms=OVERLOAD_RETRY_MS)
            loop = asyncio.get_running_loop()
            future = self._waiting[key] = loop.create_future()
            future.add_done_callback(_retrieve)
            if not self._scheduled and self._reads_left:
                self._scheduled = True
                loop.call_soon(self._start)
        return future

    def _start(self) -> None:
        """Starts reads while keys wait and reads are free."""
        self._scheduled = False
        while self._waiting and self._reads_left:
            if len(self._waiting) <= self._items_max:
                batch, self._waiting = self._waiting, {}
            else:
                batch = {key: self._waiting.pop(key) for key in list(self._waiting)[: self._items_max]}
            self._reads_left -= 1
            task = asyncio.create_task(self._run(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: dict[Key, asyncio.Future[Value | None]]) -> None:
        """Reads one batch and resolves everybody who waits for it, whatever happens."""
        try:
            values = await self._read(list(batch))
            for key, future in batch.items():
                if not future.done():
                    future.set_result(values.get(key))
        except Exception as error:  # noqa: BLE001 (handed to those who wait)
            for future in batch.values():
                if not future.done():
                    future.set_exception(error)
        finally:
            for future in batch.values():
                future.cancel()  # only those still open: the task itself was cancelled
            self._reads_left += 1
            self._start()

    async def close(self) -> None:
        """Waits until nothing waits and nothing is under way."""
        while self._waiting or self._tasks:
            if self._tasks:
                await asyncio.gather(*self._tasks, return_exceptions=True)
            else:
                await asyncio.sleep(0)  # a read is about to start


def _retrieve(future: asyncio.Future[Value | None]) -> None:
    """Looks at a failure once, so that the loop does not complain when every waiter has gone away."""
    if not future.cancelled():
        future.exception()

"""Async iterators as plain ones, for the sync clients."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from ._loop_thread import LoopThread

Item = TypeVar("Item")


async def next_of(iterator: AsyncIterator[Item]) -> tuple[bool, Item | None]:
    """(True, item), or (False, None) at the end: StopAsyncIteration cannot travel in a future."""
    try:
        return True, await anext(iterator)
    except StopAsyncIteration:
        return False, None


def drain(thread: LoopThread, iterator: AsyncIterator[Item]) -> Iterator[Item]:
    """The items of an async iterator, one after the other."""
    try:
        while True:
            more, item = thread.run(next_of(iterator))
            if not more:
                return
            yield item  # type: ignore[misc]  # None only when there is no more
    finally:
        thread.run(close(iterator))


async def close(iterator: AsyncIterator[Any]) -> None:
    """Ends an iterator that was left early."""
    if isinstance(iterator, AsyncGenerator):
        with suppress(RuntimeError):  # still running: the interruption that ended us is ending it
            await iterator.aclose()

"""Working on several messages of a stream at once, answering in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

Request = TypeVar("Request")
Response = TypeVar("Response")


async def ordered(
    requests: AsyncIterator[Request], answer: Callable[[Request], Awaitable[Response]], *, under_way_max: int
) -> AsyncIterator[Response]:
    """Yields the answer of every request, in request order, with at most `under_way_max` being worked on.

    Reads on while answers are awaited, so a slow first answer holds up at most `under_way_max` requests; a reader that
    takes no answers stops the reading. An error of `answer` or `requests` ends the stream after the answers before it.
    When the caller goes away the tasks are cancelled; work already handed to a lane goes on there.
    """
    tasks: deque[asyncio.Task[Response]] = deque()
    changed = asyncio.Event()
    room = asyncio.Semaphore(under_way_max)
    failure: list[BaseException] = []
    ended = False

    async def read() -> None:
        nonlocal ended
        try:
            async for request in requests:
                await room.acquire()
                tasks.append(asyncio.ensure_future(answer(request)))
                changed.set()
        except Exception as error:  # noqa: BLE001 (handed to the consumer below)
            failure.append(error)
        finally:
            ended = True
            changed.set()

    reader = asyncio.create_task(read())
    try:
        while True:
            while not tasks and not ended:
                changed.clear()
                await changed.wait()
            if not tasks:
                break
            yield await tasks[0]
            tasks.popleft()
            room.release()
        if failure:
            raise failure[0]
    finally:
        reader.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(reader, *tasks, return_exceptions=True)

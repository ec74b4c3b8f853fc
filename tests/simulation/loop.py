"""An event loop without a world: virtual time, no sockets, and an order of callbacks that a seed decides.

Whatever is ready may run next, so every interleaving that awaits allow can happen, and the same seed makes the same
one again. Time passes only when nothing is ready: then it jumps to the next timer. Work for threads is done at once.

Callbacks belong to the process whose context they were made in. A killed process's callbacks are dropped where they
are, without any `finally`, as kill -9 does it; a frozen one's are held back until it goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

Result = TypeVar("Result")

LOOP: Any = asyncio.AbstractEventLoop  # Any: of its fifty methods those below are all that is ever called
STEPS_MAX = 400_000  # callbacks of one history: a healthy one takes some thousands


class Stuck(Exception):
    """Nothing is ready and no timer is set, or it goes on for ever, and the history is not over."""


class ConnectionLost(Exception):
    """The process that was asked is gone, or its answer never came."""


class Process:
    """Something that can be killed or frozen as a whole. `lost` are the calls that others wait for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self.held: list[asyncio.Handle] = []
        self.calls: dict[asyncio.Future[Any], None] = {}
        self.context = copy_context()
        self.context.run(PROCESS.set, self)

    def spawn(self, loop: Loop, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Runs work in this process."""
        return loop.create_task(work, context=self.context.copy())

    def kill(self) -> None:
        """Ends it where it stands; those who wait for an answer see their connection end."""
        self.dead = True
        self.held.clear()
        for call in list(self.calls):
            if not call.done():
                call.set_exception(ConnectionLost(self.name))
        self.calls.clear()

    def thaw(self, loop: Loop) -> None:
        """Lets a frozen one go on."""
        self.frozen = False
        loop.ready += self.held
        self.held.clear()


PROCESS: ContextVar[Process] = ContextVar("process")


class Loop(LOOP):  # type: ignore[misc]
    """The loop; `order` decides what runs next. Times are seconds since the beginning of the history."""

    def __init__(self, order: random.Random) -> None:
        self._order = order
        self._now_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._serial = 0
        self._over = False
        self.ready: list[asyncio.Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.steps = 0
        self.complaints: list[str] = []  # exceptions that nobody caught

    def run(self, main: Coroutine[Any, Any, Result]) -> Result:
        """Runs until `main` is done; raises Stuck when it cannot be. Leaves nothing behind that still runs."""
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(main)
            while not task.done():
                self._step()
            return task.result()
        finally:
            self._end()
            asyncio._set_running_loop(None)

    def _step(self) -> None:
        """Runs one callback, or lets time pass."""
        ready = self.ready
        if not ready:
            if not self._timers:
                raise Stuck(f"at {self._now_s:.3f} s everybody waits and nothing comes")
            self._now_s = max(self._now_s, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now_s:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled():
                ready.append(timer)
        if not ready:
            return
        if len(ready) > 1:
            place = int(self._order.random() * len(ready))
            ready[place], ready[-1] = ready[-1], ready[place]
        handle = ready.pop()
        if handle.cancelled():
            return
        self.steps += 1
        if self.steps > STEPS_MAX:
            raise Stuck(f"more than {STEPS_MAX} steps at {self._now_s:.3f} s")
        process = handle._context.get(PROCESS)  # type: ignore[attr-defined]
        if process is not None and (process.dead or process.frozen):
            if process.frozen and not process.dead:
                process.held.append(handle)
            return
        handle._run()

    def _end(self) -> None:
        """Closes every coroutine that was left where it stood, so that none runs on when it is collected."""
        self._over = True
        for task in self.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                for _ in range(3):
                    with contextlib.suppress(BaseException):
                        _coroutine(task).close()
            elif not task.cancelled():
                task.exception()  # looked at, whoever was to do it
        self.tasks.clear()
        self.ready.clear()
        self._timers.clear()

    # --- what asyncio asks of a loop ---------------------------------------------------------------------------
    def time(self) -> float:
        """The virtual time in seconds."""
        return self._now_s

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Makes a callback ready."""
        handle = asyncio.Handle(callback, args, self, context)
        if not self._over:
            self.ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As call_soon: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Makes a callback ready after some seconds."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Makes a callback ready at a moment."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._over:
            self._serial += 1
            heapq.heappush(self._timers, (when, self._serial, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is skipped when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, Result] | Coroutine[Any, Any, Result],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Result]:
        """A task of this loop; kept until the history is over, so that a killed one is not collected before."""
        task: asyncio.Task[Result] = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Result], *args: Any) -> asyncio.Future[Result]:
        """Does it at once."""
        future: asyncio.Future[Result] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 -- handed to who waits
            future.set_exception(error)
        return future

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """While a history runs."""
        return not self._over

    def is_closed(self) -> bool:
        """After it."""
        return self._over

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Notes what nobody caught."""
        if not self._over:
            self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")


def _coroutine(task: asyncio.Task[Any]) -> Coroutine[Any, Any, Any]:
    coroutine = task.get_coro()
    assert asyncio.iscoroutine(coroutine)
    return coroutine

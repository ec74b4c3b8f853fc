"""One event loop in a thread of its own, on which all sync clients of the process run.

One loop, not one a client: grpc wakes every loop of a process for every event, so further loops cost all of them.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

Outcome = TypeVar("Outcome")

_STOP_S = 5.0


class LoopThread:
    """A started loop; ``stop`` ends it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="billow-client", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def submit(self, work: Coroutine[Any, Any, Outcome]) -> Future[Outcome]:
        """Starts ``work`` on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Waits for ``work`` and gives its outcome; an interruption (Ctrl-C) cancels it."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("the sync client must not be called from its own loop")
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # does nothing when the outcome itself was an error
            raise

    def stop(self) -> None:
        """Ends the loop and waits for the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_STOP_S)


class _Shared:
    """The loop thread of this process while any client uses it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: LoopThread | None = None
        self.users = 0
        self.process = 0


_shared = _Shared()


def acquire() -> LoopThread:
    """The process's loop thread; give it back with ``release``. After a fork the child gets one of its own."""
    with _shared.lock:
        if _shared.thread is None or _shared.process != os.getpid():
            _shared.thread = LoopThread()
            _shared.users = 0
            _shared.process = os.getpid()
        _shared.users += 1
        return _shared.thread


def release(thread: LoopThread) -> None:
    """Ends the loop thread when its last user is gone."""
    with _shared.lock:
        if _shared.thread is not thread:
            return
        _shared.users -= 1
        if _shared.users:
            return
        _shared.thread = None
    thread.stop()

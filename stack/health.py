"""Waiting until processes are well, each asked in its own protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Final

from stack import cache, edge, mail, mariadb, platform_processes, seaweed
from stack.options import RunFolder, StackError
from stack.progress import Progress
from stack.state import NODES, State
from stack.supervision import Supervisor

HEALTHY_S: Final = 120.0  # a database may have to recover from a crash first
POLL_S: Final = 0.05
LOG_TAIL_LINES: Final = 15
LOG_TAIL_BYTES: Final = 8_192


class Together:
    """Runs steps side by side; when one fails, the waiting of the others ends and its error is raised."""

    def __init__(self) -> None:
        self.failed = threading.Event()

    def run(self, steps: Sequence[Callable[[], None]]) -> None:
        """Returns when all steps have, or raises what the first one to fail raised."""
        with ThreadPoolExecutor(max_workers=max(1, len(steps))) as pool:
            futures = [pool.submit(step) for step in steps]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failure = next((future.exception() for future in done if future.exception()), None)
            if failure is not None:
                self.failed.set()
        if failure is not None:
            raise failure


def answers(folder: RunFolder, state: State, name: str) -> bool:
    """Asks one process whether it is well; blocks for at most some seconds."""
    if name in NODES:
        return mariadb.answers(folder, state, name)
    if name == "redis":
        return cache.answers(state)
    if name == "s3":
        return seaweed.answers(state)
    if name == mail.NAME:
        return mail.answers(state)
    if name == "envoy":
        return edge.answers(state)
    return platform_processes.answers(state, name)


class Waiter:
    """Waits for the processes of one run folder."""

    def __init__(self, *, folder: RunFolder, supervisor: Supervisor, progress: Progress, together: Together) -> None:
        self._folder = folder
        self._supervisor = supervisor
        self._progress = progress
        self._together = together

    def wait(self, state: State, name: str, *, timeout_s: float = HEALTHY_S, patient: bool = False) -> None:
        """Returns when the process is well. Raises StackError after the timeout or when another step has failed.

        Unless patient, a process that ends instead of becoming well is an error at once.
        """
        deadline = time.monotonic() + timeout_s
        with self._progress.step(name):
            while not answers(self._folder, state, name):
                known = self._supervisor.states().get(name)
                if known is None:
                    raise StackError(f"no process is called {name}")
                if known.state == "FATAL" or (known.state == "BACKOFF" and not patient):
                    raise StackError(f"{name} does not start: {known.detail}\n{log_tail(self._folder, name)}")
                if time.monotonic() > deadline:
                    raise StackError(f"{name} is not well after {timeout_s:.0f} s\n{log_tail(self._folder, name)}")
                if self._together.failed.wait(POLL_S):
                    raise StackError(f"{name} is not waited for any longer: something else failed")


def log_tail(folder: RunFolder, name: str, lines: int = LOG_TAIL_LINES) -> str:
    """Returns the last lines of a process's log."""
    path = folder.log(name)
    if not path.exists():
        return f"(no log {path})"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return "\n".join([f"last lines of {path}:", *text.splitlines()[-lines:]])

"""Processes that work on one thing after another: kept apart from the event loop, bounded, replaced when in doubt."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from core.domain.errors import BillowError, Reason

LOG = logging.getLogger(__name__)

REQUEST: Final = struct.Struct(">BI")  # length of the name of the work, length of the content; both follow
ANSWER: Final = struct.Struct(">BI")  # what became of it, length of what follows
OVERLOADED_RETRY_MS: Final = 500
DONE, REFUSED, FAILED = range(3)  # what became of it: content, words for the caller, a traceback
ENDING_S: Final = 2  # between the end of its pipes and that of a process
CHECKOUT: Final = Path(__file__).resolve().parent.parent

Answer = tuple[int, bytes]


class ProcessFailed(Exception):
    """A process ended at its work or took too long over it, and was replaced.

    `took_too_long`: it was ended for that. `exit_code`: what it ended with by itself, the negative number of a signal
    for one that was ended by it; None when it did not even start.
    """

    def __init__(self, message: str, *, took_too_long: bool = False, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.took_too_long = took_too_long
        self.exit_code = exit_code


class Processes:
    """Up to `processes` processes of one Python module, started when first needed, which answer by `serve`.

    At most `waiting_max` pieces of work wait or are under way; more are refused with OVERLOADED. One that takes longer
    than `work_max_ms` fails, and its process is replaced. A caller that goes away ends its waiting, not the work.
    Belongs to one event loop.
    """

    def __init__(
        self, *, module: str, arguments: Sequence[str] = (), processes: int, waiting_max: int, work_max_ms: int
    ) -> None:
        self._module = module
        self._command = (sys.executable, "-m", module, *arguments)
        self._slots: asyncio.LifoQueue[Process | None] = asyncio.LifoQueue()
        for _ in range(processes):
            self._slots.put_nowait(None)
        self._processes = processes
        self._waiting_max = waiting_max
        self.work_max_ms = work_max_ms
        self._under_way: set[asyncio.Task[Answer]] = set()

    async def answer(self, name: str, *parts: bytes, waiting_max: int | None = None) -> Answer:
        """Has a process do a piece of work; the content is made of `parts`.

        Raises OVERLOADED when `waiting_max` or more wait (the pool's own maximum if it is not given), ProcessFailed.
        """
        if len(self._under_way) >= (self._waiting_max if waiting_max is None else waiting_max):
            words = f"{len(self._under_way)} documents are waiting to be worked on"
            raise BillowError(Reason.OVERLOADED, words, retry_delay_ms=OVERLOADED_RETRY_MS)
        task = asyncio.create_task(self._work(name.encode(), parts))
        self._under_way.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Finishes what is under way and ends the processes."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        for _ in range(self._processes):
            process = self._slots.get_nowait()
            if process is not None:
                await _end(process)

    def _forget(self, task: asyncio.Task[Answer]) -> None:
        """Takes note of an end that nobody may wait for any more."""
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()

    async def _work(self, name: bytes, parts: Sequence[bytes]) -> Answer:
        """Sends the work to a process; one that ended, hangs or may be out of step is replaced."""
        process = await self._slots.get()
        healthy: Process | None = None
        try:
            if process is None or process.returncode is not None:
                process = None
                process = await self._start()
            async with asyncio.timeout(self.work_max_ms / 1_000):
                answer = await _exchange(process, name, parts)
            healthy = process
            return answer
        except TimeoutError as error:
            words = f"{self._module} took longer than {self.work_max_ms} ms"
            raise ProcessFailed(words, took_too_long=True) from error
        except (OSError, asyncio.IncompleteReadError) as error:
            exit_code = None if process is None else await _ended(process)
            words = f"{self._module} ended with {exit_code}: {error!r}"
            raise ProcessFailed(words, exit_code=exit_code) from error
        finally:
            if process is not None and healthy is None:
                await _killed(process)
            self._slots.put_nowait(healthy)

    async def _start(self) -> Process:
        LOG.info("starting a process", extra={"module_started": self._module})
        return await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE, cwd=CHECKOUT)


def serve(work: Callable[[str, bytes], Answer], requests: BinaryIO, answers: BinaryIO) -> None:
    """The other side: answers requests until they end, as they do when the server is gone."""
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        name_bytes, content_bytes = REQUEST.unpack(head)
        name = requests.read(name_bytes).decode()
        outcome, content = work(name, requests.read(content_bytes))
        try:
            answers.write(ANSWER.pack(outcome, len(content)) + content)
            answers.flush()
        except BrokenPipeError:
            return


async def _exchange(process: Process, name: bytes, parts: Sequence[bytes]) -> Answer:
    """Sends a request and reads its answer."""
    requests, answers = process.stdin, process.stdout
    if requests is None or answers is None:
        raise OSError("the process has no pipes")
    requests.writelines((REQUEST.pack(len(name), sum(map(len, parts))), name, *parts))
    await requests.drain()
    outcome, length = ANSWER.unpack(await answers.readexactly(ANSWER.size))
    return outcome, await answers.readexactly(length)


async def _ended(process: Process) -> int:
    """Waits for a process whose pipes are closed; returns its own exit code, or ends it when it stays."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ENDING_S):
            return await process.wait()
    return await _killed(process)


async def _killed(process: Process) -> int:
    """Ends a process at once; returns its exit code, its own if it had ended already.

    Not by `process.kill()`: that looks first whether the process has ended, and so takes its exit code away from the
    event loop, which then makes one up (255).
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return await _end(process)


async def _end(process: Process) -> int:
    """Closes the process's stdin, which ends it, and waits."""
    if process.stdin is not None:
        process.stdin.close()
    return await process.wait()

"""The press: a few processes that render documents, so that rendering never holds the event loop that issues."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from core import limits
from core.documents.renderer import NotRenderable
from core.domain.errors import BillowError, Reason
from press.process import ANSWER, REFUSED, RENDERED, REQUEST

LOG = logging.getLogger(__name__)

OVERLOADED_RETRY_MS = 500
CHECKOUT = Path(__file__).resolve().parent.parent


class PressFailed(Exception):
    """Rendering failed; the text is the traceback of the process, or says how the process ended."""


class ProcessPress:
    """The Press of press/documents.py over up to `processes` processes, started when first needed.

    At most `waiting_max` renderings wait or are under way; more are refused with OVERLOADED. One that takes longer
    than `render_max_ms` fails, and its process is replaced. A caller that goes away ends its waiting, not the
    rendering. `signing` names the files of key and certificate that sign XML. Belongs to one event loop.
    """

    def __init__(
        self,
        *,
        font: str,
        processes: int,
        signing: tuple[str, str] | None = None,
        waiting_max: int = limits.DOCUMENTS_WAITING_MAX,
        render_max_ms: int = limits.DOCUMENT_RENDER_MAX_MS,
    ) -> None:
        self._command = (sys.executable, "-m", "press.process", font, *(signing or ()))
        self._slots: asyncio.LifoQueue[Process | None] = asyncio.LifoQueue()
        for _ in range(processes):
            self._slots.put_nowait(None)
        self._processes = processes
        self._waiting_max = waiting_max
        self._render_max_s = render_max_ms / 1_000
        self._under_way: set[asyncio.Task[tuple[int, bytes]]] = set()

    async def render(self, format_name: str, body: bytes) -> bytes:
        """Renders a canonical body. Raises OVERLOADED, NotRenderable, PressFailed."""
        if len(self._under_way) >= self._waiting_max:
            words = f"{self._waiting_max} documents are waiting to be rendered"
            raise BillowError(Reason.OVERLOADED, words, retry_delay_ms=OVERLOADED_RETRY_MS)
        task = asyncio.create_task(self._print(format_name, body))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        outcome, content = await asyncio.shield(task)
        if outcome == RENDERED:
            return content
        if outcome == REFUSED:
            raise NotRenderable(content.decode())
        raise PressFailed(content.decode())

    async def close(self) -> None:
        """Finishes what is under way and ends the processes."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        for _ in range(self._processes):
            process = self._slots.get_nowait()
            if process is not None:
                await _end(process)

    async def _print(self, format_name: str, body: bytes) -> tuple[int, bytes]:
        """Has a process render; a process that ended, hangs or may be out of step is replaced."""
        process = await self._slots.get()
        healthy: Process | None = None
        try:
            if process is None or process.returncode is not None:
                process = await self._start()
            async with asyncio.timeout(self._render_max_s):
                answer = await _exchange(process, format_name, body)
            healthy = process
            return answer
        except TimeoutError:
            return -1, f"rendering took longer than {self._render_max_s} s".encode()
        except (OSError, asyncio.IncompleteReadError) as error:
            return -1, f"the rendering process ended: {error!r}".encode()
        finally:
            if process is not None and healthy is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await _end(process)
            self._slots.put_nowait(healthy)

    async def _start(self) -> Process:
        LOG.info("starting a process that renders")
        return await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE, cwd=CHECKOUT)


async def _exchange(process: Process, format_name: str, body: bytes) -> tuple[int, bytes]:
    """Sends a request and reads its answer."""
    requests, answers = process.stdin, process.stdout
    if requests is None or answers is None:
        raise OSError("the process has no pipes")
    name = format_name.encode()
    requests.writelines(_frame(name, body))
    await requests.drain()
    outcome, length = ANSWER.unpack(await answers.readexactly(ANSWER.size))
    return outcome, await answers.readexactly(length)


def _frame(name: bytes, body: bytes) -> Sequence[bytes]:
    return (REQUEST.pack(len(name), len(body)), name, body)


async def _end(process: Process) -> None:
    """Closes the process's stdin, which ends it, and waits."""
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()

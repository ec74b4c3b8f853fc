"""Runs a job over and over: at once while there is work, after a wait when there is none, slower while it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from core.domain.errors import BillowError

LOG = logging.getLogger(__name__)

BACKOFF_FIRST_MS: Final = 200
BACKOFF_MAX_MS: Final = 10_000


class Job(Protocol):
    """A kind of background work."""

    @property
    def name(self) -> str:
        """Names the job in logs and metrics."""
        ...

    async def step(self) -> bool:
        """Does one bounded piece of work; False when no more is left. Cancelled, it leaves nothing half done."""
        ...

    async def idle(self) -> None:
        """Waits a bounded time for more work."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """How jobs are run. `chance` returns a number from 0 to 1; `failed` is told the name of a job whose step failed."""

    stop_grace_ms: int
    chance: Callable[[], float]
    failed: Callable[[str], None]

    async def run(self, job: Job, stop: asyncio.Event) -> None:
        """Runs the job until `stop` is set; a step under way then gets `stop_grace_ms` before it is cancelled.

        An exception of a step is logged, counted and answered with a pause that doubles up to BACKOFF_MAX_MS, half of
        it by chance, so that workers do not come back all at once.
        """
        failures = 0
        while not stop.is_set():
            try:
                finished, worked = await self._until(stop, job.step, self.stop_grace_ms)
                failures = 0
            except Exception as error:  # noqa: BLE001 -- whatever it is, the loop must go on
                failures += 1
                self._note(job, error, failures)
                await self._until(stop, lambda: asyncio.sleep(self._pause_s(failures)), 0)  # noqa: B023 -- awaited here
                continue
            if finished and not worked:
                await self._until(stop, job.idle, 0)

    def _pause_s(self, failures: int) -> float:
        """Returns the pause after so many failures in a row."""
        longest_ms: int = min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS << min(failures - 1, 16))
        return longest_ms * (0.5 + 0.5 * self.chance()) / 1_000

    def _note(self, job: Job, error: Exception, failures: int) -> None:
        """Logs and counts a failure; what is not expected brings its traceback."""
        self.failed(job.name)
        expected = isinstance(error, BillowError)
        LOG.error(
            "step failed",
            exc_info=None if expected else error,
            extra={"job": job.name, "failures": failures, "reason": str(error)},
        )

    @staticmethod
    async def _until(stop: asyncio.Event, work: Callable[[], Awaitable[Any]], grace_ms: int) -> tuple[bool, Any]:
        """Awaits the work, but after `stop` only for the grace; returns whether it finished, and its result."""
        task = asyncio.ensure_future(work())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait((task,), timeout=grace_ms / 1_000)
            if task.done():
                return True, task.result()
            return False, None
        finally:
            for pending in (task, stopping):
                pending.cancel()
            await asyncio.gather(task, stopping, return_exceptions=True)

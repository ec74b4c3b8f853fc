"""A worker process as a test's own child."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class WorkerProcess:
    """A running worker."""

    process: asyncio.subprocess.Process
    metrics_port: int
    log: Path

    async def kill(self) -> None:
        """Ends it as a crash does."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Asks it to end and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    async def measured(self, name: str) -> float:
        """Reads the sum of one metric over its labels."""
        page = await asyncio.to_thread(self._page)
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page, re.MULTILINE))

    def _page(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            return str(answer.read(), "utf-8")


@asynccontextmanager
async def worker(config: Path, *, slot: int = 1) -> AsyncIterator[WorkerProcess]:
    """Starts a worker; kills it at the end if it still runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = config.with_name(f"worker-{slot}-{port}.log")
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "workers", "--config", str(config), "--metrics-port", str(port), "--slot", str(slot)),
            stderr=stderr,
        )
    try:
        yield WorkerProcess(process, port, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

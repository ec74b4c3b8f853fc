"""The worker process: parses the command line, starts, works, stops."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

import uvloop

from core import logs, settings
from workers.bootstrap import working

LOG = logging.getLogger(__name__)


def main() -> None:
    """Runs `python -m workers`."""
    parser = argparse.ArgumentParser(prog="python -m workers", description="A Billow worker process.")
    parser.add_argument("--config", type=Path, required=True, help="settings file (TOML)")
    parser.add_argument("--metrics-port", type=int, required=True, help="port of /metrics")
    parser.add_argument("--slot", type=int, default=0, help="number of this process among its like; one process a slot")
    arguments = parser.parse_args()
    logs.start(f"worker-{arguments.slot}")
    uvloop.run(_run(settings.load(arguments.config), metrics_port=arguments.metrics_port, slot=arguments.slot))


async def _run(config: settings.Settings, *, metrics_port: int, slot: int) -> None:
    """Works until SIGTERM or SIGINT, then finishes the step under way or gives its leases back."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with working(config, metrics_port=metrics_port, slot=slot) as run_jobs:
        LOG.info("working", extra={"metrics_port": metrics_port})
        await run_jobs(stop)
    LOG.info("stopped")

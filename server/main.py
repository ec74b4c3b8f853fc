"""The server process: parses the command line, starts, serves, drains, stops."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
from pathlib import Path

import uvloop

from core import logs, settings
from server.bootstrap import serving
from server.scheduling import take_turns

LOG = logging.getLogger(__name__)

GC_ALLOCATIONS = 20_000


def main() -> None:
    """Runs `python -m server`."""
    parser = argparse.ArgumentParser(prog="python -m server", description="A Billow gRPC server process.")
    parser.add_argument("--config", type=Path, required=True, help="settings file (TOML)")
    parser.add_argument("--port", type=int, required=True, help="port of the gRPC services")
    parser.add_argument("--metrics-port", type=int, required=True, help="port of /metrics")
    parser.add_argument("--slot", type=int, default=0, help="number of this process among its like")
    arguments = parser.parse_args()
    logs.start(f"server-{arguments.slot}")
    take_turns()
    uvloop.run(_run(settings.load(arguments.config), arguments))


async def _run(config: settings.Settings, arguments: argparse.Namespace) -> None:
    """Serves until SIGTERM or SIGINT, then drains: NOT_SERVING, wait, finish, stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(config, port=arguments.port, metrics_port=arguments.metrics_port, slot=arguments.slot):
        # what lives now lives for ever: the collector need not look at it again; and batches come and go by the
        # thousand without cycles, so it looks less often at the rest (measured: 3 % of a server's CPU)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS, 20, 100)
        LOG.info("serving", extra={"port": arguments.port})
        await stop.wait()
        LOG.info("draining")
    LOG.info("stopped")

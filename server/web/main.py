"""The web process: parses the command line, starts, serves, drains, stops."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

import uvloop

from core import logs, settings
from server.web.bootstrap import serving

LOG = logging.getLogger(__name__)


def main() -> None:
    """Runs `python -m server.web`."""
    parser = argparse.ArgumentParser(prog="python -m server.web", description="Billow's downloads and pages by HTTP.")
    parser.add_argument("--config", type=Path, required=True, help="settings file (TOML)")
    parser.add_argument("--port", type=int, required=True, help="port of HTTP/1.1")
    parser.add_argument("--metrics-port", type=int, required=True, help="port of /metrics")
    parser.add_argument("--slot", type=int, default=0, help="number of this process among its like")
    arguments = parser.parse_args()
    logs.start(f"web-{arguments.slot}")
    uvloop.run(_run(settings.load(arguments.config), arguments))


async def _run(config: settings.Settings, arguments: argparse.Namespace) -> None:
    """Serves until SIGTERM or SIGINT, then drains."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(config, port=arguments.port, metrics_port=arguments.metrics_port):
        LOG.info("serving", extra={"port": arguments.port})
        await stop.wait()
        LOG.info("draining")
    LOG.info("stopped")

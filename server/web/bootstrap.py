"""Builds what a web process is made of. It knows the settings and the object store, no database, no cache, no gRPC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, start_http_server

from core.documents.formats import FORMATS
from core.settings import Settings
from core.storage.objects.s3 import open_s3
from server.web import pages
from server.web.app import make_app
from server.web.downloads import Downloads
from server.web.metrics import WebMetrics

PAGES = Path(__file__).parent / "page"
# longer than Envoy keeps an idle connection (envoy/billow.yaml), so that it is always Envoy that closes one
KEEPALIVE_S = 120.0


@asynccontextmanager
async def serving(config: Settings, *, port: int, metrics_port: int) -> AsyncIterator[None]:
    """Serves inside the block; on leaving it drains: unwell, wait, finish what is under way, stop.

    Needs no object store to be there yet. Raises OSError when a port is taken.
    """
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        served, thread = start_http_server(metrics_port, addr=config.server.host, registry=registry)
        stack.callback(thread.join)
        stack.callback(served.server_close)
        stack.callback(served.shutdown)
        draining = asyncio.Event()
        downloads = Downloads(
            objects=await stack.enter_async_context(open_s3(config.object_store)),
            keys=config.downloads.link_keys,
            formats=FORMATS,
            metrics=WebMetrics(registry),
            now_s=lambda: int(time.time()),
        )
        stack.push_async_callback(downloads.close)
        app = make_app(downloads=downloads, pages=pages.load(PAGES), draining=draining)
        runner = web.AppRunner(
            app,
            access_log=None,  # a path of a download is a secret until its link expires
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=config.downloads.drain_grace_ms / 1_000,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, config.server.host, port).start()
        try:
            yield
        finally:
            draining.set()
            await asyncio.sleep(config.downloads.drain_wait_ms / 1_000)

"""The web application: downloads, pages, health."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from core.domain.download_link import PATH_PREFIX
from server.web.downloads import Downloads
from server.web.pages import Page, add_pages

REQUEST_BYTES_MAX = 1_024  # nothing here takes a body


def make_app(*, downloads: Downloads, pages: Mapping[str, Page], draining: asyncio.Event) -> web.Application:
    """Builds the application. `/health` answers 200 until `draining` is set; Envoy does not let it through."""
    app = web.Application(client_max_size=REQUEST_BYTES_MAX)

    async def health(_request: web.Request) -> web.Response:
        going = draining.is_set()
        return web.Response(status=503 if going else 200, text="draining\n" if going else "ok\n")

    app.router.add_get("/health", health)
    app.router.add_route("*", f"{PATH_PREFIX}{{rest:.*}}", downloads.answer)
    add_pages(app, pages)
    app.on_response_prepare.append(_finish)
    return app


async def _finish(_request: web.Request, response: web.StreamResponse) -> None:
    """What every answer has: no guessing of types, no word of what runs here, and not kept unless it says so."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = "billow"
    response.headers.setdefault("Cache-Control", "no-store")

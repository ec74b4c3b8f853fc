"""The pages for people: the files of server/web/page/, held in memory.

`index.html` is served at `/`, any other `NAME.html` at `/NAME`, everything else at `/static/NAME`. Envoy lets through
`/` and `/static/` (envoy/billow.yaml). A page loads nothing from elsewhere and is in nobody's frame.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from core import limits
from server.web.conditions import has_it

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Page:
    """One file."""

    content: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """The strong validator: the content's SHA-256."""
        return f'"{hashlib.sha256(self.content).hexdigest()}"'


def load(folder: Path) -> dict[str, Page]:
    """Reads the pages, by path. Raises ValueError for a file larger than PAGE_BYTES_MAX, OSError."""
    found: dict[str, Page] = {}
    for file in sorted(folder.iterdir() if folder.is_dir() else ()):
        if not file.is_file() or file.name.startswith("."):
            continue
        content = file.read_bytes()
        if len(content) > limits.PAGE_BYTES_MAX:
            raise ValueError(f"{file} is larger than {limits.PAGE_BYTES_MAX} bytes")
        media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        text = media_type.startswith("text/") or media_type == "image/svg+xml"
        found[_path(file)] = Page(content, f"{media_type}; charset=utf-8" if text else media_type)
    return found


def add_pages(app: web.Application, pages: Mapping[str, Page]) -> None:
    """Adds a route for each page."""
    for path, page in pages.items():
        app.router.add_get(path, _handler(page))


def _path(file: Path) -> str:
    if file.suffix != ".html":
        return f"/static/{file.name}"
    return "/" if file.stem == "index" else f"/{file.stem}"


def _handler(page: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    headers = {
        "ETag": page.etag,
        "Cache-Control": "no-cache",  # kept, but asked for again: a new release shows at once
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        if has_it(request.headers.get("If-None-Match"), page.etag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=page.content, headers={**headers, "Content-Type": page.media_type})

    return answer

"""Downloads: what a signed link opens, read from the object store piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from aiohttp import ClientConnectionResetError, web

from core import limits
from core.documents.renderer import DocumentFormat
from core.domain.download_link import PATH_PREFIX, DownloadLink, LinkKey, LinkRefused, verify
from core.domain.errors import BillowError
from core.storage.ports import ObjectMissing, ObjectStore
from press.kept import key_of
from server.web.conditions import Unsatisfiable, has_it, part
from server.web.recent import Damaged, RecentDocuments

LOG = logging.getLogger(__name__)

PATH_FORM: Final = re.compile(rf"{PATH_PREFIX}(?P<token>[A-Za-z0-9_-]+)/(?P<file>[0-9a-z.]+)")
RETRY_S: Final = "2"
# a document is a file to keep: whatever is inside, no browser runs it in the name of this host
SAFE: Final = {"Content-Security-Policy": "sandbox; default-src 'none'", "Referrer-Policy": "no-referrer"}


class DownloadMetrics(Protocol):
    """What is counted. Must not raise."""

    def answered(self, answer: str) -> None:
        """One request got this answer."""
        ...

    def wrote(self, size_bytes: int) -> None:
        """So many bytes of a document went out."""
        ...

    def under_way(self, downloads: int) -> None:
        """So many downloads read or write now."""
        ...


class Downloads:
    """Answers GET and HEAD of `/d/{token}/{file name}`.

    The link alone decides: which document, which bytes (their SHA-256 is the ETag), and until when; who has it needs
    no key. A whole document is compared with the digest before its last byte goes out. At most DOWNLOADS_MAX are
    under way; more are told to come again. Each holds one chunk, and reads the next when the last has been taken.
    """

    def __init__(
        self,
        *,
        objects: ObjectStore,
        keys: Sequence[LinkKey],
        formats: Mapping[str, DocumentFormat],
        metrics: DownloadMetrics,
        now_s: Callable[[], int],
    ) -> None:
        self._objects = objects
        self._recent = RecentDocuments(objects=objects)
        self._keys = keys
        self._formats = formats
        self._metrics = metrics
        self._now_s = now_s
        self._under_way = 0

    async def close(self) -> None:
        """Ends what is still being read."""
        await self._recent.close()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers one request. Round trips to the object store: 1, and 1 more for each further chunk; 304 has none.

        A small document that was read a moment ago has none either.
        """
        if request.method not in {"GET", "HEAD"}:
            return self._refusal("method", 405, "only GET and HEAD\n", {"Allow": "GET, HEAD"})
        opened = self._opened(request.raw_path)
        if opened is None:  # one answer for expired, forged, and anything else: nothing is learnt by asking
            return self._refusal("refused", 403, "this link is not valid, or not valid any more\n")
        link, made = opened
        etag = f'"{link.sha256.hex()}"'
        headers = {
            "ETag": etag,
            "Cache-Control": f"public, max-age={max(0, link.expires_s - self._now_s() - 1)}, immutable",
            "Accept-Ranges": "bytes",
            "Content-Type": made.media_type,
            "Content-Disposition": f'attachment; filename="{link.number}.{made.extension}"',
            **SAFE,
        }
        if has_it(request.headers.get("If-None-Match"), etag):
            self._metrics.answered("not_modified")
            del headers["Content-Type"], headers["Content-Disposition"]
            return web.Response(status=304, headers=headers)
        if self._under_way >= limits.DOWNLOADS_MAX:
            return self._refusal("busy", 503, "too many downloads at once\n", {"Retry-After": RETRY_S})
        self._under_way += 1
        self._metrics.under_way(self._under_way)
        try:
            return await self._served(request, link, key_of(made, link.number), headers)
        finally:
            self._under_way -= 1
            self._metrics.under_way(self._under_way)

    def _opened(self, raw_path: str) -> tuple[DownloadLink, DocumentFormat] | None:
        """Reads a path in its one spelling; a query, an escape or another file name is another spelling."""
        found = PATH_FORM.fullmatch(raw_path)
        if found is None:
            return None
        try:
            link = verify(found["token"], self._keys, now_s=self._now_s())
        except LinkRefused:
            return None
        made = self._formats.get(link.format_name)
        if made is None or found["file"] != f"{link.number}.{made.extension}":
            return None
        return link, replace(made, version=link.version)

    async def _served(
        self, request: web.Request, link: DownloadLink, key: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Answers with the document or a part of it, or says why not."""
        response: web.StreamResponse | None = None
        try:
            if request.method == "HEAD":
                return await self._head(link, key, headers)
            asked = part(
                request.headers.get("Range"),
                request.headers.get("If-Range"),
                etag=headers["ETag"],
                size_bytes=link.size_bytes,
            )
            start, end = asked or (0, link.size_bytes)
            pieces = self._pieces(link, key, start, end)
            first = await anext(pieces)  # before the status goes out
            response = web.StreamResponse(status=206 if asked else 200, headers=headers)
            response.content_length = end - start
            if asked:
                response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{link.size_bytes}"
            await response.prepare(request)
            await self._write(response, first)
            async for piece in pieces:
                await self._write(response, piece)
            await response.write_eof()
        except Unsatisfiable:
            whole = {"Content-Range": f"bytes */{link.size_bytes}"}
            return self._refusal("unsatisfiable", 416, "there are no such bytes\n", whole)
        except ObjectMissing:
            return self._failed(request, response, "missing", 404, "the document is not there\n")
        except (BillowError, TimeoutError) as error:
            LOG.warning("a document cannot be read or written: %s", error, extra={"key": key})
            return self._failed(request, response, "away", 503, "the document cannot be read at present\n")
        except Damaged:
            LOG.error("a document differs from what its link was signed for", extra={"key": key})
            return self._failed(request, response, "damaged", 500, "the document cannot be given\n")
        except ClientConnectionResetError:
            self._metrics.answered("gone")
            return response or web.Response(status=499)
        self._metrics.answered("part" if response.status == 206 else "whole")
        return response

    async def _head(self, link: DownloadLink, key: str, headers: dict[str, str]) -> web.Response:
        """Answers HEAD: what GET would say, without the bytes."""
        async with asyncio.timeout(limits.DOWNLOAD_STORE_MAX_MS / 1_000):
            size_bytes = await self._objects.size(key)
        if size_bytes is None:
            raise ObjectMissing(key)
        if size_bytes != link.size_bytes:
            raise Damaged(key)
        self._metrics.answered("head")
        return web.Response(headers={**headers, "Content-Length": str(size_bytes)})

    async def _pieces(self, link: DownloadLink, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Reads the bytes from `start` to `end`. Small documents are had whole, whatever is asked for."""
        if link.size_bytes <= limits.DOWNLOAD_CHUNK_BYTES:
            yield (await self._recent.read(key, link))[start:end]
            return
        seen = hashlib.sha256() if end - start == link.size_bytes else None
        for at in range(start, end, limits.DOWNLOAD_CHUNK_BYTES):
            length = min(limits.DOWNLOAD_CHUNK_BYTES, end - at)
            piece = await self._read(key, at, length)
            if seen is not None:
                seen.update(piece)
                if at + length == end:
                    _compare(seen, link)
            yield piece

    async def _read(self, key: str, start: int, length: int) -> bytes:
        """Reads exactly so many bytes of an object, or raises."""
        async with asyncio.timeout(limits.DOWNLOAD_STORE_MAX_MS / 1_000):
            piece = await self._objects.read(key, start=start, length=length)
        if len(piece) != length:
            raise Damaged(key)
        return piece

    async def _write(self, response: web.StreamResponse, piece: bytes) -> None:
        """Writes a piece and waits until the reader has taken most of it."""
        async with asyncio.timeout(limits.DOWNLOAD_WRITE_MAX_MS / 1_000):
            await response.write(piece)
        self._metrics.wrote(len(piece))

    def _failed(
        self, request: web.Request, response: web.StreamResponse | None, answer: str, status: int, words: str
    ) -> web.StreamResponse:
        """Answers with an error; where bytes went out already, the connection is cut, and nobody thinks it whole."""
        if response is None or not response.prepared:
            return self._refusal(answer, status, words, {"Retry-After": RETRY_S} if status == 503 else {})
        self._metrics.answered(answer)
        if request.transport is not None:
            request.transport.abort()
        return response

    def _refusal(self, answer: str, status: int, words: str, headers: Mapping[str, str] | None = None) -> web.Response:
        """An answer that no cache keeps."""
        self._metrics.answered(answer)
        return web.Response(status=status, text=words, headers={"Cache-Control": "no-store", **(headers or {})})


def _compare(seen: hashlib._Hash, link: DownloadLink) -> None:
    """Raises Damaged unless the digest is the link's."""
    if not hmac.compare_digest(seen.digest(), link.sha256):
        raise Damaged(link.number)

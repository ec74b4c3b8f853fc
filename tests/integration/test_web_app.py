"""The web process's application over loopback, with the object store's twin: what Envoy never lets us see."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientSession
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from yarl import URL

from core import limits
from core.documents.formats import FORMATS, PDF
from core.domain.download_link import DownloadLink, LinkKey, sign
from core.domain.errors import BillowError, Reason
from core.storage.memory.objects import MemoryObjectStore
from press.kept import key_of
from server.web import pages
from server.web.app import make_app
from server.web.downloads import Downloads
from server.web.metrics import WebMetrics

KEY = LinkKey("k", b"s" * 32)
NOW_S = 1_795_000_000
NUMBER = "26110000000000000042"
CHUNK = 1_000


class Store(MemoryObjectStore):
    """The twin, which may hang, be away, or wait before each read."""

    hangs = False
    away = False
    reads = 0
    gate: asyncio.Event | None = None

    async def read(self, key: str, *, start: int, length: int) -> bytes:
        self.reads += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.hangs:
            await asyncio.sleep(3_600)
        if self.away:
            raise BillowError(Reason.STORAGE_UNAVAILABLE, "away")
        return await super().read(key, start=start, length=length)


class Site:
    """An application on a port of its own, and a caller that follows no redirects and rewrites no URL."""

    def __init__(self, server: TestServer, session: ClientSession, store: Store, registry: CollectorRegistry) -> None:
        self.server, self.session, self.store, self.registry = server, session, store, registry
        self.draining: asyncio.Event

    async def get(self, path: str, *, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        url = URL(f"http://{self.server.host}:{self.server.port}{path}", encoded=True)
        async with self.session.request(method, url, headers=headers) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()

    def counted(self, answer: str) -> float:
        return self.registry.get_sample_value("billow_downloads_total", {"answer": answer}) or 0.0


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Site]:
    monkeypatch.setattr(limits, "DOWNLOAD_CHUNK_BYTES", CHUNK)
    (tmp_path / "index.html").write_text("<!doctype html><title>首页</title>")
    (tmp_path / "inspect.html").write_text("<!doctype html>")
    (tmp_path / "page.js").write_text("void 0")
    (tmp_path / ".secret").write_text("not served")
    store, registry, draining = Store(), CollectorRegistry(), asyncio.Event()
    downloads = Downloads(objects=store, keys=[KEY], formats=FORMATS, metrics=WebMetrics(registry), now_s=lambda: NOW_S)
    server = TestServer(make_app(downloads=downloads, pages=pages.load(tmp_path), draining=draining))
    async with server, ClientSession() as session:
        made = Site(server, session, store, registry)
        made.draining = draining
        yield made
    await downloads.close()


def path_of(content: bytes, *, store: Store | None = None, number: str = NUMBER) -> str:
    """A link to these bytes, which are put into the store when one is given."""
    link = DownloadLink(
        number=number,
        format_name="pdf",
        version=PDF.version,
        sha256=hashlib.sha256(content).digest(),
        size_bytes=len(content),
        expires_s=NOW_S + 600,
    )
    if store is not None:
        store.objects[key_of(PDF, number)] = content
    return f"/d/{sign(link, KEY)}/{number}.pdf"


async def test_pieces_make_the_whole(site: Site) -> None:
    for size in (1, CHUNK, CHUNK + 1, 5 * CHUNK, 5 * CHUNK + 7):
        content = bytes(place % 251 for place in range(size))
        path = path_of(content, store=site.store)
        before = site.store.reads
        status, headers, body = await site.get(path)
        assert (status, body, headers["content-length"]) == (200, content, str(size))
        assert headers["cache-control"] == "public, max-age=599, immutable"
        assert site.store.reads - before == -(-size // CHUNK)
        status, headers, body = await site.get(path, Range=f"bytes={size // 2}-")
        assert (status, body) == (206, content[size // 2 :])
    assert (site.counted("whole"), site.counted("part")) == (5, 5)
    assert site.registry.get_sample_value("billow_downloads_under_way") == 0


async def test_a_not_modified_answer_asks_no_store(site: Site) -> None:
    content = b"the bytes"
    path = path_of(content)  # not even there
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    status, headers, body = await site.get(path, **{"If-None-Match": etag})
    assert (status, headers["etag"], body, site.store.reads) == (304, etag, b"", 0)
    assert "content-disposition" not in headers


async def test_damaged_bytes_never_arrive_whole(site: Site) -> None:
    small = path_of(b"small")
    site.store.objects[key_of(PDF, NUMBER)] = b"SMALL"
    assert (await site.get(small))[0] == 500
    assert (await site.get(small, Range="bytes=0-1"))[0] == 500
    large = path_of(bytes(3 * CHUNK))
    site.store.objects[key_of(PDF, NUMBER)] = bytes(3 * CHUNK - 1) + b"x"
    with pytest.raises(ClientPayloadError):
        await site.get(large)
    site.store.objects[key_of(PDF, NUMBER)] = bytes(2 * CHUNK)  # ends too soon
    with pytest.raises(ClientPayloadError):
        await site.get(large)
    assert (await site.get(large, method="HEAD"))[0] == 500
    assert (site.counted("damaged"), site.counted("missing"), site.counted("whole")) == (4, 1, 0)


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_store_that_is_away_or_hangs_is_said_soon(
    site: Site, hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DOWNLOAD_STORE_MAX_MS", 50)
    path = path_of(b"x", store=site.store)
    site.store.hangs, site.store.away = hangs, not hangs
    status, headers, _ = await site.get(path)
    assert (status, headers["cache-control"]) == (503, "no-store")
    assert int(headers["retry-after"]) > 0
    assert site.counted("away") == 1


async def test_more_downloads_than_there_is_room_for_are_sent_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOWNLOADS_MAX", 2)
    path = path_of(b"x", store=site.store)
    site.store.gate = asyncio.Event()
    under_way = [asyncio.create_task(site.get(path)) for _ in range(2)]
    while site.registry.get_sample_value("billow_downloads_under_way") != 2:  # noqa: ASYNC110 (a counter has no event)
        await asyncio.sleep(0.001)
    status, headers, _ = await site.get(path)
    assert (status, "retry-after" in headers, site.counted("busy")) == (503, True, 1)
    site.store.gate.set()
    assert [(await answer)[0] for answer in under_way] == [200, 200]
    assert (await site.get(path))[0] == 200
    assert site.store.reads == 1  # one read for all


async def test_what_was_read_a_moment_ago_is_not_read_again_and_room_is_bounded(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DOWNLOAD_RECENT_BYTES_MAX", 2 * CHUNK)
    contents = [bytes([place]) * CHUNK for place in range(3)]
    paths = []
    for place, content in enumerate(contents):
        number = f"{place:020}"
        site.store.objects[key_of(PDF, number)] = content
        paths.append(path_of(content, number=number))
    for place in (0, 1, 0, 1, 0):
        assert (await site.get(paths[place], Range="bytes=1-9"))[2] == contents[place][1:10]
    assert site.store.reads == 2
    assert (await site.get(paths[2]))[2] == contents[2]  # 1, longest not asked for, makes room
    assert (await site.get(paths[0]))[2] == contents[0]
    assert site.store.reads == 3
    assert (await site.get(paths[1]))[2] == contents[1]
    assert site.store.reads == 4


async def test_a_reader_that_takes_nothing_is_let_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOWNLOAD_CHUNK_BYTES", 4 * 1024 * 1024)
    monkeypatch.setattr(limits, "DOWNLOAD_WRITE_MAX_MS", 200)
    path = path_of(bytes(32 * 1024 * 1024), store=site.store)
    reader, writer = await asyncio.open_connection(site.server.host, site.server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    while not site.counted("away"):  # noqa: ASYNC110 (a counter has no event)
        await asyncio.sleep(0.01)
    assert site.registry.get_sample_value("billow_downloads_under_way") == 0
    assert site.store.reads < 8
    writer.close()
    del reader


async def test_other_spellings_and_methods(site: Site) -> None:
    path = path_of(b"x", store=site.store)
    for wrong in (f"{path}?a=b", path.replace(".pdf", "%2Epdf"), f"{path}/", path.replace("/d/", "/d//")):
        assert (await site.get(wrong))[0] in {403, 404}, wrong
    reader, writer = await asyncio.open_connection(site.server.host, site.server.port)
    writer.write(f"GET {path}? HTTP/1.1\r\nHost: x\r\n\r\n".encode())  # the client above would drop the ?
    assert (await reader.readline()).split()[1] == b"403"
    writer.close()
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, _ = await site.get(path, method=method)
        assert (status, headers["allow"]) == (405, "GET, HEAD")
    assert (await site.get(path))[0] == 200


async def test_pages(site: Site) -> None:
    status, headers, body = await site.get("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "首页" in body.decode()
    assert "default-src 'none'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-cache")
    assert (await site.get("/", **{"If-None-Match": headers["etag"]}))[0] == 304
    assert (await site.get("/inspect"))[0] == 200
    assert (await site.get("/static/page.js"))[1]["content-type"].startswith("text/javascript")
    for path in ("/static/.secret", "/static/index.html", "/static/../index.html", "/static/", "/x", "/inspect.html"):
        assert (await site.get(path))[0] == 404, path


async def test_health_ends_with_draining_and_downloads_do_not(site: Site) -> None:
    path = path_of(b"x", store=site.store)
    assert (await site.get("/health"))[0] == 200
    site.draining.set()
    assert (await site.get("/health"))[0] == 503
    assert (await site.get(path))[0] == 200


def test_a_page_too_large_is_an_error_at_start(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(limits.PAGE_BYTES_MAX + 1))
    with pytest.raises(ValueError, match="large"):
        pages.load(tmp_path)

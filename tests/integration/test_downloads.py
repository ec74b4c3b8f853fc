"""Downloads through Envoy: links made by every way in, opened by HTTP, cached, and worth nothing for anything else."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

import pytest

import billow
from billow.document.v1 import document_pb2, document_pb2_grpc
from core import settings
from core.documents.formats import FORMATS, PDF
from core.domain.download_link import DownloadLink, LinkKey, sign
from core.settings import Settings
from core.storage.objects.s3 import open_s3
from press.kept import key_of
from stack import Stack, edge
from tests.support.command import environment, run
from tests.support.invoices import good_invoice
from tests.support.platform import Tenant, new_tenant, request_of
from tests.support.wire import error_of

LIVES_S = 3_600
# links live on when a format has a new version; and of older ones the audit does not ask what would be rendered today
BEFORE = replace(PDF, version=PDF.version - 1)

BACK_S = 60.0  # an object store that was started again reads by then


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Web:
    """HTTP/1.1 to the edge: what a browser or a CDN does, one connection a request."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.config: Settings = settings.load(stack.config_path)

    async def get(self, url: str, *, method: str = "GET", **headers: str) -> Answer:
        return await asyncio.to_thread(self._get, url, method, headers)

    def _get(self, url: str, method: str, headers: Mapping[str, str]) -> Answer:
        path = url.removeprefix(self.config.downloads.base_url)
        connection = http.client.HTTPConnection(self.stack.envoy.host, self.stack.envoy.port, timeout=30)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=names)
            answer = connection.getresponse()
            read = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, read, answer.read())
        finally:
            connection.close()

    def counters(self) -> dict[str, int]:
        """What Envoy's cache has counted: hits and misses."""
        text = edge.admin(self.stack.state, "stats?filter=cache.event&format=json")
        found = json.loads(text or "{}").get("stats", [])
        return {item["name"].rpartition(".")[2]: item["value"] for item in found if "value" in item}

    def token(self, link: DownloadLink, *, key: LinkKey | None = None) -> str:
        """Signs a link as a server of this stack would, or with another key."""
        return sign(link, key or self.config.downloads.link_keys[0])


@pytest.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as made:
        yield made


@pytest.fixture
def web(running_stack: Stack) -> Web:
    return Web(running_stack)


async def link_of(
    tenant: Tenant, number: str, format_name: str = "pdf", lifetime_s: int = 0
) -> document_pb2.CreateDownloadLinkResponse:
    stub = document_pb2_grpc.DocumentServiceStub(tenant.channel)  # type: ignore[no-untyped-call,unused-ignore]
    request = document_pb2.CreateDownloadLinkRequest(number=number, format=format_name, lifetime_s=lifetime_s)
    made: document_pb2.CreateDownloadLinkResponse = await stub.CreateDownloadLink(
        request, metadata=tenant.metadata, timeout=30
    )
    return made


async def document_of(tenant: Tenant, number: str, format_name: str = "pdf") -> bytes:
    stub = document_pb2_grpc.DocumentServiceStub(tenant.channel)  # type: ignore[no-untyped-call,unused-ignore]
    request = document_pb2.GetDocumentRequest(number=number, format=format_name)
    return bytes((await stub.GetDocument(request, metadata=tenant.metadata, timeout=30)).content)


async def issued(tenant: Tenant, request_id: str = "r1", lines: int = 1) -> str:
    return (await tenant.issue(request_of(await tenant.seller(), request_id, good_invoice(lines)))).number


def link_to(number: str, content: bytes, *, lives_s: int = LIVES_S) -> DownloadLink:
    """What a server would have signed for these bytes as PDF of the version before."""
    digest = hashlib.sha256(content).digest()
    return DownloadLink(
        number=number,
        format_name="pdf",
        version=BEFORE.version,
        sha256=digest,
        size_bytes=len(content),
        expires_s=int(time.time()) + lives_s,
    )


async def kept(web: Web, number: str, content: bytes) -> None:
    """Puts bytes where the PDF of an invoice was kept in the version before."""
    until_us = time.time_ns() // 1_000 + 60_000_000
    async with open_s3(web.config.object_store) as objects:
        await objects.put(key_of(BEFORE, number), content, retain_until_us=until_us)


async def warm(web: Web, url: str) -> list[Answer]:
    """Downloads until Envoy answers from its cache, which it fills behind the first answer; returns all answers."""
    answers = [await web.get(url)]
    while "age" not in answers[-1].headers:
        assert len(answers) < 100, "never kept"
        await asyncio.sleep(0.05)
        answers.append(await web.get(url))
    return answers


async def test_a_link_opens_its_document_in_every_format(tenant: Tenant, web: Web) -> None:
    number = await issued(tenant, lines=3)
    for name, made in FORMATS.items():
        link = await link_of(tenant, number, name, 7_200)
        content = await document_of(tenant, number, name)
        assert link.sha256 == hashlib.sha256(content).digest()
        assert (link.size_bytes, link.file_name) == (len(content), f"{number}.{made.extension}")
        step_s = web.config.downloads.step_s
        assert 7_200 - 60 <= link.expire_time.seconds - time.time() <= 7_200 + step_s
        assert link.expire_time.seconds % step_s == 0
        found = await web.get(link.url)
        assert (found.status, found.body) == (200, content)
        assert found.headers["etag"] == f'"{link.sha256.hex()}"'
        assert found.headers["content-type"] == made.media_type
        assert found.headers["content-disposition"] == f'attachment; filename="{number}.{made.extension}"'
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["accept-ranges"] == "bytes"
        public, max_age, immutable = found.headers["cache-control"].split(", ")
        assert (public, immutable) == ("public", "immutable")
        left_s = link.expire_time.seconds - time.time()
        assert left_s - 60 <= int(max_age.removeprefix("max-age=")) <= left_s + 1


async def test_json_client_and_command_make_links(tenant: Tenant, web: Web) -> None:
    number = await issued(tenant)
    content = await document_of(tenant, number)
    address = f"{web.stack.envoy.host}:{web.stack.envoy.port}"
    request = urllib.request.Request(
        f"http://{address}/v1/invoices/{number}/documents/pdf:link",
        data=json.dumps({"lifetimeS": 60}).encode(),
        headers={"authorization": f"Bearer {tenant.secret}", "content-type": "application/json"},
    )
    told = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=30).read()))
    assert (await web.get(told["url"])).body == content
    async with billow.AsyncClient(address, api_key=tenant.secret) as client:
        made = await client.documents.link(number, lifetime_s=60)
        assert (await web.get(made.url)).body == content
    env = environment(BILLOW_TARGET=address, BILLOW_API_KEY=tenant.secret)
    ended = await run("document", "link", number, "--format", "pdf", "--for", "2h", "--json", env=env)
    assert ended.code == 0, ended.err
    assert ended.json["sha256"] == hashlib.sha256(content).hexdigest()
    plain = await run("document", "link", number, env=env)
    assert (await web.get(plain.out.strip())).body == content


async def test_links_of_one_step_are_one_url(tenant: Tenant) -> None:
    number = await issued(tenant)
    urls = [(await link_of(tenant, number)).url for _ in range(3)]
    assert len(set(urls)) <= 2  # two when a step ended in between
    assert urls[0] == urls[1] or urls[1] == urls[2]


async def test_conditions_and_ranges(tenant: Tenant, web: Web) -> None:
    number = await issued(tenant)
    link = await link_of(tenant, number)
    content, etag = await document_of(tenant, number), f'"{link.sha256.hex()}"'
    size = len(content)
    for known in (etag, f'"x", W/{etag}', "*"):
        found = await web.get(link.url, if_none_match=known)
        assert (found.status, found.body, found.headers["etag"]) == (304, b"", etag)
    assert (await web.get(link.url, if_none_match='"x"')).status == 200
    head = await web.get(link.url, method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(size))
    for asked, start, end in (
        ("0-0", 0, 1),
        ("10-19", 10, 20),
        (f"{size - 5}-", size - 5, size),
        ("-7", size - 7, size),
    ):
        found = await web.get(link.url, range=f"bytes={asked}")
        assert (found.status, found.body) == (206, content[start:end])
        assert found.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert found.headers["etag"] == etag
    found = await web.get(link.url, range=f"bytes={size}-")
    assert (found.status, found.headers["content-range"]) == (416, f"bytes */{size}")
    assert (await web.get(link.url, range="bytes=0-9", if_range=etag)).body == content[:10]
    for whole in ({"range": "bytes=0-9", "if_range": '"x"'}, {"range": "bytes=0-1,5-6"}, {"range": "lines=0-1"}):
        found = await web.get(link.url, **whole)
        assert (found.status, found.body) == (200, content)


async def test_large_documents_are_read_in_pieces(tenant: Tenant, web: Web) -> None:
    number, content = await issued(tenant), bytes(range(256)) * 4 * 2_700 + b"the end"
    await kept(web, number, content)
    url = f"/d/{web.token(link_to(number, content))}/{number}.pdf"
    part = await web.get(url, range="bytes=1048570-2097160")
    assert (part.status, part.body) == (206, content[1_048_570:2_097_161])
    whole = await web.get(url)
    assert (whole.status, whole.body) == (200, content)


async def test_a_link_opens_nothing_else(tenant: Tenant, web: Web, running_stack: Stack) -> None:
    first, second = await issued(tenant, "r1"), await issued(tenant, "r2")
    link, other = await link_of(tenant, first), await link_of(tenant, second)
    content = await document_of(tenant, first)
    token = urllib.parse.urlsplit(link.url).path.split("/")[2]
    strangers = LinkKey("development", b"not the key of this installation")
    wrong = {
        "another number": f"/d/{token}/{second}.pdf",
        "another format": f"/d/{token}/{first}.xml",
        "no name": f"/d/{token}/",
        "a query": f"{link.url}?x=1",
        "cut short": f"/d/{token[:-4]}/{first}.pdf",
        "grown": f"/d/{token}AAAA/{first}.pdf",
        "padded": f"/d/{token}=/{first}.pdf",
        "changed": f"/d/{token[:-5]}{'A' if token[-5] != 'A' else 'B'}{token[-4:]}/{first}.pdf",
        "another's signature": f"/d/{token[:-43]}{other.url.split('/')[-2][-43:]}/{first}.pdf",
        "another key": f"/d/{web.token(link_to(first, content), key=strangers)}/{first}.pdf",
        "over": f"/d/{web.token(link_to(first, content, lives_s=-1))}/{first}.pdf",
        "nothing": "/d/x/y",
    }
    for what, path in wrong.items():
        found = await web.get(path)
        assert (what, found.status, found.headers["cache-control"]) == (what, 403, "no-store")
        assert found.body == b"this link is not valid, or not valid any more\n"
        assert (await web.get(path, range="bytes=0-1", if_none_match="*")).status == 403
    assert (await web.get(link.url, method="POST")).status == 405
    assert (await web.get(link.url)).status == 200
    async with new_tenant(running_stack) as stranger:
        assert (await error_of(link_of(stranger, first))).reason == "INVOICE_NOT_FOUND"
    async with new_tenant(running_stack, scopes=["issue"]) as issuer:
        assert (await error_of(link_of(issuer, first))).reason == "SCOPE_MISSING"
    assert (await error_of(link_of(tenant, first, lifetime_s=10**9))).violations == (("lifetime_s", "LIFETIME_RANGE"),)
    assert (await error_of(link_of(tenant, first, "docx"))).violations == (("format", "FORMAT_UNKNOWN"),)


async def test_what_is_not_there_or_not_what_was_signed_is_not_given(tenant: Tenant, web: Web) -> None:
    number, content = await issued(tenant), b"these bytes were signed"
    url = f"/d/{web.token(link_to(number, content))}/{number}.pdf"
    for method in ("GET", "HEAD"):
        missing = await web.get(url, method=method)
        assert (missing.status, missing.headers["cache-control"]) == (404, "no-store")
    await kept(web, number, b"other bytes, same length")
    assert (await web.get(url)).status == 500
    other = replace(link_to(number, content), version=PDF.version)
    assert (await web.get(f"/d/{web.token(other)}/{number}.pdf")).status == 404


async def test_envoy_keeps_documents_and_nothing_else(tenant: Tenant, web: Web) -> None:
    number = await issued(tenant)
    link = await link_of(tenant, number)
    content = await document_of(tenant, number)
    part = await web.get(link.url, range="bytes=0-9")
    assert part.body == content[:10]
    before = web.counters()
    answers = await warm(web, link.url)
    assert "age" not in answers[0].headers
    answers += [await web.get(link.url, cache_control=words) for words in ("no-cache", "max-age=0", "no-store")]
    assert all("age" in answer.headers for answer in answers[-4:])
    assert all(answer.body == content for answer in answers)  # the part asked for before is not taken for the whole
    after = web.counters()
    hits = sum("age" in answer.headers for answer in answers)
    assert after["hit"] - before.get("hit", 0) == hits
    assert after["miss"] - before.get("miss", 0) == len(answers) - hits
    for path in ("/", "/v1/x", "/d/x/y"):
        answers = [await web.get(path) for _ in range(3)]
        assert all("age" not in answer.headers for answer in answers), path
    assert web.counters()["hit"] == after["hit"]


async def test_the_cache_forgets_a_link_that_is_over(tenant: Tenant, web: Web) -> None:
    number, content = await issued(tenant), b"soon over"
    await kept(web, number, content)
    link = link_to(number, content, lives_s=5)
    url = f"/d/{web.token(link)}/{number}.pdf"
    assert {answer.status for answer in await warm(web, url)} == {200}
    await asyncio.sleep(link.expires_s - time.time() + 0.1)
    found = await web.get(url)
    assert (found.status, found.headers["cache-control"]) == (403, "no-store")


async def test_without_the_object_store_only_kept_answers_are_given(tenant: Tenant, web: Web) -> None:
    seen, unseen = await issued(tenant, "r1"), await issued(tenant, "r2")
    hot, cold = await link_of(tenant, seen), await link_of(tenant, unseen)
    content = (await warm(web, hot.url))[0].body
    web.stack.stop("s3")
    try:
        assert (await web.get(hot.url)).body == content
        away = await web.get(cold.url)
        assert (away.status, away.headers["cache-control"]) == (503, "no-store")
        assert int(away.headers["retry-after"]) > 0
        error = await error_of(link_of(tenant, await issued(tenant, "r3")))
        assert (error.code, error.reason) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    finally:
        web.stack.start("s3")
    back_by = time.monotonic() + BACK_S
    while (await web.get(cold.url)).status != 200:  # the store answers before it has found its volumes again
        assert time.monotonic() < back_by
        await asyncio.sleep(0.1)


async def test_pages_and_parts_wait_for_a_web_process_that_was_killed(tenant: Tenant, web: Web) -> None:
    link = await link_of(tenant, await issued(tenant))
    pid = web.stack.kill("web-1")
    page, part = await asyncio.gather(web.get("/"), web.get(link.url, range="bytes=0-9"))
    assert (page.status, part.status) == (200, 206)
    assert web.stack.pid("web-1") != pid


async def test_without_a_web_process_only_kept_answers_are_given_and_it_comes_back(tenant: Tenant, web: Web) -> None:
    link = await link_of(tenant, await issued(tenant))
    content = (await warm(web, link.url))[0].body
    pid = web.stack.pid("web-1")
    web.stack.stop("web-1")
    try:
        assert (await web.get(link.url)).body == content
        assert (await web.get(link.url, range="bytes=0-9")).status == 503
        assert (await web.get("/")).status == 503
    finally:
        web.stack.start("web-1")
        web.stack.wait_healthy("envoy")
    assert web.stack.pid("web-1") != pid
    back_by = time.monotonic() + BACK_S
    while (await web.get(link.url, range="bytes=0-9")).status == 503:  # Envoy may notice only now that it was away
        assert time.monotonic() < back_by
        await asyncio.sleep(0.1)
    assert (await web.get(link.url, range="bytes=0-9")).body == content[:10]

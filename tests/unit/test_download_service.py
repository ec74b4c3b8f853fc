"""DownloadLinkService over the twins: for those who may read the document, once it is kept (P8); and what HTTP asks."""

from __future__ import annotations

import pytest

from core import limits
from core.domain.download_link import DownloadLink, verify
from core.domain.errors import BillowError, Reason
from core.settings import DownloadSettings
from core.storage.memory.objects import MemoryObjectStore
from core.storage.ports import ObjectStore
from press import kept
from server.services.download_links import DownloadLinkService
from server.web.conditions import Unsatisfiable, has_it, part
from tests.unit.test_document_service import AwayStore, Bench

SETTINGS = DownloadSettings(keys=("one:" + "s" * 32,), base_url="https://example.com", step_s=3_600, lifetime_s=600)
NOW_S = 1_795_000_000  # 400 s after a whole hour
ETAG = '"abc"'


class Clock:
    """A clock that is set."""

    now_s = NOW_S

    def now_us(self) -> int:
        return self.now_s * 1_000_000


class Links:
    def __init__(self, objects: ObjectStore, settings: DownloadSettings = SETTINGS) -> None:
        self.clock = Clock()
        self.bench = Bench(objects)
        self.service = DownloadLinkService(documents=self.bench.service, settings=settings, now_us=self.clock.now_us)


def opened(url: str) -> DownloadLink:
    return verify(url.split("/")[-2], SETTINGS.link_keys, now_s=NOW_S)


class FullStore(MemoryObjectStore):
    """An object store that reads, and takes nothing."""

    async def put(self, key: str, data: bytes, *, retain_until_us: int) -> None:
        raise BillowError(Reason.STORAGE_UNAVAILABLE, "full")


async def test_a_link_is_made_when_the_document_is_kept() -> None:
    objects = MemoryObjectStore()
    links = Links(objects)
    caller, number = await links.bench.issued()
    made = await links.service.create(caller, number=number, format_name="pdf", lifetime_s=0)
    assert made.url.startswith("https://example.com/d/")
    assert made.url.endswith(f"/{number}.pdf")
    assert opened(made.url) == made.opens
    (content,) = objects.objects.values()
    assert made.opens.size_bytes == len(content)
    assert made.opens.expires_s - NOW_S == 3_200  # the next whole hour that is 600 s away
    links.clock.now_s += 2_600
    same = await links.service.create(caller, number=number, format_name="pdf", lifetime_s=0)
    assert same == made
    links.clock.now_s += 1
    later = await links.service.create(caller, number=number, format_name="pdf", lifetime_s=0)
    assert later.opens.expires_s - made.opens.expires_s == 3_600
    assert links.bench.press.rendered == 1


@pytest.mark.parametrize("objects", [AwayStore(), FullStore()], ids=["away", "full"])
async def test_without_a_kept_document_there_is_no_link(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "STORE_WAIT_S", 0.01)
    links = Links(objects)
    caller, number = await links.bench.issued()
    with pytest.raises(BillowError) as error:
        await links.service.create(caller, number=number, format_name="pdf", lifetime_s=0)
    assert (error.value.reason, error.value.metadata["number"]) == (Reason.STORAGE_UNAVAILABLE, number)


async def test_another_tenant_gets_no_link() -> None:
    links = Links(MemoryObjectStore())
    caller, number = await links.bench.issued()
    await links.service.create(caller, number=number, format_name="pdf", lifetime_s=0)
    stranger, _ = await links.bench.issued()
    with pytest.raises(BillowError) as error:
        await links.service.create(stranger, number=number, format_name="pdf", lifetime_s=0)
    assert error.value.reason is Reason.INVOICE_NOT_FOUND


@pytest.mark.parametrize(
    ("settings", "lifetime_s", "rule"),
    [
        (SETTINGS, -1, "LIFETIME_RANGE"),
        (SETTINGS, limits.DOWNLOAD_LIFETIME_S_MAX + 1, "LIFETIME_RANGE"),
        (DownloadSettings(), 0, "DOWNLOADS_OFF"),
    ],
)
async def test_links_there_are_not(settings: DownloadSettings, lifetime_s: int, rule: str) -> None:
    links = Links(MemoryObjectStore(), settings)
    caller, number = await links.bench.issued()
    with pytest.raises(BillowError) as error:
        await links.service.create(caller, number=number, format_name="pdf", lifetime_s=lifetime_s)
    assert [fault.rule for fault in error.value.violations] == [rule]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 6)),
        ("BYTES=2-", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=0-99", (0, 10)),
        ("bytes=5-4", None),
        ("bytes=0-1,4-5", None),
        ("bytes=-", None),
        ("bytes=x-y", None),
        ("lines=0-1", None),
        ("bytes=٣-4", None),  # a digit, but none of HTTP
    ],
)
def test_ranges(asked: str | None, wanted: tuple[int, int] | None) -> None:
    assert part(asked, None, etag=ETAG, size_bytes=10) == wanted


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=999999999999999-"])
def test_ranges_with_nothing_in_them(asked: str) -> None:
    with pytest.raises(Unsatisfiable):
        part(asked, None, etag=ETAG, size_bytes=10)


def test_conditions() -> None:
    assert part("bytes=0-1", ETAG, etag=ETAG, size_bytes=10) == (0, 2)
    for other in ('"abd"', f"W/{ETAG}", "Sun, 22 Nov 2026 00:00:00 GMT"):  # If-Range compares strongly
        assert part("bytes=0-1", other, etag=ETAG, size_bytes=10) is None
    for known in (ETAG, f"W/{ETAG}", f'"x", {ETAG}', "*"):
        assert has_it(known, ETAG)
    for unknown in (None, "", '"x"', "abc", '"x, abc"'):
        assert not has_it(unknown, ETAG)

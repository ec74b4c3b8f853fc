"""The contracts of IssueCache and VerificationCache, on Redis and on their twins."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest

from core import limits
from core.settings import RedisSettings, load
from core.storage.memory.cache import MemoryCacheState, MemoryIssueCache, MemoryVerificationCache
from core.storage.ports import IssueCache, Issued, VerificationCache, VerificationEntry
from core.storage.redis.cluster import open_link
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.keys import FAMILIES
from core.storage.redis.verification_cache import RedisVerificationCache
from stack import Stack
from tests.contract.registry_subjects import new_serial
from tests.support.redis_groups import RedisCluster, redis_cluster

SELLER_TAX_ID = "91110000000000001A"


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(slots=True)
class Caches:
    issue: IssueCache
    verification: VerificationCache
    clock: Clock


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def redis_settings(request: pytest.FixtureRequest) -> RedisSettings:
    if request.param == "redis":
        stores: Stack = request.getfixturevalue("data_stores")
        return load(stores.config_path).redis
    running: RedisCluster = request.getfixturevalue("cluster")
    return running.settings()


@pytest.fixture(params=["memory", "redis", "redis cluster"])
async def caches(request: pytest.FixtureRequest) -> AsyncIterator[Caches]:
    clock = Clock()
    if request.param == "memory":
        state = MemoryCacheState()
        yield Caches(MemoryIssueCache(state=state), MemoryVerificationCache(state=state, clock=clock), clock)
        return
    settings = replace(redis_settings(request), timeout_ms=5_000)
    link = open_link(settings=settings)
    verification = RedisVerificationCache(link=link, settings=settings, clock=clock)
    yield Caches(RedisIssueCache(link=link, settings=settings), verification, clock)
    assert not any(link.family(family).away for family in FAMILIES)
    await link.close()


def new_issued(*, seller_key: int = 7, request_id: str = "", buyer_tax_id: str = "911100000000000024") -> Issued:
    serial = new_serial()
    digest = hashlib.sha256(str(serial).encode()).digest()
    return Issued(
        number=f"{26 * 10**18 + serial:020d}",
        seller_key=seller_key,
        request_id=request_id or f"order {serial}",
        request_sha256=digest,
        kind=2,
        color=1,
        issued_at_us=1_790_000_000_000_000 + serial,
        net_total_minor=10_000,
        tax_total_minor=1_300,
        gross_total_minor=11_300,
        buyer_tax_id=buyer_tax_id,
        body_sha256=digest[::-1],
    )


def of_one_hundred(count: int) -> list[Issued]:
    """New invoices whose numbers differ in the last two digits, and from all others in more."""
    return [
        replace(new_issued(), number=f"{24 * 10**18 + 100 * serial + place:020d}")
        for serial in (new_serial(),)
        for place in range(count)
    ]


def entry_of(issued: Issued, red_total_minor: int = 0) -> VerificationEntry:
    return VerificationEntry(
        number=issued.number,
        issued_at_us=issued.issued_at_us,
        kind=issued.kind,
        net_total_minor=issued.net_total_minor,
        gross_total_minor=issued.gross_total_minor,
        red_total_minor=red_total_minor,
        seller_tax_id=SELLER_TAX_ID,
        buyer_tax_id=issued.buyer_tax_id,
    )


def key_of(issued: Issued) -> tuple[int, str]:
    return issued.seller_key, issued.request_id


async def test_answers_and_entries_are_remembered(caches: Caches) -> None:
    issued = [new_issued(), new_issued(seller_key=8), new_issued(buyer_tax_id="")]
    await caches.issue.remember(issued, {7: SELLER_TAX_ID, 8: SELLER_TAX_ID})
    absent = new_issued()
    assert await caches.issue.known([key_of(item) for item in [*issued, absent]]) == {
        key_of(item): item for item in issued
    }
    entries = await caches.verification.entries([item.number for item in [*issued, absent]])
    assert entries == {item.number: entry_of(item) for item in issued}
    assert await caches.issue.known([]) == {}
    assert await caches.verification.entries([]) == {}
    await caches.issue.remember([], {})


async def test_a_large_commit_is_remembered_whole(caches: Caches) -> None:
    issued = [new_issued() for _ in range(limits.COMMIT_ITEMS_MAX)]
    await caches.issue.remember(issued, {7: SELLER_TAX_ID})
    assert len(await caches.issue.known([key_of(item) for item in issued])) == len(issued)
    assert len(await caches.verification.entries([item.number for item in issued])) == len(issued)


async def test_entries_of_many_hundreds_do_not_mix(caches: Caches) -> None:
    serials = [new_serial() for _ in range(limits.VERIFY_READ_ITEMS_MAX // 2)]
    issued = [
        replace(new_issued(), number=f"{25 * 10**18 + serial * step:020d}") for serial in serials for step in (1, 7)
    ]
    red, rest = issued[::3], [item for at, item in enumerate(issued) if at % 3]
    await caches.verification.replace([entry_of(item, -1) for item in red])
    await caches.issue.remember(rest[::2], {7: SELLER_TAX_ID})
    await caches.verification.remember([entry_of(item) for item in issued], [])
    expected = {item.number: entry_of(item) for item in rest} | {item.number: entry_of(item, -1) for item in red}
    assert await caches.verification.entries([item.number for item in issued]) == expected


async def test_sellers_and_request_ids_do_not_mix(caches: Caches) -> None:
    serial = new_serial()
    issued = [
        new_issued(seller_key=seller_key, request_id=request_id)
        for seller_key, request_id in ((1, f"1:{serial}"), (11, f"{serial}"), (1, f"{serial}"), (1, f"{serial} "))
    ]
    await caches.issue.remember(issued, {})
    assert await caches.issue.known([key_of(item) for item in issued]) == {key_of(item): item for item in issued}


async def test_a_repetition_gets_no_entry(caches: Caches) -> None:
    """A red-letter may have come since it was issued (P7)."""
    issued = new_issued()
    await caches.issue.remember([replace(issued, repeated=True)], {7: SELLER_TAX_ID})
    assert await caches.issue.known([key_of(issued)]) == {key_of(issued): issued}
    assert await caches.verification.entries([issued.number]) == {}


async def test_an_unknown_seller_gets_no_entry(caches: Caches) -> None:
    known, unknown = new_issued(), new_issued(seller_key=9)
    await caches.issue.remember([known, unknown], {7: SELLER_TAX_ID})
    assert (await caches.verification.entries([known.number, unknown.number])).keys() == {known.number}
    assert key_of(unknown) in await caches.issue.known([key_of(unknown)])


async def test_what_was_read_is_remembered_unless_something_newer_is_there(caches: Caches) -> None:
    issued = new_issued()
    await caches.verification.remember([entry_of(issued)], [])
    assert await caches.verification.entries([issued.number]) == {issued.number: entry_of(issued)}
    assert await caches.verification.replace([entry_of(issued, -500)])
    await caches.verification.remember([entry_of(issued)], [])
    await caches.issue.remember([issued], {7: SELLER_TAX_ID})
    assert await caches.verification.entries([issued.number]) == {issued.number: entry_of(issued, -500)}
    assert await caches.verification.replace([entry_of(issued, -600)])
    assert await caches.verification.entries([issued.number]) == {issued.number: entry_of(issued, -600)}
    assert await caches.verification.replace([entry_of(issued, -599), entry_of(issued, -500)])
    assert await caches.verification.entries([issued.number]) == {issued.number: entry_of(issued, -600)}
    assert await caches.verification.replace([entry_of(issued, -(10**15 - 1))])
    assert await caches.verification.entries([issued.number]) == {issued.number: entry_of(issued, -(10**15 - 1))}


async def test_absences_are_remembered_for_a_second_at_most(caches: Caches) -> None:
    issued = new_issued()
    number = issued.number
    await caches.verification.remember([], [number])
    assert await caches.verification.entries([number]) == {number: None}
    caches.clock.now_s += 0.99
    assert await caches.verification.entries([number]) == {number: None}
    caches.clock.now_s += 0.01
    assert await caches.verification.entries([number]) == {}
    await caches.verification.remember([], [number])
    await caches.issue.remember([issued], {7: SELLER_TAX_ID})
    assert await caches.verification.entries([number]) == {number: entry_of(issued)}


async def test_public_checks_are_counted_by_number_and_day(caches: Caches) -> None:
    first, second = new_issued().number, new_issued().number
    assert await caches.verification.count_public_checks([first], 20260131) == [1]
    assert await caches.verification.count_public_checks([first, second, first], 20260131) == [2, 1, 3]
    assert await caches.verification.count_public_checks([first], 20260201) == [1]
    assert await caches.verification.count_public_checks([], 20260201) == []

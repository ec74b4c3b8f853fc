"""Verification over the twins: who is asked, in which order, how often, and what is remembered (P7)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from billow.verification.v1 import verification_pb2
from core.domain.errors import BillowError, Reason
from core.domain.verification import MISMATCH, NOT_FOUND, TOO_MANY_CHECKS, Result
from core.storage.memory.cache import MemoryCacheState, MemoryVerificationCache
from core.storage.memory.reader import MemoryInvoiceReader
from core.storage.memory.registry import MemoryRegistryStore
from core.storage.memory.tables import MemoryTables
from core.storage.ports import VerificationEntry
from server.services.verification import VerificationService

ISSUED_AT_US = 1_790_000_000_000_000
ISSUE_DATE = 20260921
MATCH: Result = (1, 1, 0)


def entry(number: str, red_total_minor: int = 0) -> VerificationEntry:
    return VerificationEntry(number, ISSUED_AT_US, 2, 100, 113, red_total_minor, "s", "b")


def check(number: str, gross_total_minor: int = 113) -> verification_pb2.InvoiceCheck:
    return verification_pb2.InvoiceCheck(number=number, issue_date=ISSUE_DATE, gross_total_minor=gross_total_minor)


def number(serial: int) -> str:
    return f"{26 * 10**18 + serial:020d}"


class Reader(MemoryInvoiceReader):
    """Knows what it is told, counts what it is asked, and is away when told."""

    def __init__(self) -> None:
        super().__init__(tables=MemoryTables(), registry=MemoryRegistryStore())
        self.known: dict[str, VerificationEntry] = {}
        self.asked: list[int] = []
        self.away = False

    async def verification_entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry]:
        self.asked.append(len(numbers))
        await asyncio.sleep(0)
        if self.away:
            raise BillowError(Reason.STORAGE_UNAVAILABLE, "away")
        return {item: self.known[item] for item in numbers if item in self.known}


class Cache(MemoryVerificationCache):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.clock_s = 50.0
        super().__init__(state=MemoryCacheState(), clock=lambda: self.clock_s)
        self.asked: list[int] = []

    async def entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry | None]:
        self.asked.append(len(numbers))
        return await super().entries(numbers)


class Metrics:
    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()

    def verified(self, outcome: str, items: int) -> None:
        self.outcomes[outcome] += items

    def read(self, what: str, source: str) -> None:
        self.reads[source] += 1


class Bench:
    """The service and what it stands on."""

    def __init__(self, wait_max_ms: int = 0) -> None:
        self.cache, self.replica, self.primary, self.metrics = Cache(), Reader(), Reader(), Metrics()
        self.now_us = ISSUED_AT_US
        self.service = VerificationService(
            cache=self.cache,
            replicas=self.replica,
            primary=self.primary,
            metrics=self.metrics,
            now_us=lambda: self.now_us,
            wait_max_ms=wait_max_ms,
        )

    def asked(self) -> tuple[list[int], list[int], list[int]]:
        """What was asked of cache, replica and primary."""
        return self.cache.asked, self.replica.asked, self.primary.asked


async def test_the_cache_is_asked_then_a_replica_then_the_primary() -> None:
    bench = Bench()
    await bench.cache.replace([entry(number(1))])
    bench.replica.known = {number(2): entry(number(2))}
    bench.primary.known = {number(item): entry(number(item)) for item in (1, 2, 3)}
    checks = [check(number(item)) for item in (1, 2, 3, 4)]
    assert await bench.service.verify_batch(checks) == [MATCH, MATCH, MATCH, NOT_FOUND]
    assert bench.asked() == ([4], [3], [2])
    assert bench.metrics.outcomes == {"MATCH": 3, "NOT_FOUND": 1}
    assert bench.metrics.reads == {"replica": 1, "primary": 1}
    await bench.service.close()
    assert await bench.service.verify_batch(checks) == [MATCH, MATCH, MATCH, NOT_FOUND]
    assert bench.asked() == ([4, 4], [3], [2])


async def test_not_found_is_asked_again_after_a_second() -> None:
    bench = Bench()
    assert await bench.service.verify(check(number(1))) == NOT_FOUND
    await bench.service.close()
    bench.primary.known[number(1)] = entry(number(1))
    assert await bench.service.verify(check(number(1))) == NOT_FOUND
    bench.cache.clock_s += 1  # the promise, whatever the setting
    assert await bench.service.verify(check(number(1))) == MATCH


async def test_a_store_that_is_away_is_never_answered_as_not_found() -> None:
    bench = Bench()
    bench.primary.away = True
    for verify in (bench.service.verify, bench.service.verify_publicly):
        with pytest.raises(BillowError) as error:
            await verify(check(number(1)))
        assert error.value.reason is Reason.STORAGE_UNAVAILABLE
    with pytest.raises(BillowError):
        await bench.service.verify_batch([check(number(1))])
    bench.replica.known = {number(1): entry(number(1))}
    assert await bench.service.verify(check(number(1))) == MATCH


async def test_without_a_replica_the_primary_answers() -> None:
    bench = Bench()
    bench.replica.away = True
    bench.primary.known = {number(1): entry(number(1))}
    assert await bench.service.verify_batch([check(number(1)), check(number(2))]) == [MATCH, NOT_FOUND]
    assert bench.metrics.reads == {"primary": 1}


async def test_calls_wait_for_the_primary_to_come_back() -> None:
    bench = Bench(wait_max_ms=60_000)
    bench.primary.away = True
    waiting = asyncio.create_task(bench.service.verify(check(number(1))))
    while len(bench.primary.asked) < 2:  # noqa: ASYNC110 (the second try is the wait's own)
        await asyncio.sleep(0.01)
    bench.primary.away = False
    assert await waiting == NOT_FOUND


async def test_single_checks_at_once_are_one_look() -> None:
    bench = Bench()
    bench.primary.known = {number(item): entry(number(item)) for item in range(20)}
    checks = [check(number(item % 25)) for item in range(50)]
    results = await asyncio.gather(*map(bench.service.verify, checks))
    assert results == [MATCH if item % 25 < 20 else NOT_FOUND for item in range(50)]
    assert bench.asked() == ([25], [25], [25])


async def test_what_needs_no_look_costs_none() -> None:
    bench = Bench()
    bad = check("x")
    old = check(number(1))
    old.issue_date = 20200101
    results = await bench.service.verify_batch([bad, old, bad])
    assert [result[0] for result in results] == [5, 6, 5]
    assert [(await bench.service.verify(item))[0] for item in (bad, old)] == [5, 6]
    assert bench.asked() == ([], [], [])
    assert bench.metrics.outcomes == {"INVALID": 3, "TOO_OLD": 2}


async def test_the_same_invoice_twice_in_a_batch_is_looked_up_once() -> None:
    bench = Bench()
    bench.primary.known = {number(1): entry(number(1), -113)}
    results = await bench.service.verify_batch([check(number(1)), check(number(1), 5), check(number(1))])
    assert results == [(1, 3, -113), MISMATCH, (1, 3, -113)]
    assert bench.asked() == ([1], [1], [1])


async def test_the_public_checks_an_existing_invoice_a_few_times_a_day() -> None:
    bench = Bench()
    bench.primary.known = {number(1): entry(number(1))}
    guesses = [await bench.service.verify_publicly(check(number(1), 100 + item)) for item in range(3)]
    assert guesses == [MISMATCH] * 3
    later = [await bench.service.verify_publicly(check(number(1))) for _ in range(4)]
    assert later == [MATCH, MATCH, TOO_MANY_CHECKS, TOO_MANY_CHECKS]
    assert await bench.service.verify(check(number(1))) == MATCH
    assert [await bench.service.verify_publicly(check(number(2))) for _ in range(9)] == [NOT_FOUND] * 9
    bench.now_us += 86_400 * 1_000_000
    assert await bench.service.verify_publicly(check(number(1))) == MATCH


async def test_the_public_may_not_ask_about_the_rest() -> None:
    bench = Bench()
    wanted = check(number(1))
    wanted.buyer_tax_id = "b"
    with pytest.raises(BillowError) as error:
        await bench.service.verify_publicly(wanted)
    assert error.value.reason is Reason.API_KEY_MISSING
    assert bench.asked() == ([], [], [])

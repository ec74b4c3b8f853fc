"""Verification over the real stores while a replica is behind, Redis is lost and the primary hangs (P5, P7)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from billow.verification.v1 import verification_pb2
from core.domain.errors import BillowError, Reason
from core.domain.verification import NOT_FOUND, date_of
from core.settings import RedisSettings, load
from core.storage.mysql.reader import PrimaryReader, ReplicaReader
from core.storage.mysql.topology import Topology
from core.storage.ports import Issued
from core.storage.redis.link import RedisLink
from core.storage.redis.verification_cache import RedisVerificationCache
from server.services.verification import VerificationService
from stack import Stack
from stack.mariadb import root
from tests.contract.registry_subjects import MySQLBooks, issue, new_seller, new_tenant, now_us
from tests.support.redis_server import RedisServer, redis_server

MATCH, NORMAL, PARTLY = 1, 1, 2


class Metrics:
    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()

    def verified(self, outcome: str, items: int) -> None:
        pass

    def read(self, what: str, source: str) -> None:
        self.reads[source] += 1


@dataclass(slots=True)
class System:
    stack: Stack
    books: MySQLBooks
    redis: RedisServer
    service: VerificationService
    topology: Topology
    reads: Counter[str]

    async def issue(self, count: int) -> list[Issued]:
        seller = await new_seller(self.books.registry, (await new_tenant(self.books.registry)).tenant_key)
        await self.books.add_range(seller, count)
        return await issue(self.books, seller, [f"r{position}" for position in range(count)])

    @contextmanager
    def replica_standing_still(self) -> Iterator[None]:
        with root(self.stack.folder, self.stack.state, self.stack.state.replica) as cursor:
            cursor.execute("STOP SLAVE SQL_THREAD")
            try:
                yield
            finally:
                cursor.execute("START SLAVE SQL_THREAD")


@pytest.fixture
async def system(data_stores: Stack, tmp_path: Path) -> AsyncIterator[System]:
    mysql = load(data_stores.config_path).mysql
    books = MySQLBooks(mysql, from_replica=False)
    topology = Topology(settings=mysql)
    await topology.start()
    with redis_server(tmp_path) as server:
        settings = RedisSettings(url=server.url)
        link = RedisLink(settings=settings)
        metrics = Metrics()
        service = VerificationService(
            cache=RedisVerificationCache(link=link, settings=settings, clock=time.monotonic),
            replicas=ReplicaReader(replicas=topology.replicas),
            primary=PrimaryReader(primary=topology.primary),
            metrics=metrics,
            now_us=now_us,
            wait_max_ms=30_000,
        )
        yield System(data_stores, books, server, service, topology, metrics.reads)
        await service.close()
        await link.close()
    await topology.close()
    await books.close()


def check(issued: Issued) -> verification_pb2.InvoiceCheck:
    return verification_pb2.InvoiceCheck(
        number=issued.number,
        issue_date=date_of(issued.issued_at_us),
        gross_total_minor=issued.gross_total_minor,
        net_total_minor=issued.net_total_minor,
        buyer_tax_id=issued.buyer_tax_id,
    )


async def fresh(system: System) -> None:
    while not system.topology.replicas().nodes:  # noqa: ASYNC110 (the topology has no reason to tell anybody)
        await asyncio.sleep(0.02)


async def test_old_invoices_come_from_the_replica_then_from_the_cache(system: System) -> None:
    issued = await system.issue(20)
    await fresh(system)
    for _ in range(2):
        assert await system.service.verify_batch([check(item) for item in issued]) == [(MATCH, NORMAL, 0)] * 20
        await system.service.close()
    assert system.reads == {"replica": 1}


async def test_what_the_replica_has_not_got_yet_is_found_on_the_primary(system: System) -> None:
    await fresh(system)
    seller = await new_seller(system.books.registry, (await new_tenant(system.books.registry)).tenant_key)
    await system.books.add_range(seller, 1)
    with system.replica_standing_still():
        drafting = asyncio.create_task(issue(system.books, seller, ["late"]))
        while not (known := await system.books.reader.by_request(seller.seller_key, ["late"])):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert await system.service.verify(check(known["late"])) == (MATCH, NORMAL, 0)
        assert system.reads["primary"] == 1
    await drafting


async def test_a_new_state_is_seen_within_the_staleness_though_cache_and_replica_have_nothing_of_it(
    system: System,
) -> None:
    (issued,) = await system.issue(1)
    await fresh(system)
    with system.replica_standing_still():
        await system.books.primary.rows(
            "REPLACE INTO red_balances (blue_number, red_total_minor) VALUES (%s, -100)", (issued.number,)
        )
        while system.topology.replicas().nodes:  # at most replica_lag_max_ms  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        system.redis.flush()
        assert await system.service.verify(check(issued)) == (MATCH, PARTLY, -100)


@pytest.mark.parametrize("trouble", ["hang", "kill", "flush"])
async def test_answers_are_right_without_redis(system: System, trouble: str) -> None:
    issued = await system.issue(10)
    checks = [check(item) for item in issued]
    assert await system.service.verify_batch(checks) == [(MATCH, NORMAL, 0)] * 10
    getattr(system.redis, trouble)()
    absent = check(issued[0])
    absent.number = "1" * 20
    for _ in range(3):
        assert await system.service.verify_batch([*checks, absent]) == [(MATCH, NORMAL, 0)] * 10 + [NOT_FOUND]
        assert await system.service.verify(checks[0]) == (MATCH, NORMAL, 0)
        assert await system.service.verify(absent) == NOT_FOUND
    assert [(await system.service.verify_publicly(public(issued[0])))[0] for _ in range(6)] == [1] * 5 + [4]


def public(issued: Issued) -> verification_pb2.InvoiceCheck:
    return verification_pb2.InvoiceCheck(
        number=issued.number,
        issue_date=date_of(issued.issued_at_us),
        gross_total_minor=issued.gross_total_minor,
    )


async def test_nothing_is_not_found_while_the_primary_hangs(system: System) -> None:
    (issued,) = await system.issue(1)
    absent = check(issued)
    absent.number = "2" * 20
    system.stack.pause(system.stack.state.primary)
    try:
        waiting = asyncio.create_task(system.service.verify(absent))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 3)
    finally:
        system.stack.resume(system.stack.state.primary)
    assert await waiting == NOT_FOUND


async def test_without_any_database_the_caller_is_told_to_come_back(system: System) -> None:
    (issued,) = await system.issue(1)
    impatient = VerificationService(
        cache=RedisVerificationCache(
            link=RedisLink(settings=RedisSettings(url="redis://127.0.0.1:1/0")),
            settings=RedisSettings(url="redis://127.0.0.1:1/0"),
        ),
        replicas=ReplicaReader(replicas=system.topology.replicas),
        primary=PrimaryReader(primary=system.topology.primary),
        metrics=Metrics(),
        now_us=now_us,
        wait_max_ms=0,
    )
    await system.topology.close()
    system.topology._primary = None
    for watched in system.topology._watched:
        watched.fresh_at = float("-inf")
    with pytest.raises(BillowError) as error:
        await impatient.verify(check(issued))
    assert error.value.reason is Reason.STORAGE_UNAVAILABLE
    assert error.value.retry_delay_ms is not None

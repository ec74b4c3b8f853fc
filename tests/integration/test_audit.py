"""The audit finds nothing in what is sound; servers, caches and replicas that are not (P1 to P6)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.storage.mysql.reader import PrimaryReader
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.keys import entry_place
from core.storage.redis.link import RedisLink
from core.storage.redis.values import pack_entry
from core.storage.redis.verification_cache import RedisVerificationCache
from stack import Stack
from stack.mariadb import root
from tests.support.admin_command import billow_admin
from tests.support.archiving import archive, audited, told
from tests.support.audit_subject import (
    BATCHES,
    BODIES,
    BOOKED,
    CACHE,
    DELIVERIES,
    DOCUMENTS,
    DURABLE,
    ENTRIES,
    FIRST,
    IMPORTS,
    LOCKS,
    NUMBERS,
    QUOTAS,
    RECEIVED,
    REDS,
    REPLICAS,
    REQUESTS,
    RUNS,
    SEGMENTS,
    number,
    sound_stores,
)
from tests.support.databases import OwnStores, own_stores


@pytest.fixture
async def stores(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with sound_stores(data_stores, tmp_path) as opened:
        yield opened


async def test_what_is_sound_has_no_findings_and_everything_is_examined(stores: OwnStores) -> None:
    outcome = await audited(stores)
    assert told(outcome) == {}
    examined = {report.name: report.examined for report in outcome.reports}
    assert examined.pop(DURABLE) > 0
    assert examined == {
        REPLICAS: 21,
        REQUESTS: 21,
        NUMBERS: 21,
        QUOTAS: 0,
        BODIES: 21,
        REDS: 1,
        BOOKED: 0,
        CACHE: 0,
        BATCHES: 21,
        RUNS: 5,
        SEGMENTS: 15,
        LOCKS: 2,
        DOCUMENTS: 0,
        ENTRIES: 0,
        RECEIVED: 0,
        DELIVERIES: 0,
        IMPORTS: 0,
    }
    assert outcome.invoices == 21


async def test_an_empty_database_is_sound(data_stores: Stack, tmp_path: Path) -> None:
    async with own_stores(data_stores, tmp_path) as empty:
        assert told(await audited(empty)) == {}


async def test_a_sample_recomputes_some_bodies_only(stores: OwnStores) -> None:
    outcome = await audited(stores, sample=5)
    assert told(outcome) == {}
    (examined,) = [report.examined for report in outcome.reports if report.name == BODIES]
    assert 5 <= examined < 10


async def test_orphans_are_noted_and_no_finding(stores: OwnStores) -> None:
    def noted(notes: list[str]) -> int:
        return sum(int(note.split()[0]) for note in notes)

    before = await audited(stores)
    await stores.objects.put(
        f"segments/orphan-{time.time_ns()}", b"x", retain_until_us=time.time_ns() // 1_000 + 60_000_000
    )
    after = await audited(stores)
    assert told(after) == {}
    locks = [report.name for report in after.reports].index(LOCKS)
    assert noted(after.reports[locks].notes) == noted(before.reports[locks].notes) + 1


async def test_cached_entries_and_answers_that_are_wrong(stores: OwnStores) -> None:
    reader = PrimaryReader(primary=lambda: stores.primary)
    link = RedisLink(settings=stores.settings.redis)
    entries = RedisVerificationCache(link=link, settings=stores.settings.redis)
    answers = RedisIssueCache(link=link, settings=stores.settings.redis)
    try:
        numbers = [number(place) for place in range(20)]
        stored = await reader.verification_entries(numbers)
        issued = [row.issued for row in (await reader.by_number(numbers)).values()]
        await entries.replace(list(stored.values()))
        await answers.remember(issued[1:], {})
        outcome = await audited(stores)
        assert told(outcome) == {}
        assert {report.name: report.examined for report in outcome.reports}[CACHE] == 39
        wrong = dataclasses.replace(stored[numbers[3]], gross_total_minor=1)
        await link.call("HSET", *entry_place(wrong.number), pack_entry(wrong))
        await answers.remember([dataclasses.replace(issued[0], tax_total_minor=7)], {})
        findings = told(await audited(stores))
    finally:
        await link.close()
    assert findings.keys() == {CACHE}
    (answer, entry) = sorted(findings[CACHE])
    assert entry.startswith(f"invoice {numbers[3]}: is cached as")
    assert answer.startswith(f"invoice {issued[0].number}: its request {issued[0].request_id!r} is answered")


@pytest.mark.parametrize(
    ("setting", "bad", "good", "text"),
    [
        ("sync_binlog", "0", "1", "sync_binlog is 0, must be 1"),
        ("innodb_flush_log_at_trx_commit", "2", "1", "innodb_flush_log_at_trx_commit is 2, must be 1"),
        ("rpl_semi_sync_master_wait_point", "AFTER_COMMIT", "AFTER_SYNC", "wait_point is AFTER_COMMIT"),
        ("rpl_semi_sync_master_timeout", "10000", "4294967295000", "semi_sync_timeout is 10000 ms"),
    ],
)
async def test_settings_that_lose_invoices(stores: OwnStores, setting: str, bad: str, good: str, text: str) -> None:
    stack = stores.stack

    def set_to(value: str) -> None:
        with root(stack.folder, stack.state, stack.state.primary) as cursor:
            cursor.execute(f"SET GLOBAL {setting} = {value}")

    set_to(bad)
    try:
        findings = told(await audited(stores))
    finally:
        set_to(good)
    assert findings.keys() == {DURABLE}
    assert text in findings[DURABLE][0]


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (f"DELETE FROM invoices WHERE number = '{FIRST}'", "has 19 invoices of 20"),
        (f"UPDATE invoices SET body_sha256 = REVERSE(body_sha256) WHERE number = '{FIRST}'", "has other digests"),
    ],
)
async def test_a_replica_that_differs(stores: OwnStores, statement: str, text: str) -> None:
    stack = stores.stack
    with root(stack.folder, stack.state, stack.state.replica) as cursor:
        cursor.execute("SET SESSION sql_log_bin = 0")
        cursor.execute(f"USE {stores.settings.mysql.database}")
        cursor.execute(statement)
    findings = told(await audited(stores))
    assert findings.keys() == {REPLICAS}
    assert text in findings[REPLICAS][0]


async def test_a_replica_that_stands_still(stores: OwnStores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("admin.audit.durability.CATCH_UP_S", 1)
    stack = stores.stack
    with root(stack.folder, stack.state, stack.state.replica) as cursor:
        cursor.execute("STOP SLAVE SQL_THREAD")
    try:
        await stores.primary.rows("UPDATE red_balances SET red_total_minor = red_total_minor - 1")
        await stores.primary.rows("UPDATE red_balances SET red_total_minor = red_total_minor + 1")
        findings = told(await audited(stores))
    finally:
        with root(stack.folder, stack.state, stack.state.replica) as cursor:
            cursor.execute("START SLAVE SQL_THREAD")
    assert findings.keys() == {REPLICAS}
    assert "has not reached" in findings[REPLICAS][0]


async def test_issuing_and_archiving_go_on_beside_it(stores: OwnStores) -> None:
    seller = await stores.issuer.seller()
    stop = asyncio.Event()

    async def keep_issuing() -> None:
        while not stop.is_set():
            await stores.issuer.issue(seller, 20)
            await archive(stores, batches_max=1)

    task = asyncio.create_task(keep_issuing())
    try:
        outcomes = [await audited(stores) for _ in range(4)]
    finally:
        stop.set()
        await task
    assert [told(outcome) for outcome in outcomes] == [{}] * 4
    assert outcomes[-1].invoices > outcomes[0].invoices


async def test_the_command_says_it_by_its_exit_code(stores: OwnStores) -> None:
    code, text, _ = await billow_admin(stores.config, "audit")
    assert (code, "no findings" in text) == (0, True)
    await stores.admin.rows("UPDATE number_ranges SET used = used + 1 WHERE color = 1")
    code, text, _ = await billow_admin(stores.config, "audit", "--json")
    assert code == 1
    told_json = json.loads(text)
    assert told_json["findings"] == 1
    (bad,) = [check for check in told_json["checks"] if check["findings"]]
    assert (bad["check"], bad["promise"]) == (NUMBERS, "P3")
    code, text, _ = await billow_admin(stores.config, "audit")
    assert (code, "FINDING  P3 numbers have no gap" in text) == (1, True)
    config = stores.config.read_text()
    stores.config.write_text(re.sub(r"endpoint = .*", 'endpoint = "http://127.0.0.1:1"', config))
    code, text, error = await billow_admin(stores.config, "audit")
    assert (code, text) == (2, "")
    assert "STORAGE_UNAVAILABLE" in error

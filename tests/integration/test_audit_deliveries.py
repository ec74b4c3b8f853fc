"""The audit finds exactly the damage done to deliveries."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from admin.audit.run import Outcome as Audited
from core.storage.delivery_port import DeliveryState, EndpointKind, Outcome
from core.storage.mysql.delivery_queue import MySQLDeliveryQueue
from core.storage.mysql.endpoints import MySQLEndpointStore
from stack import Stack
from tests.contract.delivery_subjects import endpoint_of, now_us
from tests.support.archiving import audited
from tests.support.audit_subject import DELIVERIES
from tests.support.databases import OwnStores, own_stores
from workers.attempts import Answer, Policy

BEFORE_US = 10_000_000  # the endpoint is older than the audit's slack

DAMAGES = {
    "a delivery that a rule wants is missing": (
        "DELETE FROM deliveries WHERE delivery_id = 3",
        "wants every invoice: 4 there are, 3 deliveries",
    ),
    "delivered without an attempt": (
        "UPDATE deliveries SET state = 2, due_at_us = NULL, finished_at_us = 1 WHERE delivery_id = 3",
        "dlv_3: is delivered, and no attempt was",
    ),
    "an attempt is lost": (
        "DELETE FROM delivery_attempts WHERE delivery_id = 2",
        "dlv_2: 1 attempts are counted, 0 are noted",
    ),
    "pending for ever": ("UPDATE deliveries SET due_at_us = NULL WHERE delivery_id = 3", "dlv_3: its times"),
    "finished and still due": ("UPDATE deliveries SET due_at_us = 1 WHERE delivery_id = 1", "dlv_1: its times"),
    "neither sent nor given up": (
        (
            "UPDATE deliveries d JOIN delivery_endpoints e ON e.endpoint_key = d.endpoint_key"
            " SET d.due_at_us = 1, e.since_us = 1 WHERE d.delivery_id IN (3, 4)"
        ),
        "2 deliveries are due for longer than a schedule lasts",
    ),
    "another seller's": ("UPDATE deliveries SET seller_key = 99 WHERE delivery_id = 3", "dlv_3: its invoice or"),
}


@pytest.fixture
async def stores(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    """Four deliveries: 1 delivered, 2 failed once, 3 and 4 not tried."""
    async with own_stores(data_stores, tmp_path) as opened:
        seller = await opened.issuer.seller()
        store = MySQLEndpointStore(primary=lambda: opened.primary)
        queue = MySQLDeliveryQueue(primary=lambda: opened.primary)
        endpoint = await store.create_endpoint(endpoint_of(seller, kind=EndpointKind.WEBHOOK))
        await opened.admin.rows("UPDATE delivery_endpoints SET since_us = since_us - %s", (BEFORE_US,))
        await opened.issuer.issue(seller, 4)
        assert await queue.fan_out(batches_max=10) == 1
        claimed = await queue.claim(endpoint.endpoint_key, owner="w", items_max=2, lease_ms=60_000)
        outcomes: list[Outcome] = []
        for due, delivered in zip(claimed, (True, False), strict=True):
            answer = Answer(delivered=delivered, code=200 if delivered else 500, detail="")
            outcomes.append(Policy(below=lambda n: 0).outcome(due, answer, began_us=now_us(), now_us=now_us()))
        assert await queue.finish("w", outcomes) == 2
        assert [item.state for item in outcomes] == [DeliveryState.DELIVERED, DeliveryState.PENDING]
        await opened.issuer.issue(seller, 1)  # issued and not fanned out yet: in order
        yield opened


def findings(outcome: Audited) -> list[str]:
    """What the check of deliveries found."""
    (report,) = [item for item in outcome.reports if item.name == DELIVERIES]
    return [f"{item.subject}: {item.text}" for item in report.listed]


async def test_sound_deliveries_and_each_damage(stores: OwnStores) -> None:
    assert findings(await audited(stores)) == []
    for name, (damage, finding) in DAMAGES.items():
        tables = ("deliveries", "delivery_attempts")
        for table in tables:
            await stores.admin.rows(f"CREATE TABLE kept_{table} AS SELECT t.* FROM {table} t")
        await stores.admin.rows(damage)
        found = findings(await audited(stores))
        for table in tables:
            await stores.admin.rows(f"DELETE FROM {table}")
            await stores.admin.rows(f"INSERT INTO {table} SELECT t.* FROM kept_{table} t")
            await stores.admin.rows(f"DROP TABLE kept_{table}")
        assert len(found) >= 1, name
        assert any(re.search(finding, text) for text in found), (name, found)
    assert findings(await audited(stores)) == []

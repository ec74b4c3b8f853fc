"""The audit proves that collection missed nothing, and finds every damage done to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from core.storage.mysql.collection import MySQLCollector
from stack import Stack
from tests.support.archiving import audited, told
from tests.support.audit_subject import RECEIVED
from tests.support.databases import OwnStores, own_stores
from tests.support.invoices import tax_id

COMMITS, BUYERS = 8, 3

# what is done to sound data -> what the audit must say; {0} is the first buyer
DAMAGES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "a received invoice deleted in the middle": (
        ["DELETE FROM received_invoices WHERE buyer_tax_id = '{0}' AND position = 3"],
        ["{0}: has 7 positions from 1 to 8, its head says 8", "was collected and is not among what {0}"],
    ),
    "the last received invoice deleted with its head moved back": (
        [
            "DELETE FROM received_invoices WHERE buyer_tax_id = '{0}' AND position = 8",
            "UPDATE received_heads SET last_position = 7 WHERE buyer_tax_id = '{0}'",
        ],
        ["was collected and is not among what {0}"],
    ),
    "a gap": (
        ["UPDATE received_invoices SET position = 9 WHERE buyer_tax_id = '{0}' AND position = 8"],
        ["{0}: has 8 positions from 1 to 9, its head says 8"],
    ),
    "a head that is missing": (
        ["DELETE FROM received_heads WHERE buyer_tax_id = '{0}'"],
        ["{0}: has positions and no head"],
    ),
    "a proof without a head": (
        ["INSERT INTO tenant_tax_ids VALUES (1, '91110000000000009X', 1, 2)"],
        ["has proved its taxpayer id and is not followed"],
    ),
    "an invoice received twice": (
        [
            "ALTER TABLE received_invoices DROP INDEX by_number, ADD KEY by_number (number)",
            "UPDATE received_heads SET last_position = 9 WHERE buyer_tax_id = '{0}'",
            (
                "INSERT INTO received_invoices SELECT buyer_tax_id, 9, number FROM received_invoices"
                " WHERE buyer_tax_id = '{0}' AND position = 1"
            ),
        ],
        ["was received 2 times"],
    ),
    "somebody else's invoice": (
        ["UPDATE invoices SET buyer_tax_id = '{1}' WHERE buyer_tax_id = '{0}' AND batch_id = 1"],
        ["was received by {0}, its buyer is {1}"],
    ),
}


@pytest.fixture
async def collected(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with own_stores(data_stores, tmp_path) as stores:
        seller = await stores.issuer.seller()
        collectors = [MySQLCollector(primary=lambda: stores.primary) for _ in range(2)]
        for serial in range(1, BUYERS + 1):
            await collectors[0].follow(tax_id(serial))

        async def write(commit: int) -> None:
            drafts = [seller.draft(f"{commit}/{serial}", serial=serial) for serial in range(1, BUYERS + 1)]
            await stores.issuer.store.commit(drafts)

        async with asyncio.TaskGroup() as group:
            for commit in range(COMMITS):
                group.create_task(write(commit))
                group.create_task(collectors[commit % 2].collect())
        while await collectors[0].collect():
            pass
        yield stores


async def test_nothing_is_missing_after_concurrent_writers_and_collectors(collected: OwnStores) -> None:
    outcome = await audited(collected)
    assert told(outcome) == {}
    assert {report.name: report.examined for report in outcome.reports}[RECEIVED] == COMMITS * BUYERS


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found(collected: OwnStores, damage: str) -> None:
    buyers = [tax_id(serial) for serial in range(1, BUYERS + 1)]
    statements, expected = DAMAGES[damage]
    for statement in statements:
        await collected.admin.rows(statement.format(*buyers))
    findings = told(await audited(collected))[RECEIVED]
    assert len(findings) == len(expected), findings
    for pattern in expected:
        wanted = re.escape(pattern.format(*buyers))
        assert [text for text in findings if re.search(wanted, text)], (pattern, findings)


async def test_what_waits_for_the_collector_is_no_finding(collected: OwnStores) -> None:
    seller = await collected.issuer.seller()
    await collected.issuer.issue(seller, 2)
    assert told(await audited(collected)) == {}

"""The audit proves that fifty entries of one invoice made one, and finds every damage done to entries (P8)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from core.domain.entry import Change, Entry, EntryState
from core.storage.mysql.entries import MySQLEntryStore
from core.storage.mysql.tax_ids import MySQLTaxIdStore
from stack import Stack
from tests.support.archiving import audited, told
from tests.support.audit_subject import ENTRIES
from tests.support.databases import OwnStores, own_stores

TENANT = 77
RACERS = 50
DEDUCTIBLE, WITHDRAWN = EntryState.DEDUCTIBLE, EntryState.WITHDRAWN

# what is done to sound entries -> what the audit must say; 1 to 3 stand for the numbers of the invoices: the first was
# entered, withdrawn and entered again, the second was entered by one of fifty, the third never
DAMAGES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "entered twice": (
        ["UPDATE entry_events SET state = 2 WHERE number = '{1}' AND version = 2"],
        ["{1}: change 2 enters what stands", "{1}: change 3 enters what stands"],
    ),
    "a second entry beside the history": (
        [
            (
                "INSERT INTO entry_events SELECT number, 2, state, 202612, '', tenant_key, 'x', request_sha256,"
                " changed_at_us FROM entry_events WHERE number = '{2}'"
            )
        ],
        ["{2}: change 2 enters what stands", "{2}: its entry is not what change 2 made"],
    ),
    "a change deleted": (
        ["DELETE FROM entry_events WHERE number = '{1}' AND version = 2"],
        ["{1}: change 3 of its entry follows change 1", "{1}: change 3 enters what stands"],
    ),
    "a history deleted": (
        ["DELETE FROM entry_events WHERE number = '{2}'"],
        ["{2}: has an entry and no history of it"],
    ),
    "an entry deleted": (
        ["DELETE FROM invoice_entries WHERE number = '{2}'"],
        ["{2}: has a history of entries and no entry"],
    ),
    "an entry changed behind its history": (
        ["UPDATE invoice_entries SET period = 202701 WHERE number = '{2}'"],
        ["{2}: its entry is not what change 1 made of it"],
    ),
    "an entry of an invoice that does not exist": (
        [
            "UPDATE entry_events SET number = '99999999999999999999' WHERE number = '{2}'",
            "UPDATE invoice_entries SET number = '99999999999999999999' WHERE number = '{2}'",
        ],
        ["99999999999999999999: is entered and does not exist"],
    ),
    "a request that made two changes": (
        [
            "ALTER TABLE entry_events DROP INDEX by_request, ADD KEY by_request (tenant_key, request_id)",
            "UPDATE entry_events SET request_id = 'a' WHERE number = '{1}' AND version = 3",
        ],
        ["tenant 77: its entry request 'a' made 2 changes"],
    ),
}


@pytest.fixture
async def entered(data_stores: Stack, tmp_path: Path) -> AsyncIterator[tuple[OwnStores, list[str]]]:
    async with own_stores(data_stores, tmp_path) as stores:
        issued = await stores.issuer.issue(await stores.issuer.seller(), 3)
        tax_ids = MySQLTaxIdStore(primary=lambda: stores.primary)
        for item in issued:
            await tax_ids.claim(TENANT, item.buyer_tax_id, now_us=1)
            await tax_ids.confirm(TENANT, item.buyer_tax_id, now_us=2)
        store = MySQLEntryStore(primary=lambda: stores.primary, now_us=lambda: time.time_ns() // 1_000)
        first, second, third = (item.number for item in issued)
        for change in (
            Change("a", first, DEDUCTIBLE, 202611, "1"),
            Change("b", first, WITHDRAWN, 0, ""),
            Change("c", first, DEDUCTIBLE, 202612, "2"),
        ):
            await store.change(TENANT, [change])
        racers = [Change(f"racer {place}", second, DEDUCTIBLE, 202611, str(place)) for place in range(RACERS)]
        answers = await asyncio.gather(*(store.change(TENANT, [racer]) for racer in racers))
        assert sum(isinstance(answer, Entry) for (answer,) in answers) == 1
        yield stores, [first, second, third]


async def test_one_of_fifty_has_won_and_nothing_is_found(entered: tuple[OwnStores, list[str]]) -> None:
    outcome = await audited(entered[0])
    assert told(outcome) == {}
    assert {report.name: report.examined for report in outcome.reports}[ENTRIES] == 4


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found_and_nothing_else(entered: tuple[OwnStores, list[str]], damage: str) -> None:
    stores, numbers = entered
    statements, expected = DAMAGES[damage]
    for statement in statements:
        await stores.admin.rows(statement.format("", *numbers))
    findings = told(await audited(stores))
    assert findings.keys() == {ENTRIES}, findings
    assert len(findings[ENTRIES]) == len(expected), findings
    for pattern in expected:
        wanted = re.escape(pattern.format("", *numbers))
        assert [text for text in findings[ENTRIES] if re.search(wanted, text)], (pattern, findings)

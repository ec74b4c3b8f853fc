"""The audit proves that no imported invoice is in the books twice, through whichever door, and finds damage (P8)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from core.domain.entry import Change, Entry, EntryState
from core.domain.entry_subject import import_key
from core.storage.import_port import Import
from core.storage.mysql.entries import MySQLEntryStore
from core.storage.mysql.imports import MySQLImportStore
from core.storage.mysql.tax_ids import MySQLTaxIdStore
from core.storage.ports import Issued
from stack import Stack
from tests.support.archiving import audited, told
from tests.support.audit_subject import ENTRIES
from tests.support.databases import OwnStores, own_stores

TENANT, BOOKKEEPER = 77, 78
RACERS = 50
DEDUCTIBLE, WITHDRAWN = EntryState.DEDUCTIBLE, EntryState.WITHDRAWN
ELSEWHERE = [f"{98 * 10**18 + place:020d}" for place in range(2)]

# what is done to sound entries -> what the audit must say. The first import was entered, withdrawn and entered again;
# the second by one of fifty; the issued invoice was imported, too, and entered once
DAMAGES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "entered twice": (
        ["UPDATE entry_events SET state = 2 WHERE number = '{first}' AND version = 2"],
        ["import {0}: change 2 enters what stands", "import {0}: change 3 enters what stands"],
    ),
    "a history deleted": (
        ["DELETE FROM entry_events WHERE number = '{second}'"],
        ["import {1}: has an entry and no history of it"],
    ),
    "an entry deleted": (
        ["DELETE FROM invoice_entries WHERE number = '{second}'"],
        ["import {1}: has a history of entries and no entry"],
    ),
    "an entry of what nobody imported": (
        ["DELETE FROM imported_invoices WHERE number = '{0}'"],
        ["invoice {first}: is entered and nobody imported it"],
    ),
    "an entry of what only another taxpayer imported": (
        ["UPDATE imported_invoices SET buyer_tax_id = 'another' WHERE number = '{0}'"],
        ["invoice {first}: is entered and nobody imported it"],
    ),
    "entered by somebody who did not import it": (
        ["UPDATE entry_events SET tenant_key = 79 WHERE number = '{first}' AND version = 3"],
        ["import {0}: change 3 enters what tenant 79 did not import"],
    ),
    "entered through both doors": (
        [
            (
                "INSERT INTO entry_events SELECT '{door}', version, state, period, ledger_reference, tenant_key, 'x',"
                " request_sha256, changed_at_us FROM entry_events WHERE number = '{issued}'"
            ),
            (
                "INSERT INTO invoice_entries SELECT '{door}', state, period, ledger_reference, version, changed_at_us"
                " FROM invoice_entries WHERE number = '{issued}'"
            ),
        ],
        ["invoice {issued}: stands in the books as issued and as imported"],
    ),
}


async def bring(stores: OwnStores, tenant_key: int, number: str, issued: Issued) -> None:
    """Imports an invoice with its document; `issued` is what it says."""
    now_us = time.time_ns() // 1_000
    content = f"{tenant_key} {number}".encode()
    digest = hashlib.sha256(content)
    key = f"imports/{tenant_key}/{digest.hexdigest()}.xml"
    await stores.objects.put(key, content, retain_until_us=now_us + 60_000_000)
    wanted = Import(
        tenant_key=tenant_key,
        code="",
        number=number,
        kind=2,
        color=1,
        blue_number="",
        issued_at_us=now_us,
        seller_tax_id="s",
        seller_name="示例卖方",
        buyer_tax_id=issued.buyer_tax_id,
        net_total_minor=0,
        tax_total_minor=0,
        gross_total_minor=issued.gross_total_minor,
        verified=number == issued.number,
        signature=1,
        document_kind=1,
        sha256=digest.digest(),
        size_bytes=len(content),
        object_key=key,
        imported_at_us=now_us,
    )
    await MySQLImportStore(primary=lambda: stores.primary).add(wanted)


@pytest.fixture
async def entered(data_stores: Stack, tmp_path: Path) -> AsyncIterator[tuple[OwnStores, dict[str, str]]]:
    async with own_stores(data_stores, tmp_path) as stores:
        (issued,) = await stores.issuer.issue(await stores.issuer.seller(), 1)
        tax_ids = MySQLTaxIdStore(primary=lambda: stores.primary)
        for tenant_key in (TENANT, BOOKKEEPER):
            await tax_ids.claim(tenant_key, issued.buyer_tax_id, now_us=1)
            await tax_ids.confirm(tenant_key, issued.buyer_tax_id, now_us=2)
            for number in (*ELSEWHERE, issued.number):
                await bring(stores, tenant_key, number, issued)
        store = MySQLEntryStore(primary=lambda: stores.primary, now_us=lambda: time.time_ns() // 1_000)
        first, second = ELSEWHERE
        for change in (
            Change("a", first, DEDUCTIBLE, 202611, "1"),
            Change("b", first, WITHDRAWN, 0, ""),
            Change("c", first, DEDUCTIBLE, 202612, "2"),
            Change("d", issued.number, DEDUCTIBLE, 202612, "2"),
        ):
            (made,) = await store.change(TENANT, [change])
            assert isinstance(made, Entry)
        racers = [Change(f"racer {place}", second, DEDUCTIBLE, 202611, str(place)) for place in range(RACERS)]
        answers = await asyncio.gather(
            *(store.change((TENANT, BOOKKEEPER)[place % 2], [racer]) for place, racer in enumerate(racers))
        )
        assert sum(isinstance(answer, Entry) for (answer,) in answers) == 1
        first_key, second_key, door = (
            import_key(issued.buyer_tax_id, "", number) for number in (*ELSEWHERE, issued.number)
        )
        yield stores, {"first": first_key, "second": second_key, "door": door, "issued": issued.number}


async def test_one_of_fifty_has_won_and_nothing_is_found(entered: tuple[OwnStores, dict[str, str]]) -> None:
    outcome = await audited(entered[0])
    assert told(outcome) == {}
    assert {report.name: report.examined for report in outcome.reports}[ENTRIES] == 5


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found_and_nothing_else(entered: tuple[OwnStores, dict[str, str]], damage: str) -> None:
    stores, names = entered
    statements, expected = DAMAGES[damage]
    for statement in statements:
        await stores.admin.rows(statement.format(*ELSEWHERE, **names))
    findings = told(await audited(stores))
    assert findings.keys() == {ENTRIES}, findings
    assert len(findings[ENTRIES]) == len(expected), findings
    for pattern in expected:
        wanted = re.escape(pattern.format(*ELSEWHERE, **names))
        assert [text for text in findings[ENTRIES] if re.search(wanted, text)], (pattern, findings)

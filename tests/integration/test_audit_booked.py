"""The audit proves that what stands in the books was red-lettered by form only, and finds what was not (P4)."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from core.domain.entry import Change, Entry, EntryState
from core.domain.red_letter import Taken, pack_sums
from core.storage.mysql.entries import MySQLEntryStore
from core.storage.mysql.tax_ids import MySQLTaxIdStore
from stack import Stack
from tests.support.archiving import audited, told
from tests.support.audit_subject import BOOKED, issue_red, red
from tests.support.databases import OwnStores, own_stores
from tests.support.issuing import LINE_NET, LINE_TAX

TENANT: Final = 77
LINES: Final = 2  # of each invoice
HOUR_US: Final = 3_600 * 1_000_000
DEDUCTIBLE, WITHDRAWN = EntryState.DEDUCTIBLE, EntryState.WITHDRAWN

FORM: Final = (
    "INSERT INTO red_confirmations VALUES ('form', 1, 'form', REPEAT('x', 32), 1, 'S', 'B', %s, '', -1, 0, 4, %s, 1, 2)"
)
BALANCE: Final = (
    "INSERT INTO red_balances (blue_number, red_total_minor, line_sums, changed_at_us) VALUES (%s, %s, %s, %s)"
)
NO_FORM: Final = "{red0}: red-letters {blue0}, which stood in the books, without a form"
AGAIN: Final = (
    (
        "INSERT INTO entry_events SELECT number, 3, 2, 202612, '', tenant_key, 'again', request_sha256, {now}"
        " FROM entry_events WHERE number = '{blue1}' AND version = 2"
    ),
    (
        "UPDATE invoice_entries SET version = 3, state = 2, period = 202612, changed_at_us = {now}"
        " WHERE number = '{blue1}'"
    ),
)

# what is done to sound data -> what the audit must say. The first invoice was entered, then red-lettered in part by
# form; the second entered, withdrawn and red-lettered whole; the third red-lettered in part and then entered
DAMAGES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "a form deleted": (["DELETE FROM red_confirmations"], [NO_FORM]),
    "a form from before the entry": (["UPDATE red_confirmations SET state = 1"], [NO_FORM]),
    "a form of another red": (
        ["UPDATE red_confirmations SET red_number = '{red1}', blue_number = '{blue1}'"],
        [NO_FORM],
    ),
    "withdrawn after the red": (
        [
            "UPDATE entry_events SET changed_at_us = {later} WHERE number = '{blue1}' AND version = 2",
            "UPDATE invoice_entries SET changed_at_us = {later} WHERE number = '{blue1}'",
        ],
        ["{red1}: red-letters {blue1}, which stood in the books"],
    ),
    "entered before the red": (
        [
            "UPDATE entry_events SET changed_at_us = 1 WHERE number = '{blue2}'",
            "UPDATE invoice_entries SET changed_at_us = 1 WHERE number = '{blue2}'",
        ],
        ["{red2}: red-letters {blue2}, which stood in the books"],
    ),
    "entered and red-lettered whole at once": (
        [sql.replace("{now}", "{issued}") for sql in AGAIN],
        ["{blue1}: stands in the books and is fully red without a form"],
    ),
    "entered when it was fully red": (
        [sql.replace("{now}", "{later}") for sql in AGAIN],
        ["{blue1}: stands in the books and is fully red without a form", "{blue1}: change 3 enters what was fully red"],
    ),
}


@pytest.fixture
async def trade(data_stores: Stack, tmp_path: Path) -> AsyncIterator[tuple[OwnStores, Mapping[str, object]]]:
    async with own_stores(data_stores, tmp_path) as stores:
        seller = await stores.issuer.seller(ranges=(1_000,))
        blues = await stores.issuer.issue(seller, 3, lines=LINES)
        tax_ids = MySQLTaxIdStore(primary=lambda: stores.primary)
        for blue in blues:
            await tax_ids.claim(TENANT, blue.buyer_tax_id, now_us=1)
            await tax_ids.confirm(TENANT, blue.buyer_tax_id, now_us=2)
        now_us = time.time_ns() // 1_000
        names: dict[str, object] = {"issued": now_us, "later": now_us + HOUR_US}

        async def change(place: int, state: EntryState, at_us: int) -> None:
            store = MySQLEntryStore(primary=lambda: stores.primary, now_us=lambda: at_us)
            period = 0 if state is WITHDRAWN else 202611
            (made,) = await store.change(TENANT, [Change(f"{place} {state}", blues[place].number, state, period, "")])
            assert isinstance(made, Entry)

        await change(0, DEDUCTIBLE, now_us - 2 * HOUR_US)
        await change(1, DEDUCTIBLE, now_us - 2 * HOUR_US)
        await change(1, WITHDRAWN, now_us - HOUR_US)
        await change(2, DEDUCTIBLE, now_us + HOUR_US)
        for place, lines in enumerate((1, LINES, 1)):
            number = blues[place].number
            draft = red(seller, number, lines=lines, request_id=f"red {place}", serial=place + 1)
            names |= {f"blue{place}": number, f"red{place}": await issue_red(stores, draft, number)}
            sums = pack_sums({0: Taken(lines * LINE_NET, lines * LINE_TAX)})
            await stores.admin.rows(BALANCE, (number, draft.gross_total_minor, sums, now_us))
        await stores.admin.rows(FORM, (names["blue0"], names["red0"]))
        yield stores, names


async def test_what_is_lawful_has_no_findings(trade: tuple[OwnStores, Mapping[str, object]]) -> None:
    outcome = await audited(trade[0])
    assert told(outcome) == {}
    assert {report.name: report.examined for report in outcome.reports}[BOOKED] == 3


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found_and_nothing_else(trade: tuple[OwnStores, Mapping[str, object]], damage: str) -> None:
    stores, names = trade
    statements, expected = DAMAGES[damage]
    for statement in statements:
        await stores.admin.rows(statement.format_map(names))
    findings = told(await audited(stores))
    assert findings.keys() == {BOOKED}, findings
    assert len(findings[BOOKED]) == len(expected), findings
    for pattern in expected:
        wanted = re.escape(pattern.format_map(names))
        assert [text for text in findings[BOOKED] if re.search(wanted, text)], (pattern, findings)

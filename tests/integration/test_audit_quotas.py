"""The audit finds credit quotas that tell of another amount than was issued, and ranges that hide them (P3)."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from core.storage.mysql.quotas import MySQLQuotaStore
from stack import Stack
from tests.support.archiving import audited, told
from tests.support.audit_subject import QUOTAS
from tests.support.databases import OwnStores, own_stores
from tests.support.issuing import LINE_NET

QUOTA = 20 * LINE_NET
FAR_US = 100 * 86_400_000_000

# what is done to ten invoices of one line, five of them before the quota -> how it is undone, and what is found
DAMAGES: Mapping[str, tuple[str, str]] = {
    "UPDATE credit_quota_months SET used_minor = used_minor - 1": (
        "UPDATE credit_quota_months SET used_minor = used_minor + 1",
        f"seller 1: used {10 * LINE_NET - 1} of its quota in .*, its invoices sum up to {10 * LINE_NET}",
    ),
    "UPDATE credit_quota_months SET ceiling_minor = ceiling_minor - 190000": (
        "UPDATE credit_quota_months SET ceiling_minor = ceiling_minor + 190000",
        f"seller 1: used {10 * LINE_NET} in .*, at most {LINE_NET} was allowed",
    ),
    "UPDATE credit_quota_months SET seller_key = 2": (
        "UPDATE credit_quota_months SET seller_key = 1",
        "seller 1: has a credit quota and no month it began with",
    ),
    f"UPDATE seller_runs SET issued_at_us = issued_at_us + {FAR_US} WHERE first_number LIKE '%%5'": (
        f"UPDATE seller_runs SET issued_at_us = issued_at_us - {FAR_US} WHERE first_number LIKE '%%5'",
        f"seller 1: 5 invoices of {5 * LINE_NET} from .* on count in no month",
    ),
    "UPDATE credit_quotas SET seller_key = 2": (
        "UPDATE credit_quotas SET seller_key = 1",
        "seller 1: used up .* without a credit quota",
    ),
    "UPDATE number_ranges SET quota_on = 0": (
        "UPDATE number_ranges SET quota_on = 1",
        "range 1: does not say that its seller has a credit quota",
    ),
    "UPDATE credit_quotas SET quota_minor = -1": (
        f"UPDATE credit_quotas SET quota_minor = {QUOTA}",
        "seller 1: has a credit quota of -1",
    ),
}


@pytest.fixture
async def stores(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with own_stores(data_stores, tmp_path) as opened:
        seller = await opened.issuer.seller(ranges=(1_000,))
        quotas = MySQLQuotaStore(primary=lambda: opened.primary, now_us=lambda: time.time_ns() // 1_000)
        await opened.issuer.issue(seller, 5, lines=1)
        await quotas.set(seller.seller_key, QUOTA)
        await opened.issuer.issue(seller, 5, lines=1)
        yield opened


async def test_a_sound_quota_and_one_lowered_later(stores: OwnStores) -> None:
    outcome = await audited(stores)
    assert told(outcome) == {}
    assert {report.name: report.examined for report in outcome.reports}[QUOTAS] == 10
    quotas = MySQLQuotaStore(primary=lambda: stores.primary, now_us=lambda: time.time_ns() // 1_000)
    await quotas.set(1, LINE_NET)
    assert told(await audited(stores)) == {}


async def test_damage_is_found(stores: OwnStores) -> None:
    for statement, (undo, pattern) in DAMAGES.items():
        await stores.admin.rows(statement)
        findings = told(await audited(stores))[QUOTAS]
        assert [text for text in findings if re.fullmatch(pattern, text)], (statement, findings)
        await stores.admin.rows(undo)
    assert told(await audited(stores)) == {}

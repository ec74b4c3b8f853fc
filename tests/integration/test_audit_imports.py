"""The audit proves that every imported invoice has its document, once, and finds every damage done to it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from core.storage.import_port import Import
from core.storage.mysql.imports import MySQLImportStore
from stack import Stack
from tests.support.archiving import audited, told
from tests.support.audit_subject import IMPORTS
from tests.support.databases import OwnStores, own_stores

TENANT = 7
NUMBERS = [f"{serial:020d}" for serial in range(5)]

# what is done to sound data -> what the audit must say
DAMAGES: Mapping[str, tuple[str, Sequence[str]]] = {
    "a digest changed": (
        "UPDATE imported_invoices SET sha256 = REPEAT('x', 32) WHERE number = '{0}'",
        ["has an object of another tenant or digest"],
    ),
    "another tenant's object": (
        "UPDATE imported_invoices SET tenant_key = 8 WHERE number = '{0}'",
        ["has an object of another tenant or digest"],
    ),
    "a size changed": (
        "UPDATE imported_invoices SET size_bytes = 1 WHERE number = '{0}'",
        ["has another document than was imported"],
    ),
    "an object that is not there": (
        "UPDATE imported_invoices SET object_key = REPLACE(object_key, '.xml', '.pdf') WHERE number = '{0}'",
        ["has no document in the object store"],
    ),
    "called verified": (
        "UPDATE imported_invoices SET verified = 1 WHERE number = '{0}'",
        ["is called verified, and no such invoice was issued"],
    ),
    "imported twice": (
        (
            "ALTER TABLE imported_invoices DROP INDEX by_number, ADD KEY by_number (tenant_key, code, number);"
            "INSERT INTO imported_invoices SELECT import_id + 100, tenant_key, code, number, kind, color, blue_number,"
            " issued_at_us, seller_tax_id, seller_name, buyer_tax_id, net_total_minor, tax_total_minor,"
            " gross_total_minor, verified, signature, document_kind, sha256, size_bytes, object_key, imported_at_us"
            " FROM imported_invoices WHERE number = '{0}'"
        ),
        ["was imported 2 times by tenant 7"],
    ),
}


@pytest.fixture
async def imported(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with own_stores(data_stores, tmp_path) as stores:
        store = MySQLImportStore(primary=lambda: stores.primary)
        now_us = time.time_ns() // 1_000
        for number in NUMBERS:
            content = f"{number} {now_us}".encode()
            digest = hashlib.sha256(content)
            key = f"imports/{TENANT}/{digest.hexdigest()}.xml"
            await stores.objects.put(key, content, retain_until_us=now_us + 60_000_000)
            await store.add(
                Import(
                    tenant_key=TENANT,
                    code="",
                    number=number,
                    kind=2,
                    color=1,
                    blue_number="",
                    issued_at_us=now_us,
                    seller_tax_id="s",
                    seller_name="示例卖方",
                    buyer_tax_id="b",
                    net_total_minor=100,
                    tax_total_minor=13,
                    gross_total_minor=113,
                    verified=False,
                    signature=1,
                    document_kind=1,
                    sha256=digest.digest(),
                    size_bytes=len(content),
                    object_key=key,
                    imported_at_us=now_us,
                )
            )
        yield stores


async def test_sound_imports_are_examined_and_nothing_is_found(imported: OwnStores) -> None:
    outcome = await audited(imported)
    assert told(outcome).get(IMPORTS) is None
    assert {report.name: report.examined for report in outcome.reports}[IMPORTS] == len(NUMBERS)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found(imported: OwnStores, damage: str) -> None:
    statements, expected = DAMAGES[damage]
    for statement in statements.format(*NUMBERS).split(";"):
        await imported.admin.rows(statement)
    findings = told(await audited(imported))[IMPORTS]
    assert len(findings) == len(expected), findings
    for text in expected:
        assert [found for found in findings if re.search(text, found)], (text, findings)


async def test_a_document_that_was_replaced_is_found(imported: OwnStores) -> None:
    (key,) = (await imported.primary.rows("SELECT object_key FROM imported_invoices ORDER BY import_id LIMIT 1"))[0]
    settings = imported.settings.object_store
    await imported.objects._client.put_object(Bucket=settings.bucket, Key=key, Body=b"another")
    findings = told(await audited(imported))[IMPORTS]
    texts = {text.split(": ")[1] for text in findings}  # the new version has no lock either
    assert texts >= {"has another document than was imported"}
    assert len({text.split(": ")[0] for text in findings}) == 1

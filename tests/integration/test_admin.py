"""billow-admin: schema, tenants, keys, sellers, ranges, status (P8, P11)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stack import Stack
from tests.support.admin_command import billow_admin
from tests.support.archiving import archive
from tests.support.databases import OwnStores, own_stores
from tests.support.invoices import tax_id

SECRET = re.compile(r"bk_[A-Za-z0-9_-]{43}")
SELLER = ("seller", "create", "s", "--tenant", "acme", "--name", "示例有限公司")
FIRST, LAST = "26110000000000000001", "26110000000000001000"


@pytest.fixture
async def stores(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with own_stores(data_stores, tmp_path) as opened:
        yield opened


async def test_migrating_again_and_at_once_changes_nothing(stores: OwnStores) -> None:
    for ran in await asyncio.gather(*(billow_admin(stores.config, "migrate", "--json") for _ in range(3))):
        assert ran.code == 0, ran.stderr
        assert re.fullmatch(r"\d{4}", json.loads(ran.stdout)["revision"])


async def test_migrating_an_empty_database_makes_the_tables(stores: OwnStores) -> None:
    tables = await stores.primary.rows("SHOW TABLES")
    await stores.admin.rows(f"DROP TABLE {', '.join(name for (name,) in tables)}")
    ran = await billow_admin(stores.config, "migrate")
    assert (ran.code, ran.stdout.startswith("schema at revision")) == (0, True)
    assert await stores.primary.rows("SHOW TABLES") == tables


async def test_a_key_is_stored_as_its_hash_and_shown_once(stores: OwnStores) -> None:
    arguments = ("key", "create", "--tenant", "acme", "--scope", "read", "--scope", "issue", "--name", "first")
    ran = await billow_admin(stores.config, *arguments)
    assert (ran.code, "TENANT_NOT_FOUND" in ran.stderr) == (2, True)
    assert await stores.primary.rows("SELECT COUNT(*) FROM api_keys") == [(0,)]
    ran = await billow_admin(stores.config, *arguments, "--create-tenant")
    secret = ran.stdout.strip()
    assert SECRET.fullmatch(secret)
    second = json.loads((await billow_admin(stores.config, *arguments, "--create-tenant", "--json")).stdout)
    assert second["secret"] != secret
    found = await stores.primary.rows(
        "SELECT key_id, secret_sha256, scopes, api_keys.display_name, tenant_id FROM api_keys JOIN tenants"
        " USING (tenant_key) ORDER BY api_keys.created_at_us"
    )
    assert [row[1] for row in found] == [hashlib.sha256(text.encode()).digest() for text in (secret, second["secret"])]
    assert {tuple(sorted(row[2].split())) for row in found} == {("issue", "read")}
    assert [row[3:] for row in found] == [("first", "acme")] * 2
    assert found[1][0] == second["key_id"]


async def test_credit_quotas(stores: OwnStores) -> None:
    seller = ("s", "--tenant", "acme")
    assert "TENANT_NOT_FOUND" in (await billow_admin(stores.config, "quota", "get", *seller)).stderr
    assert (await billow_admin(stores.config, "tenant", "create", "acme")).code == 0
    assert "SELLER_NOT_FOUND" in (await billow_admin(stores.config, "quota", "get", *seller)).stderr
    assert (await billow_admin(stores.config, *SELLER, "--tax-id", tax_id(1))).code == 0
    assert (await billow_admin(stores.config, "quota", "get", *seller)).stdout == "s has no credit quota\n"
    made = await billow_admin(stores.config, "quota", "set", *seller[:1], "75000050", *seller[1:])
    assert re.fullmatch(r"s used 0.00 of 750000.50 in \d{4}-\d\d\n", made.stdout), made.stderr
    added = await billow_admin(
        stores.config, "range", "add", FIRST, LAST, "--tenant", "acme", "--seller", "s", "--kind", "general"
    )
    assert added.code == 0, added.stderr
    assert await stores.primary.rows("SELECT quota_on FROM number_ranges") == [(1,)], "a new range tells of the quota"
    told = json.loads((await billow_admin(stores.config, "quota", "clear", *seller, "--json")).stdout)
    assert (told["quota_minor"], told["used_minor"]) == (None, 0)
    assert await stores.primary.rows("SELECT quota_on FROM number_ranges") == [(0,)]


async def test_tenants_sellers_and_ranges(stores: OwnStores) -> None:
    config = stores.config
    assert (await billow_admin(config, "tenant", "create", "acme")).code == 0
    again = await billow_admin(config, "tenant", "create", "acme")
    assert (again.code, "TENANT_EXISTS" in again.stderr) == (2, True)
    assert (await billow_admin(config, *SELLER, "--tax-id", tax_id(1))).code == 0
    added = await billow_admin(
        config, "range", "add", FIRST, LAST, "--tenant", "acme", "--seller", "s", "--kind", "general", "--json"
    )
    assert added.code == 0
    found = await stores.primary.rows("SELECT range_id, kind, first_number, last_number, size, used FROM number_ranges")
    assert found == [(json.loads(added.stdout)["range_id"], 2, FIRST, LAST, 1_000, 0)]


async def test_what_breaks_a_rule_names_it_and_changes_nothing(stores: OwnStores) -> None:
    config = stores.config
    await billow_admin(config, "tenant", "create", "acme")
    await billow_admin(config, *SELLER, "--tax-id", tax_id(1))
    for arguments, words in (
        (("tenant", "create", "Not An Id"), "tenant_id"),
        ((*SELLER, "--tax-id", "911100000000000000"), "party.tax_id"),
        (("range", "add", LAST, FIRST, "--tenant", "acme", "--seller", "s", "--kind", "general"), "last_number"),
        (("range", "add", FIRST, LAST, "--tenant", "acme", "--seller", "x", "--kind", "general"), "SELLER_NOT_FOUND"),
        (("key", "create", "--tenant", "acme", "--scope", "everything"), "--scope"),
    ):
        ran = await billow_admin(config, *arguments)
        assert (ran.code, ran.stdout, words in ran.stderr) == (2, "", True), ran
    counts = (
        "SELECT (SELECT COUNT(*) FROM tenants), (SELECT COUNT(*) FROM sellers), (SELECT COUNT(*) FROM number_ranges)"
    )
    assert await stores.primary.rows(counts) == [(1, 1, 0)]


async def test_the_status_counts(stores: OwnStores) -> None:
    seller = await stores.issuer.seller(ranges=(100,))
    await stores.issuer.issue(seller, 7)
    await archive(stores)
    await stores.issuer.issue(seller, 3)
    found = json.loads((await billow_admin(stores.config, "status", "--json")).stdout)
    assert {name: found[name] for name in ("tenants", "sellers", "invoices", "numbers_left", "segments")} == {
        "tenants": 1,
        "sellers": 1,
        "invoices": 10,
        "numbers_left": 90,
        "segments": 1,
    }
    assert (found["archived_invoices"], found["waiting_batches"]) == (7, 1)
    ran = await billow_admin(stores.config, "status")
    assert (ran.code, "archived_invoices" in ran.stdout) == (0, True)


async def test_settings_that_are_wrong_are_named(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    for text, words in (("", "mysql is missing"), ("x = 1", "x is not a setting"), ("x", "Expected")):
        config.write_text(text)
        ran = await billow_admin(config, "status")
        assert (ran.code, words in ran.stderr) == (2, True), ran
    ran = await billow_admin(tmp_path / "none.toml", "status")
    assert (ran.code, "none.toml" in ran.stderr) == (2, True)

"""What entries lock and what subscriptions read is looked up, never scanned: a scan would lock every invoice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from core.settings import load
from core.storage.mysql import collection, entry_locks
from core.storage.mysql.pool import Node, Primary
from stack import Stack
from tests.contract.registry_subjects import MySQLBooks, issue, new_seller, new_tenant
from tests.support.invoices import tax_id

Plan = list[dict[str, Any]]


@pytest.fixture
async def primary(data_stores: Stack) -> AsyncIterator[Primary]:
    settings = load(data_stores.config_path).mysql
    books = MySQLBooks(settings, from_replica=False)
    seller = await new_seller(books.registry, (await new_tenant(books.registry)).tenant_key)
    await books.add_range(seller, 100)
    await issue(books, seller, [f"r{position}" for position in range(100)])
    await books.close()
    node = Node(settings, settings.primary)
    while await collection.MySQLCollector(primary=lambda: Primary(node)).collect():
        pass
    yield Primary(node)
    node.drop()


async def plan(primary: Primary, sql: str, values: Sequence[Any]) -> Plan:
    async with primary.connection() as connection, connection.cursor() as cursor:
        await cursor.execute("EXPLAIN " + sql, tuple(values))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]


@pytest.mark.parametrize("count", [2, 1_000])
async def test_entries_lock_only_their_invoices(primary: Primary, count: int) -> None:
    numbers = [f"{26 * 10**18 + serial:020d}" for serial in range(count)]
    for sql, key in ((entry_locks.LOCK, "PRIMARY"), (entry_locks.LOCK_IMPORTS, "by_invoice")):
        (found,) = await plan(primary, sql.format(places=entry_locks.places(count)), numbers)
        assert (found["type"], found["key"]) == ("range", key), found
        assert "filesort" not in (found["Extra"] or "")


@pytest.mark.parametrize("count", [2, 1_000])
async def test_the_reds_of_imports_are_looked_up(primary: Primary, count: int) -> None:
    numbers = [f"{26 * 10**18 + serial:020d}" for serial in range(count)]
    (found,) = await plan(primary, entry_locks.IMPORTED_REDS.format(places=entry_locks.places(count)), numbers)
    assert (found["type"], found["key"]) == ("range", "by_blue"), found


async def test_subscriptions_read_from_their_position_on(primary: Primary) -> None:
    found = await plan(primary, collection._RECEIVED, (tax_id(1), 5, 500))
    assert (found[0]["table"], found[0]["type"], found[0]["key"]) == ("r", "range", "PRIMARY"), found
    assert all(other["type"] == "eq_ref" for other in found[1:]), found
    assert not any("filesort" in (other["Extra"] or "") for other in found), found

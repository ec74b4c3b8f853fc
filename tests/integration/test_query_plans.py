"""Every statement of the readers looks rows up; none walks through a seller's or everybody's invoices.

The tables of a test are small, which is when the optimiser likes scans best: what is written out in the statements
has to hold here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from core.limits import LOOKUP_SELLERS_MAX
from core.settings import load
from core.storage.mysql import range_lookup
from core.storage.mysql.issued_rows import lookups
from core.storage.mysql.pool import Node, Primary
from core.storage.mysql.reader import PrimaryReader
from core.storage.ports import ListFilter
from stack import Stack
from tests.contract.registry_subjects import MySQLBooks, issue, new_seller, new_tenant
from tests.support.issuing import TestSeller


class ExplainingReader(PrimaryReader):
    """Explains the statements of the reader instead of running them."""

    plans: list[dict[str, Any]]

    async def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._primary().connection() as connection, connection.cursor() as cursor:
            await cursor.execute("EXPLAIN " + sql, tuple(values))
            names = [column[0] for column in cursor.description]
            self.plans = [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
        return []

    @property
    def invoices(self) -> tuple[str, str]:
        """How the invoices are found: access type and index; they must come first."""
        plan = self.plans[0]
        assert plan["table"] in ("i", "invoices"), self.plans
        assert all(other["type"] in ("const", "eq_ref", "ref") for other in self.plans[1:]), self.plans
        assert not any("filesort" in (other["Extra"] or "") for other in self.plans), self.plans
        return plan["type"], plan["key"]


@pytest.fixture
async def reader(data_stores: Stack) -> AsyncIterator[ExplainingReader]:
    settings = load(data_stores.config_path).mysql
    books = MySQLBooks(settings, from_replica=False)
    seller = await new_seller(books.registry, (await new_tenant(books.registry)).tenant_key)
    await books.add_range(seller, 100)
    await issue(books, seller, [f"r{position}" for position in range(100)])
    await books.close()
    node = Node(settings, settings.primary)
    primary = Primary(node)
    yield ExplainingReader(primary=lambda: primary)
    node.drop()


NUMBERS = [f"{26 * 10**18 + serial:020d}" for serial in range(1_000)]


@pytest.mark.parametrize("count", [2, 1_000])
async def test_invoices_are_looked_up_by_number(reader: ExplainingReader, count: int) -> None:
    await reader.by_number(NUMBERS[:count])
    assert reader.invoices == ("range", "PRIMARY")
    await reader.verification_entries(NUMBERS[:count])
    assert reader.invoices == ("range", "PRIMARY")


@pytest.mark.parametrize("count", [2, 1_000])
async def test_invoices_are_looked_up_by_request(reader: ExplainingReader, count: int) -> None:
    await reader.by_request(1, [f"r{position}" for position in range(count)])
    assert reader.invoices == ("range", "by_request")


@pytest.mark.parametrize("sellers", [1, LOOKUP_SELLERS_MAX])
async def test_invoices_of_many_sellers_are_looked_up_by_request(reader: ExplainingReader, sellers: int) -> None:
    drafts = [TestSeller(seller_key=key, tax_id="").draft(f"r{place}") for key in range(sellers) for place in range(30)]
    ((sql, values),) = lookups(drafts)
    await reader._rows(sql, values)
    assert reader.invoices == ("range", "by_request")


async def test_open_ranges_of_many_sellers_are_looked_up(reader: ExplainingReader) -> None:
    await range_lookup.first(Explaining(reader), {(key, 2): 1 for key in range(500)})  # type: ignore[arg-type]
    (found,) = [plan for plan in reader.plans if plan["table"] == "number_ranges"]
    assert (found["type"], found["key"]) == ("range", "by_seller")
    assert "filesort" not in (found["Extra"] or ""), "they come in order for the window"


class Explaining:
    """A primary whose statements are explained."""

    def __init__(self, reader: ExplainingReader) -> None:
        self.rows = reader._rows


@pytest.mark.parametrize(
    ("seller_key", "buyer_tax_id", "index"),
    [(1, None, "PRIMARY"), (None, "911100000000000024", "by_buyer"), (1, "911100000000000024", "by_buyer")],
)
@pytest.mark.parametrize("after", [None, (1_790_000_000_000_000, NUMBERS[5])])
async def test_listings_follow_an_index(
    reader: ExplainingReader,
    seller_key: int | None,
    buyer_tax_id: str | None,
    index: str,
    after: tuple[int, str] | None,
) -> None:
    wanted = ListFilter(
        tenant_key=1,
        seller_key=seller_key,
        buyer_tax_id=buyer_tax_id,
        issued_from_us=0,
        issued_before_us=2**60,
        after=after,
        items_max=100,
    )
    await reader.list(wanted)
    assert reader.invoices == ("range", index)


async def test_every_connection_reads_committed_and_looks_long_lists_up(data_stores: Stack) -> None:
    settings = load(data_stores.config_path).mysql
    node = Node(settings, settings.primary)
    found = await Primary(node).rows("SELECT @@tx_isolation, @@in_predicate_conversion_threshold")
    assert found == [("READ-COMMITTED", 0)]
    node.drop()

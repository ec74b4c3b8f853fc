"""The contract of InvoiceReader, on the primary, on a replica and on the twin."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest

from core.domain import body
from core.settings import load
from core.storage import block
from core.storage.ports import Issued, ListFilter
from stack import Stack
from tests.contract.registry_subjects import Books, MemoryBooks, MySQLBooks, issue, new_seller, new_serial, new_tenant
from tests.support.invoices import tax_id

LATER_US = 2**60


@pytest.fixture(params=["memory", "primary", "replica"])
async def books(request: pytest.FixtureRequest) -> AsyncIterator[Books]:
    if request.param == "memory":
        yield MemoryBooks()
        return
    stores: Stack = request.getfixturevalue("data_stores")
    real = MySQLBooks(load(stores.config_path).mysql, from_replica=request.param == "replica")
    yield real
    await real.close()


def listing(
    tenant_key: int,
    *,
    seller_key: int | None = None,
    buyer_tax_id: str | None = None,
    issued_from_us: int = 0,
    issued_before_us: int = LATER_US,
    after: tuple[int, str] | None = None,
    items_max: int = 100,
) -> ListFilter:
    return ListFilter(
        tenant_key=tenant_key,
        seller_key=seller_key,
        buyer_tax_id=buyer_tax_id,
        issued_from_us=issued_from_us,
        issued_before_us=issued_before_us,
        after=after,
        items_max=items_max,
    )


async def test_invoices_are_read_by_number_and_by_request(books: Books) -> None:
    seller = await new_seller(books.registry, (await new_tenant(books.registry)).tenant_key)
    await books.add_range(seller, 10)
    request_ids = [f"a{new_serial()}", "with space ", "quote'\"\\%s"]
    issued = await issue(books, seller, request_ids)
    absent = "1" * 20
    found = await books.reader.by_number([item.number for item in issued] + [absent])
    assert {number: row.issued for number, row in found.items()} == {item.number: item for item in issued}
    assert sorted(row.batch_position for row in found.values()) == [0, 1, 2]
    assert {row.red_total_minor for row in found.values()} == {0}
    by_request = await books.reader.by_request(seller.seller_key, [*request_ids, "with space"])
    assert by_request == dict(zip(request_ids, issued, strict=True))
    assert await books.reader.by_request(seller.seller_key + 1, request_ids) == {}
    assert await books.reader.by_number([]) == {}
    assert await books.reader.by_request(seller.seller_key, []) == {}


async def test_a_batch_holds_the_bodies_that_were_digested(books: Books) -> None:
    seller = await new_seller(books.registry, (await new_tenant(books.registry)).tenant_key)
    await books.add_range(seller, 10)
    issued = {item.number: item for item in await issue(books, seller, ["x", "y"])}
    for number, row in (await books.reader.by_number(list(issued))).items():
        batch = await books.reader.batch(row.batch_id)
        assert batch is not None
        assert batch.block is not None
        assert block.numbers(batch.runs)[row.batch_position] == number
        prepared = block.unpack(batch.block).bodies[row.batch_position]
        whole = prepared + body.suffix(row.issued.issued_at_us, number)
        assert hashlib.sha256(whole).digest() == issued[number].body_sha256
    assert await books.reader.batch(10**12) is None
    assert await books.reader.segment(10**12) is None


async def test_entries_say_what_checks_need(books: Books) -> None:
    seller = await new_seller(books.registry, (await new_tenant(books.registry)).tenant_key)
    await books.add_range(seller, 10)
    plain, reddened = await issue(books, seller, ["x", "y"])
    await books.redden(reddened.number, -400)
    entries = await books.reader.verification_entries([reddened.number, plain.number, "1" * 20])
    assert entries.keys() == {plain.number, reddened.number}
    for issued, red_total_minor in ((plain, 0), (reddened, -400)):
        entry = entries[issued.number]
        assert entry.number == issued.number
        assert (entry.issued_at_us, entry.kind) == (issued.issued_at_us, issued.kind)
        assert (entry.net_total_minor, entry.gross_total_minor) == (issued.net_total_minor, issued.gross_total_minor)
        assert entry.red_total_minor == red_total_minor
        assert (entry.seller_tax_id, entry.buyer_tax_id) == (seller.party.tax_id, issued.buyer_tax_id)
    rows = await books.reader.by_number([reddened.number])
    assert rows[reddened.number].red_total_minor == -400
    assert await books.reader.verification_entries([]) == {}


async def pages(books: Books, wanted: ListFilter) -> list[Issued]:
    """Reads all pages."""
    found: list[Issued] = []
    after = wanted.after
    while True:
        query = listing(
            wanted.tenant_key,
            seller_key=wanted.seller_key,
            buyer_tax_id=wanted.buyer_tax_id,
            issued_from_us=wanted.issued_from_us,
            issued_before_us=wanted.issued_before_us,
            after=after,
            items_max=wanted.items_max,
        )
        page = await books.reader.list(query)
        found += page
        if len(page) < wanted.items_max:
            return found
        after = (page[-1].issued_at_us, page[-1].number)


async def test_listings_are_complete_ordered_and_of_one_tenant(books: Books) -> None:
    tenants = [await new_tenant(books.registry) for _ in range(2)]
    sellers = [
        await new_seller(books.registry, tenant_key)
        for tenant_key in (tenants[0].tenant_key, tenants[0].tenant_key, tenants[1].tenant_key)
    ]
    issued: dict[int, list[Issued]] = {seller.seller_key: [] for seller in sellers}
    for seller in sellers:
        await books.add_range(seller, 100)
    for turn in range(3):
        for seller in sellers:
            issued[seller.seller_key] += await issue(books, seller, [f"{turn}-{item}" for item in range(3)])
    own = sorted(
        issued[sellers[0].seller_key] + issued[sellers[1].seller_key],
        key=lambda item: (item.issued_at_us, item.number),
    )
    tenant_key = tenants[0].tenant_key
    first_buyer = tax_id(1)
    for items_max in (1, 2, 100):
        one = listing(tenant_key, seller_key=sellers[0].seller_key, items_max=items_max)
        assert await pages(books, one) == issued[sellers[0].seller_key]
        to_buyer = listing(tenant_key, buyer_tax_id=first_buyer, items_max=items_max)
        assert await pages(books, to_buyer) == [item for item in own if item.buyer_tax_id == first_buyer]
        both = listing(tenant_key, seller_key=sellers[1].seller_key, buyer_tax_id=first_buyer, items_max=items_max)
        assert [item.request_id for item in await pages(books, both)] == ["0-0", "1-0", "2-0"]
    stranger = listing(tenants[1].tenant_key, seller_key=sellers[0].seller_key)
    assert await books.reader.list(stranger) == []


async def test_listings_begin_and_end_where_they_should(books: Books) -> None:
    tenant = await new_tenant(books.registry)
    seller = await new_seller(books.registry, tenant.tenant_key)
    await books.add_range(seller, 100)
    first, second, third = [(await issue(books, seller, [f"{turn}"]))[0] for turn in range(3)]
    assert first.issued_at_us < second.issued_at_us < third.issued_at_us
    middle = listing(
        tenant.tenant_key,
        seller_key=seller.seller_key,
        issued_from_us=second.issued_at_us,
        issued_before_us=third.issued_at_us,
    )
    assert await books.reader.list(middle) == [second]
    beyond = listing(tenant.tenant_key, seller_key=seller.seller_key, issued_from_us=third.issued_at_us + 1)
    assert await books.reader.list(beyond) == []

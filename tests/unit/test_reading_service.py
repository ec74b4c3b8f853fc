"""Reading back over the twins: complete, the tenant's own, and checked against the digest (P4, P8)."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from core.domain.errors import BillowError, Reason
from core.storage import block
from core.storage.bodies import BodyCorrupt
from core.storage.memory.reader import MemoryInvoiceReader
from core.storage.ports import InvoiceRow, Issued, ListFilter, ObjectMissing, Segment, SellerRecord
from server.services.auth import Caller
from server.services.reading import SETTLED_US, Listed, ReadingService, Wanted
from server.services.sellers import SellerDirectory
from tests.contract.registry_subjects import MemoryBooks, issue, new_seller, new_tenant, now_us
from tests.support.invoices import tax_id


class Replica(MemoryInvoiceReader):
    """A replica that is away, or behind, when told, and counts what it is asked."""

    away = False
    behind = False
    asked = 0

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise BillowError(Reason.STORAGE_UNAVAILABLE, "away")

    async def by_number(self, numbers: object) -> dict[str, InvoiceRow]:
        self._ask()
        return {} if self.behind else await super().by_number(numbers)  # type: ignore[arg-type]  # passed on

    async def by_request(self, seller_key: int, request_ids: object) -> dict[str, Issued]:
        self._ask()
        return {} if self.behind else await super().by_request(seller_key, request_ids)  # type: ignore[arg-type]  # passed on

    async def list(self, wanted: ListFilter) -> list[Issued]:
        self._ask()
        return [] if self.behind else await super().list(wanted)


class Segments:
    """Archived bodies."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[int, int], bytes] = {}

    async def read_body(self, segment: Segment, row: int) -> bytes:
        if (segment.segment_id, row) not in self.bodies:
            raise ObjectMissing(segment.object_key)
        return self.bodies[segment.segment_id, row]


class Bench:
    def __init__(self) -> None:
        self.books = MemoryBooks()
        self.replica = Replica(tables=self.books.tables, registry=self.books.registry)
        self.segments = Segments()
        self.later_us = 0
        self.service = ReadingService(
            primary=self.books.reader,
            replicas=self.replica,
            segments=self.segments,
            sellers=SellerDirectory(store=self.books.registry, wait_max_ms=0),
            now_us=lambda: now_us() + self.later_us,
            wait_max_ms=0,
        )

    async def seller(self) -> tuple[Caller, SellerRecord]:
        """Registers a seller of a new tenant."""
        tenant = await new_tenant(self.books.registry)
        seller = await new_seller(self.books.registry, tenant.tenant_key)
        await self.books.add_range(seller, 1_000)
        return Caller(tenant.tenant_key, tenant.tenant_id, frozenset({"read"}), "00" * 8), seller

    async def list_all(self, caller: Caller, wanted: Wanted) -> list[Listed]:
        """Reads all pages."""
        found: list[Listed] = []
        token = ""
        while True:
            page = await self.service.list_invoices(caller, replace(wanted, page_token=token))
            found += page.items
            token = page.next_page_token
            if not token:
                return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


def wanted(
    seller_id: str = "", buyer_tax_id: str = "", request_id: str = "", page_size: int = 0, page_token: str = ""
) -> Wanted:
    return Wanted(
        seller_id=seller_id,
        buyer_tax_id=buyer_tax_id,
        request_id=request_id,
        page_size=page_size,
        page_token=page_token,
    )


@pytest.mark.parametrize("trouble", ["none", "behind", "away"])
async def test_an_invoice_is_read_whatever_the_replica_does(bench: Bench, trouble: str) -> None:
    caller, seller = await bench.seller()
    first, second = await issue(bench.books, seller, ["a", "b"])
    bench.replica.behind, bench.replica.away = trouble == "behind", trouble == "away"
    for issued in (first, second):
        found = await bench.service.get_invoice(caller, issued.number)
        assert (found.row.issued, found.seller_id) == (issued, seller.seller_id)
        assert hashlib.sha256(found.body).digest() == issued.body_sha256


async def test_another_tenants_invoice_looks_unknown(bench: Bench) -> None:
    caller, seller = await bench.seller()
    stranger, _ = await bench.seller()
    (issued,) = await issue(bench.books, seller, ["a"])
    for who, number in ((stranger, issued.number), (caller, "1" * 20)):
        with pytest.raises(BillowError) as error:
            await bench.service.get_invoice(who, number)
        assert (error.value.reason, error.value.metadata) == (Reason.INVOICE_NOT_FOUND, {"number": number})


@pytest.mark.parametrize(("number", "rule"), [("", "REQUIRED"), ("1" * 19, "NUMBER_FORM"), ("１" * 20, "NUMBER_FORM")])
async def test_what_is_no_number_is_told_so(bench: Bench, number: str, rule: str) -> None:
    caller, _ = await bench.seller()
    with pytest.raises(BillowError) as error:
        await bench.service.get_invoice(caller, number)
    assert [(item.field, item.rule) for item in error.value.violations] == [("number", rule)]


async def archived(bench: Bench, issued: Issued) -> tuple[int, int]:
    """Moves the batch of an invoice into a segment and returns where its body is now."""
    tables = bench.books.tables
    row = tables.invoices[issued.number]
    tables.segments[5] = Segment(5, "key", b"", 1, 1, 1, 1)
    tables.batches[row.batch_id] = replace(tables.batches[row.batch_id], block=None, segment_id=5, segment_row=40)
    return 5, 40 + row.batch_position


async def test_an_archived_body_comes_from_its_segment(bench: Bench) -> None:
    caller, seller = await bench.seller()
    _, issued = await issue(bench.books, seller, ["a", "b"])
    before = await bench.service.get_invoice(caller, issued.number)
    bench.segments.bodies[await archived(bench, issued)] = before.body
    assert await bench.service.get_invoice(caller, issued.number) == before


async def test_a_store_that_denies_a_recorded_segment_counts_as_away(bench: Bench) -> None:
    caller, seller = await bench.seller()
    (issued,) = await issue(bench.books, seller, ["a"])
    before = await bench.service.get_invoice(caller, issued.number)
    place = await archived(bench, issued)
    with pytest.raises(BillowError) as refused:
        await bench.service.get_invoice(caller, issued.number)
    assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
    bench.segments.bodies[place] = before.body
    assert await bench.service.get_invoice(caller, issued.number) == before


async def test_a_body_that_is_not_the_one_issued_is_never_given_out(bench: Bench) -> None:
    caller, seller = await bench.seller()
    (issued,) = await issue(bench.books, seller, ["a"])
    tables = bench.books.tables
    row = tables.invoices[issued.number]
    batch = tables.batches[row.batch_id]
    tables.batches[row.batch_id] = replace(batch, block=block.pack(["a"], [b"another body"]))
    with pytest.raises(BodyCorrupt):
        await bench.service.get_invoice(caller, issued.number)
    bench.segments.bodies[await archived(bench, issued)] = b"another body"
    with pytest.raises(BodyCorrupt):
        await bench.service.get_invoice(caller, issued.number)
    tables.batches[row.batch_id] = replace(batch, block=None)
    with pytest.raises(BodyCorrupt):
        await bench.service.get_invoice(caller, issued.number)
    del tables.batches[row.batch_id]
    with pytest.raises(BodyCorrupt):
        await bench.service.get_invoice(caller, issued.number)


async def test_listings_are_complete_and_the_tenants_own(bench: Bench) -> None:
    caller, seller = await bench.seller()
    stranger, other = await bench.seller()
    mine = [item for turn in range(3) for item in await issue(bench.books, seller, [f"{turn}-{i}" for i in range(4)])]
    await issue(bench.books, other, [f"x-{i}" for i in range(4)])
    for page_size in (1, 5, 0):
        found = await bench.list_all(caller, wanted(seller.seller_id, page_size=page_size))
        assert found == [Listed(item, seller.seller_id) for item in mine]
        to_buyer = await bench.list_all(caller, wanted(buyer_tax_id=tax_id(2), page_size=page_size))
        assert [item.issued.request_id for item in to_buyer] == ["0-1", "1-1", "2-1"]
    with pytest.raises(BillowError) as error:
        await bench.service.list_invoices(stranger, wanted(seller.seller_id))
    assert error.value.reason is Reason.SELLER_NOT_FOUND


async def test_a_request_id_finds_its_invoice(bench: Bench) -> None:
    caller, seller = await bench.seller()
    first, _ = await issue(bench.books, seller, ["a", "b"])
    for bench.replica.behind in (False, True):
        page = await bench.service.list_invoices(caller, wanted(seller.seller_id, request_id="a"))
        assert [item.issued for item in page.items] == [first]
        query = wanted(seller.seller_id, request_id="a", buyer_tax_id=tax_id(999))
        assert (await bench.service.list_invoices(caller, query)).items == []
    early = replace(wanted(seller.seller_id, request_id="a"), issued_before_us=first.issued_at_us)
    assert (await bench.service.list_invoices(caller, early)).items == []


async def test_what_was_just_issued_is_listed_though_the_replica_is_behind(bench: Bench) -> None:
    caller, seller = await bench.seller()
    issued = await issue(bench.books, seller, ["a", "b"])
    bench.replica.behind = True
    found = await bench.list_all(caller, wanted(seller.seller_id, page_size=1))
    assert [item.issued for item in found] == issued
    bench.replica.behind, bench.replica.away = False, True
    assert len(await bench.list_all(caller, wanted(seller.seller_id))) == 2


async def test_settled_pages_are_the_replicas_alone(bench: Bench) -> None:
    caller, seller = await bench.seller()
    issued = await issue(bench.books, seller, ["a", "b"])
    bench.later_us = 2 * SETTLED_US
    bench.books.tables.invoices = {}  # what the primary would say
    bench.replica._tables = replace(
        bench.books.tables, invoices={item.number: InvoiceRow(item, 1, 0, 0) for item in issued}
    )
    settled = replace(wanted(seller.seller_id), issued_before_us=issued[-1].issued_at_us + 1)
    assert [item.issued for item in await bench.list_all(caller, settled)] == issued
    assert len((await bench.service.list_invoices(caller, wanted(seller.seller_id, page_size=1))).items) == 1


async def test_every_fault_of_a_listing_is_told(bench: Bench) -> None:
    caller, seller = await bench.seller()

    async def faults(query: Wanted) -> list[tuple[str, str]]:
        with pytest.raises(BillowError) as error:
            await bench.service.list_invoices(caller, query)
        return [(item.field, item.rule) for item in error.value.violations]

    assert await faults(wanted()) == [("seller_id", "REQUIRED")]
    assert await faults(wanted(buyer_tax_id="x", request_id="\0")) == [
        ("buyer_tax_id", "TAX_ID_FORM"),
        ("seller_id", "REQUIRED"),
        ("request_id", "REQUEST_ID_FORM"),
    ]
    assert await faults(wanted(seller.seller_id, page_size=-1)) == [("page_size", "PAGE_SIZE")]


async def test_a_token_is_good_for_its_filters_only(bench: Bench) -> None:
    caller, seller = await bench.seller()
    stranger, other = await bench.seller()
    await issue(bench.books, seller, ["a", "b"])
    token = (await bench.service.list_invoices(caller, wanted(seller.seller_id, page_size=1))).next_page_token
    for who, query in (
        (caller, wanted(seller.seller_id, buyer_tax_id=tax_id(1), page_token=token)),
        (caller, replace(wanted(seller.seller_id, page_token=token), issued_from_us=1)),
        (stranger, wanted(other.seller_id, page_token=token)),
    ):
        with pytest.raises(BillowError) as error:
            await bench.service.list_invoices(who, query)
        assert error.value.reason is Reason.INVALID_PAGE_TOKEN

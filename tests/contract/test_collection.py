"""The contract of collection: every invoice once, in order, without a gap, whatever is being issued."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from core.domain.entry import Change, EntryState
from core.limits import COLLECT_BATCHES_MAX
from core.settings import load
from core.storage.collection_port import Collector, Received, ReceivedStore
from core.storage.memory.collection import MemoryCollection
from core.storage.mysql import collection as mysql_collection
from core.storage.mysql.collection import MySQLCollector, MySQLReceivedStore
from core.storage.mysql.pool import Replicas
from core.storage.ports import Draft, Issued, SellerRecord
from stack import Stack
from tests.contract.entry_subjects import MySQLEntrySubject
from tests.contract.registry_subjects import Books, MemoryBooks, MySQLBooks, new_seller, new_serial, new_tenant
from tests.support.invoices import tax_id
from tests.support.issuing import TestSeller

WRITERS, COMMITS = 4, 12
COLLECTORS = 2


@dataclass(frozen=True, slots=True)
class Case:
    """Books with a collector and a reader, a seller, and two buyers nobody else has."""

    books: Books
    collector: Collector
    store: ReceivedStore
    seller: SellerRecord
    buyers: tuple[str, str]

    def draft(self, request_id: str, buyer: str, seller: SellerRecord | None = None) -> Draft:
        seller = seller or self.seller
        drafter = TestSeller(seller_key=seller.seller_key, tax_id=seller.party.tax_id)
        draft = drafter.draft(request_id)
        draft.buyer_tax_id = buyer  # the body does not matter here
        return draft

    async def issue(self, *drafts: Draft) -> list[str]:
        answers = await self.books.issuing.commit(drafts)
        return [answer.number for answer in answers if isinstance(answer, Issued)]

    async def collect_all(self) -> None:
        while await self.collector.collect():
            pass

    async def read(self, buyer: str, *, after: int = 0) -> list[Received]:
        return await self.store.received(buyer, after=after, items_max=10_000)


@pytest.fixture(params=["memory", "mysql"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    books: MemoryBooks | MySQLBooks = MemoryBooks()
    if isinstance(books, MemoryBooks) and request.param == "memory":
        twin = MemoryCollection(tables=books.tables, registry=books.registry)
        collector: Collector = twin
        store: ReceivedStore = twin
    else:
        stores: Stack = request.getfixturevalue("data_stores")
        books = real = MySQLBooks(load(stores.config_path).mysql, from_replica=False)
        collector = MySQLCollector(primary=lambda: real.primary)
        store = MySQLReceivedStore(primary=lambda: real.primary, replicas=lambda: Replicas(()))
    seller = await new_seller(books.registry, (await new_tenant(books.registry)).tenant_key)
    await books.add_range(seller, 10_000)
    buyers = (tax_id(new_serial() * 10), tax_id(new_serial() * 10 + 1))
    for buyer in buyers:
        await collector.follow(buyer)
    yield Case(books, collector, store, seller, buyers)
    await books.close()


async def test_positions_begin_at_one_and_have_no_gap_for_each_buyer(case: Case) -> None:
    first, second = case.buyers
    drafts = [case.draft(f"r{place}", (first, second, "")[place % 3]) for place in range(9)]
    numbers = await case.issue(*drafts)
    await case.collect_all()
    for buyer, place in ((first, 0), (second, 1)):
        found = await case.read(buyer)
        assert [(item.position, item.number) for item in found] == list(enumerate(numbers[place::3], 1))
    again = await case.issue(case.draft("more", first))
    assert await case.read(first, after=3) == []  # not before it is collected
    await case.collect_all()
    assert [(item.position, item.number) for item in await case.read(first, after=3)] == [(4, again[0])]


async def test_what_was_received_is_told_with_seller_and_totals(case: Case) -> None:
    await case.issue(case.draft("r", case.buyers[0]))
    await case.collect_all()
    (found,) = await case.read(case.buyers[0])
    assert (found.seller_tax_id, found.seller_name) == (case.seller.party.tax_id, case.seller.party.name)
    assert (found.net_total_minor, found.tax_total_minor, found.gross_total_minor) == (30_000, 3_900, 33_900)
    assert (found.red_total_minor, found.entry_state, found.entry_period) == (0, 1, 0)
    assert {type(value) for value in dataclasses.astuple(found)} == {int, str}  # no decimals
    assert (found.kind, found.color, found.blue_number) == (2, 1, "")


async def test_a_page_is_bounded_and_collecting_again_changes_nothing(case: Case) -> None:
    numbers = await case.issue(*(case.draft(f"r{place}", case.buyers[0]) for place in range(5)))
    await case.collect_all()
    await case.collect_all()
    page = await case.store.received(case.buyers[0], after=1, items_max=2)
    assert [item.number for item in page] == numbers[1:3]
    assert [item.number for item in await case.read(case.buyers[0])] == numbers


async def test_nobody_but_followed_buyers_gets_positions(case: Case) -> None:
    stranger = tax_id(new_serial() * 10 + 2)
    numbers = await case.issue(case.draft("r1", stranger), case.draft("r2", case.buyers[0]))
    await case.collect_all()
    assert await case.read(stranger) == []
    assert [item.number for item in await case.read(case.buyers[0])] == numbers[1:]


async def test_who_is_followed_later_gets_what_it_received_before(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql_collection, "COLLECT_FILL_ROWS_MAX", 4)  # in several pieces
    late = tax_id(new_serial() * 10 + 3)
    numbers: list[str] = []
    for commit in range(3):
        numbers += await case.issue(*(case.draft(f"r{commit}/{place}", late) for place in range(3)))
    await case.collect_all()
    numbers += await case.issue(case.draft("not collected yet", late))
    await case.collector.follow(late)
    await case.collector.follow(late)
    await case.collect_all()
    numbers += await case.issue(case.draft("after", late))
    await case.collect_all()
    found = await case.read(late)
    assert [item.position for item in found] == list(range(1, 12))
    assert sorted(item.number for item in found) == sorted(numbers)
    assert found[-1].number == numbers[-1]


async def test_what_many_sellers_issue_is_read_in_pieces(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql_collection, "READ_RUNS_MAX", 2)
    tenant = await new_tenant(case.books.registry)
    sellers = [await new_seller(case.books.registry, tenant.tenant_key) for _ in range(5)]
    for seller in sellers:
        await case.books.add_range(seller, 100)
    numbers: list[str] = []
    for commit in range(3):
        numbers += await case.issue(*(case.draft(f"r{commit}", case.buyers[0], seller) for seller in sellers))
    await case.collect_all()
    assert [(item.position, item.number) for item in await case.read(case.buyers[0])] == list(enumerate(numbers, 1))


async def test_only_a_full_take_tells_of_more_to_do(case: Case) -> None:
    await case.collect_all()
    for place in range(COLLECT_BATCHES_MAX + 1):
        await case.issue(case.draft(f"take/{place}", case.buyers[0]))
    assert await case.collector.collect()
    assert not await case.collector.collect()
    assert len(await case.read(case.buyers[0])) == COLLECT_BATCHES_MAX + 1


async def test_following_while_several_writers_issue_misses_nothing_and_repeats_nothing(case: Case) -> None:
    late = tax_id(new_serial() * 10 + 4)
    issued: list[str] = []

    async def write(writer: int) -> None:
        for commit in range(COMMITS):
            drafts = [case.draft(f"{writer}/{commit}/{place}", late) for place in range(1 + (writer + commit) % 3)]
            issued.extend(await case.issue(*drafts))
            await case.collector.collect()
            if writer == 0 and commit == COMMITS // 2:
                await case.collector.follow(late)

    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    await case.collect_all()
    found = await case.read(late)
    assert [item.position for item in found] == list(range(1, len(issued) + 1))
    assert sorted(item.number for item in found) == sorted(issued)


async def test_a_cursor_misses_nothing_while_several_writers_issue(case: Case) -> None:
    buyer = case.buyers[0]
    seen: list[Received] = []
    issued: list[str] = []
    written, stop = asyncio.Event(), asyncio.Event()

    async def write(writer: int) -> None:
        for commit in range(COMMITS):
            drafts = [case.draft(f"{writer}/{commit}/{place}", buyer) for place in range(1 + (writer + commit) % 3)]
            issued.extend(await case.issue(*drafts))

    async def follow() -> None:
        while True:
            last_round = stop.is_set()
            page = await case.store.received(buyer, after=len(seen), items_max=7)
            seen.extend(page)
            if last_round and not page:
                return
            await asyncio.sleep(0)

    async def collect() -> None:
        while not written.is_set():
            await case.collector.collect()
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(follow())
        collectors = [group.create_task(collect()) for _ in range(COLLECTORS)]
        await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
        written.set()
        await asyncio.gather(*collectors)
        await case.collect_all()  # nobody else is at it now: all is collected
        stop.set()
    assert [item.position for item in seen] == list(range(1, len(issued) + 1))
    assert sorted(item.number for item in seen) == sorted(issued)
    assert len(issued) == len(set(issued))


async def test_the_state_of_red_and_of_entry_is_told(data_stores: Stack) -> None:
    subject = MySQLEntrySubject(load(data_stores.config_path).mysql)
    books = subject.books
    tenant_key = (await new_tenant(books.registry)).tenant_key
    seller = await new_seller(books.registry, tenant_key)
    await books.add_range(seller, 10)
    store = MySQLReceivedStore(primary=lambda: books.primary, replicas=lambda: Replicas(()))
    case = Case(books, MySQLCollector(primary=lambda: books.primary), store, seller, (tax_id(new_serial() * 10), ""))
    (number,) = await case.issue(case.draft("r", case.buyers[0]))
    await subject.tax_ids.claim(tenant_key, case.buyers[0], now_us=1)
    await subject.tax_ids.confirm(tenant_key, case.buyers[0], now_us=1)  # from then on it is followed
    await case.collect_all()
    await subject.entries.change(tenant_key, [Change("e", number, EntryState.NOT_DEDUCTIBLE, 202611, "")])
    await books.redden(number, -5)
    (found,) = await case.read(case.buyers[0])
    assert (found.entry_state, found.entry_period, found.red_total_minor) == (3, 202611, -5)
    await books.close()

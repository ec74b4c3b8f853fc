"""The contract of account entry of imported invoices: as of issued ones, and never through both doors (P8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from core.domain.entry import Change, Entry, EntryState
from core.domain.errors import BillowError
from core.settings import load
from core.storage.import_port import Import
from core.storage.ports import Issued
from stack import Stack
from tests.contract.entry_subjects import EntrySubject, MemoryEntrySubject, MySQLEntrySubject
from tests.contract.registry_subjects import issue, new_seller, new_serial, new_tenant
from tests.contract.test_entry_store import enter, reasons, withdraw
from tests.support.invoices import tax_id

RACERS = 50
CODE = "144031900111"
NOT_FOUND = "INVOICE_NOT_FOUND"


def older(change: Change, code: str = CODE) -> Change:
    return replace(change, code=code)


@dataclass(frozen=True, slots=True)
class Case:
    """A tenant and another that have both proved the id of a buyer, and a third that has proved its own."""

    subject: EntrySubject
    tenant: int
    bookkeeper: int
    stranger: int
    buyer: str
    stranger_id: str

    async def bring(self, number: str, **changes: object) -> Import:
        """Imports an invoice from elsewhere for the first tenant, or as `changes` say."""
        made = Import(
            tenant_key=self.tenant,
            code="",
            number=number,
            kind=2,
            color=1,
            blue_number="",
            issued_at_us=1_795_000_000_000_000,
            seller_tax_id="s",
            seller_name="示例卖方",
            buyer_tax_id=self.buyer,
            net_total_minor=100,
            tax_total_minor=13,
            gross_total_minor=113,
            verified=False,
            signature=2,
            document_kind=1,
            sha256=bytes(range(32)),
            size_bytes=10,
            object_key="imports/1/x.xml",
            imported_at_us=7,
        )
        return (await self.subject.imports.add(replace(made, **changes)))[0]  # type: ignore[arg-type]

    async def change(self, *changes: Change, tenant: int = 0) -> list[str]:
        return reasons(await self.subject.entries.change(tenant or self.tenant, changes))

    async def prove(self, tenant: int, buyer: str) -> None:
        await self.subject.tax_ids.claim(tenant, buyer, now_us=1)
        await self.subject.tax_ids.confirm(tenant, buyer, now_us=2)

    async def issue(self) -> Issued:
        """Issues an invoice here, and proves its buyer for both."""
        seller = await new_seller(
            self.subject.books.registry, (await new_tenant(self.subject.books.registry)).tenant_key
        )
        await self.subject.books.add_range(seller, 100)
        (issued,) = await issue(self.subject.books, seller, ["r"])
        for tenant in (self.tenant, self.bookkeeper):
            await self.prove(tenant, issued.buyer_tax_id)
        return issued


def new_number() -> str:
    return f"{98 * 10**18 + new_serial():020d}"


@pytest.fixture(params=["memory", "mysql"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    subject: MemoryEntrySubject | MySQLEntrySubject = MemoryEntrySubject()
    if request.param == "mysql":
        stores: Stack = request.getfixturevalue("data_stores")
        subject = MySQLEntrySubject(load(stores.config_path).mysql)
    tenants = [(await new_tenant(subject.books.registry)).tenant_key for _ in range(3)]
    tenant, bookkeeper, stranger = tenants
    made = Case(subject, tenant, bookkeeper, stranger, tax_id(new_serial()), tax_id(new_serial()))
    for tenant in tenants[:2]:
        await made.prove(tenant, made.buyer)
    await made.prove(made.stranger, made.stranger_id)
    yield made
    await subject.close()


async def test_entered_withdrawn_and_entered_again_with_its_history(case: Case) -> None:
    number = new_number()
    entries = case.subject.entries
    assert await case.change(enter(number, "0")) == [NOT_FOUND]
    await case.bring(number)
    assert await entries.history(case.tenant, number) == []
    assert await case.change(enter(number, "a"), enter(number, "b"), withdraw(number, "c")) == [
        "02",
        "ALREADY_ENTERED",
        "06",
    ]
    again = enter(number, "d", EntryState.NOT_DEDUCTIBLE, 202612)
    assert await case.change(again) == ["03"]
    history = await entries.history(case.tenant, number)
    assert history is not None
    assert [(item.number, item.version, int(item.state), item.period) for item in history] == [
        (number, 1, 2, 202611),
        (number, 2, 6, 202611),
        (number, 3, 3, 202612),
    ]
    assert history[0].ledger_reference == "凭证 a"
    assert await entries.change(case.tenant, [again]) == history[2:]
    assert await entries.booked([number]) == set()  # the books of whoever was issued a number like this


async def test_request_ids_are_shared_with_entries_of_issued_invoices(case: Case) -> None:
    number, issued = new_number(), (await case.issue()).number
    await case.bring(number)
    assert await case.change(enter(number, "a"), enter(issued, "b")) == ["02", "02"]
    assert await case.change(enter(number, "a"), enter(issued, "b")) == ["02", "02"]
    assert await case.change(enter(number, "a", period=202701)) == ["REQUEST_ID_REUSED"]
    assert await case.change(withdraw(issued, "a"), withdraw(number, "b")) == ["REQUEST_ID_REUSED"] * 2


async def test_only_who_imported_it_and_has_proved_the_buyer(case: Case) -> None:
    number = new_number()
    await case.bring(number)
    for tenant in (case.bookkeeper, case.stranger):
        assert await case.change(enter(number, "a"), tenant=tenant) == [NOT_FOUND]
        assert await case.subject.entries.history(tenant, number) is None
    await case.subject.tax_ids.revoke(case.tenant, case.buyer)
    assert await case.change(enter(number, "a")) == [NOT_FOUND]
    assert await case.subject.entries.history(case.tenant, number) is None


async def test_a_taxpayers_tenants_share_the_entry_and_no_other_taxpayer_does(case: Case) -> None:
    number = new_number()
    await case.bring(number)
    await case.bring(number, tenant_key=case.bookkeeper)
    await case.bring(number, tenant_key=case.stranger, buyer_tax_id=case.stranger_id)
    assert await case.change(enter(number, "a")) == ["02"]
    assert await case.change(enter(number, "a"), tenant=case.bookkeeper) == ["ALREADY_ENTERED"]
    assert await case.change(enter(number, "a"), tenant=case.stranger) == ["02"]
    assert await case.change(withdraw(number, "b"), tenant=case.bookkeeper) == ["06"]
    history = await case.subject.entries.history(case.tenant, number)
    assert history is not None
    assert [int(item.state) for item in history] == [2, 6]


async def test_older_invoices_are_told_apart_by_their_codes(case: Case) -> None:
    number = f"{new_serial() % 10**8:08d}"
    first, second = "144031900111", "144031900112"
    await case.bring(number, code=first)
    await case.bring(number, code=second)
    assert await case.change(enter(number, "a"), older(enter(number, "a"), first)) == [NOT_FOUND, "02"]
    assert await case.change(older(enter(number, "a"), second)) == ["REQUEST_ID_REUSED"]
    assert await case.change(older(enter(number, "b"), second), older(enter(number, "c"), first)) == [
        "02",
        "ALREADY_ENTERED",
    ]
    history = await case.subject.entries.history(case.tenant, number, first)
    assert history is not None
    assert [(item.code, item.number) for item in history] == [(first, number)]
    assert await case.subject.entries.history(case.tenant, number) is None


async def test_what_was_issued_here_and_imported_is_one_invoice(case: Case) -> None:
    issued = await case.issue()
    number = issued.number
    await case.bring(number, buyer_tax_id=issued.buyer_tax_id, verified=True)
    assert await case.change(enter(number, "a")) == ["02"]
    assert await case.subject.entries.booked([number]) == {number}
    assert await case.change(enter(number, "a"), tenant=case.bookkeeper) == ["ALREADY_ENTERED"]
    assert await case.change(withdraw(number, "b"), enter(number, "c")) == ["06", "02"]
    await case.subject.books.redden(number, -issued.gross_total_minor)
    assert await case.change(withdraw(number, "d"), enter(number, "e")) == ["06", "ALREADY_FULLY_RED"]


async def test_an_import_entered_before_its_number_was_issued_here_is_not_entered_again(case: Case) -> None:
    number, entries = new_number(), case.subject.entries
    issued = await case.issue()
    # in the order that the clock allows no test: the import is made to be of what will be issued
    await case.bring(number, buyer_tax_id=issued.buyer_tax_id)
    assert await case.change(enter(number, "a")) == ["02"]
    await _rename(case, issued.number, number)
    for tenant in (case.tenant, case.bookkeeper):  # the second has no import of it
        assert await case.change(enter(number, "b"), tenant=tenant) == ["ALREADY_ENTERED"]
        history = await entries.history(tenant, number, imported=tenant == case.tenant)
        assert history is not None
        assert [int(item.state) for item in history] == [2]
    assert await case.change(withdraw(number, "c"), enter(number, "d"), enter(number, "e")) == [
        "06",
        "02",
        "ALREADY_ENTERED",
    ]
    assert await entries.booked([number]) == {number}


async def test_another_taxpayers_issued_invoice_is_nobodys_import(case: Case) -> None:
    issued = await case.issue()
    await case.bring(issued.number, tenant_key=case.stranger, buyer_tax_id=case.stranger_id)
    assert await case.change(enter(issued.number, "a"), tenant=case.stranger) == [NOT_FOUND]
    for imported in (True, False):
        assert await case.subject.entries.history(case.stranger, issued.number, imported=imported) is None
    assert await case.change(enter(issued.number, "a")) == ["02"]


async def test_history_of_issued_invoices_alone(case: Case) -> None:
    number = new_number()
    await case.bring(number)
    assert await case.change(enter(number, "a")) == ["02"]
    assert await case.subject.entries.history(case.tenant, number, imported=False) is None


async def test_imported_reds_take_back_what_they_name(case: Case) -> None:
    partly, whole, booked = (new_number() for _ in range(3))
    for number in (partly, whole, booked):
        await case.bring(number)
    red: dict[str, object] = {"color": 2, "gross_total_minor": -113}
    await case.bring(new_number(), blue_number=partly, **red | {"gross_total_minor": -112})
    await case.bring(new_number(), blue_number=partly, seller_tax_id="another", **red)
    await case.bring(new_number(), blue_number=partly, tenant_key=case.stranger, buyer_tax_id=case.stranger_id, **red)
    half = new_number()
    for tenant in (case.tenant, case.bookkeeper):  # the same red twice is one
        await case.bring(half, blue_number=whole, tenant_key=tenant, **red | {"gross_total_minor": -60})
    assert await case.change(enter(whole, "1"), withdraw(whole, "2")) == ["02", "06"]
    other = new_number()
    await case.bring(other, blue_number=whole, tenant_key=case.bookkeeper, **red | {"gross_total_minor": -53})
    assert await case.change(enter(booked, "3")) == ["02"]
    last = await case.bring(new_number(), blue_number=booked, **red)
    answers = await case.change(
        enter(partly, "4"), enter(whole, "5"), withdraw(booked, "6"), enter(booked, "7"), enter(last.number, "8")
    )
    assert answers == ["02", "ALREADY_FULLY_RED", "06", "ALREADY_FULLY_RED", "02"]


async def test_of_fifty_at_once_by_two_tenants_one_wins(case: Case) -> None:
    number = new_number()
    await case.bring(number)
    await case.bring(number, tenant_key=case.bookkeeper)
    tenants = (case.tenant, case.bookkeeper)
    answers = await asyncio.gather(
        *(case.change(enter(number, f"racer {place}"), tenant=tenants[place % 2]) for place in range(RACERS))
    )
    assert sorted(answer for (answer,) in answers) == ["02"] + ["ALREADY_ENTERED"] * (RACERS - 1)
    history = await case.subject.entries.history(case.tenant, number)
    assert history is not None
    assert len(history) == 1


async def test_fifty_mixed_batches_in_any_order_enter_each_invoice_once(case: Case) -> None:
    numbers = sorted([(await case.issue()).number, *(new_number() for _ in range(3))])
    for number in numbers[1:]:
        await case.bring(number)

    def batch(place: int) -> list[Change]:
        order = numbers if place % 2 else numbers[::-1]
        return [enter(number, f"{place}/{number}") for number in order]

    answers: list[list[Entry | BillowError]] = await asyncio.gather(
        *(case.subject.entries.change(case.tenant, batch(place)) for place in range(RACERS))
    )
    entered = [answer.number for one in answers for answer in one if isinstance(answer, Entry)]
    assert sorted(entered) == numbers


async def test_one_request_id_for_an_import_and_an_issued_invoice_at_once_is_used_once(case: Case) -> None:
    numbers = [(await case.issue()).number, new_number()]
    await case.bring(numbers[1])
    answers = await asyncio.gather(*(case.change(enter(number, "one id")) for number in numbers * 5))
    flat = [answer for (answer,) in answers]
    assert sorted(flat) == ["02"] * 5 + ["REQUEST_ID_REUSED"] * 5


async def _rename(case: Case, old: str, new: str) -> None:
    """Gives an issued invoice another number, as if it had been issued only now."""
    if isinstance(case.subject, MemoryEntrySubject):
        tables = case.subject.books.tables
        tables.invoices[new] = tables.invoices.pop(old)
    else:
        assert isinstance(case.subject, MySQLEntrySubject)
        async with case.subject.books.primary.connection() as connection:
            await case.subject.books.primary.begin(connection)
            async with connection.cursor() as cursor:
                await cursor.execute("UPDATE invoices SET number = %s WHERE number = %s", (new, old))
            await connection.commit()

"""The contract of account entry: never twice, idempotent, only by proved buyers, history kept (P8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from core.domain.entry import Change, Entry, EntryState
from core.domain.errors import BillowError, Reason
from core.settings import load
from core.storage.ports import Issued
from stack import Stack
from tests.contract.entry_subjects import EntrySubject, MemoryEntrySubject, MySQLEntrySubject
from tests.contract.registry_subjects import issue, new_seller, new_tenant, now_us

DEDUCTIBLE, NOT_DEDUCTIBLE, WITHDRAWN = EntryState.DEDUCTIBLE, EntryState.NOT_DEDUCTIBLE, EntryState.WITHDRAWN
INVOICES = 4
RACERS = 50


@dataclass(frozen=True, slots=True)
class Case:
    """A subject with invoices, and a tenant that has proved the ids of all their buyers."""

    subject: EntrySubject
    tenant_key: int
    issued: list[Issued]

    @property
    def numbers(self) -> list[str]:
        return [item.number for item in self.issued]

    async def change(self, *changes: Change) -> list[Entry | BillowError]:
        return await self.subject.entries.change(self.tenant_key, changes)


@pytest.fixture(params=["memory", "mysql"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    subject: MemoryEntrySubject | MySQLEntrySubject = MemoryEntrySubject()
    if request.param == "mysql":
        stores: Stack = request.getfixturevalue("data_stores")
        subject = MySQLEntrySubject(load(stores.config_path).mysql)
    seller = await new_seller(subject.books.registry, (await new_tenant(subject.books.registry)).tenant_key)
    await subject.books.add_range(seller, 100)
    issued = await issue(subject.books, seller, [f"r{place}" for place in range(INVOICES)])
    buyer = await new_tenant(subject.books.registry)
    for item in issued:
        await subject.tax_ids.claim(buyer.tenant_key, item.buyer_tax_id, now_us=now_us())
        await subject.tax_ids.confirm(buyer.tenant_key, item.buyer_tax_id, now_us=now_us())
    yield Case(subject, buyer.tenant_key, issued)
    await subject.close()


def enter(number: str, request_id: str, state: EntryState = DEDUCTIBLE, period: int = 202611) -> Change:
    return Change(request_id, number, state, period, f"凭证 {request_id}")


def withdraw(number: str, request_id: str) -> Change:
    return Change(request_id, number, WITHDRAWN, 0, "")


def reasons(answers: list[Entry | BillowError]) -> list[str]:
    return [item.reason if isinstance(item, BillowError) else f"{int(item.state):02d}" for item in answers]


async def test_entered_withdrawn_and_entered_again_with_its_history(case: Case) -> None:
    number = case.numbers[0]
    assert await case.subject.entries.history(case.tenant_key, number) == []
    (first,) = await case.change(enter(number, "a"))
    (second,) = await case.change(withdraw(number, "b"))
    (third,) = await case.change(enter(number, "c", NOT_DEDUCTIBLE, 202612))
    history = await case.subject.entries.history(case.tenant_key, number)
    assert history == [first, second, third]
    assert [(item.version, int(item.state), item.period) for item in history] == [
        (1, 2, 202611),
        (2, 6, 202611),
        (3, 3, 202612),
    ]
    assert history[0].ledger_reference == "凭证 a"


async def test_what_is_entered_is_not_entered_again_and_tells_no_more_than_period_and_state(case: Case) -> None:
    number = case.numbers[0]
    await case.change(enter(number, "a"))
    (refused,) = await case.change(enter(number, "b", period=202701))
    assert isinstance(refused, BillowError)
    assert refused.reason is Reason.ALREADY_ENTERED
    assert refused.metadata == {"number": number, "state": "02", "period": "202611"}
    history = await case.subject.entries.history(case.tenant_key, number)
    assert history is not None
    assert len(history) == 1


async def test_what_is_not_entered_is_not_withdrawn(case: Case) -> None:
    number = case.numbers[0]
    assert reasons(await case.change(withdraw(number, "a"), enter(number, "b"), withdraw(number, "c"))) == [
        "NOT_ENTERED",
        "02",
        "06",
    ]
    assert reasons(await case.change(withdraw(number, "d"))) == ["NOT_ENTERED"]


async def test_a_batch_is_answered_item_by_item_in_order(case: Case) -> None:
    first, second, third, _ = case.numbers
    answers = await case.change(
        enter(third, "1"), enter(first, "2"), enter(third, "3"), enter("9" * 20, "4"), enter(second, "5")
    )
    assert reasons(answers) == ["02", "02", "ALREADY_ENTERED", "INVOICE_NOT_FOUND", "02"]
    assert await case.subject.entries.booked([*case.numbers, "9" * 20]) == {first, second, third}


async def test_a_known_request_gets_its_first_answer_and_another_body_is_refused(case: Case) -> None:
    number, other = case.numbers[:2]
    (first,) = await case.change(enter(number, "a"))
    await case.change(withdraw(number, "b"))
    assert await case.change(enter(number, "a")) == [first]
    assert reasons(await case.change(enter(number, "a", period=202701))) == ["REQUEST_ID_REUSED"]
    assert reasons(await case.change(enter(other, "a"))) == ["REQUEST_ID_REUSED"]
    assert reasons(await case.change(enter(other, "A"), enter(other, "A"))) == ["02", "02"]
    assert await case.subject.entries.booked(case.numbers) == {other}


async def test_request_ids_are_the_tenants_own(case: Case) -> None:
    stranger = await new_tenant(case.subject.books.registry)
    buyer = case.issued[0].buyer_tax_id
    await case.subject.tax_ids.claim(stranger.tenant_key, buyer, now_us=1)
    await case.subject.tax_ids.confirm(stranger.tenant_key, buyer, now_us=2)
    number = case.numbers[0]
    assert reasons(await case.change(enter(number, "a"))) == ["02"]
    answers = await case.subject.entries.change(stranger.tenant_key, [enter(number, "a")])
    assert reasons(answers) == ["ALREADY_ENTERED"]  # the invoice is entered once, whoever keeps the books


async def test_without_a_confirmed_proof_the_invoice_does_not_exist(case: Case) -> None:
    number, buyer = case.numbers[0], case.issued[0].buyer_tax_id
    stranger = (await new_tenant(case.subject.books.registry)).tenant_key
    entries, tax_ids = case.subject.entries, case.subject.tax_ids
    for claimed in (False, True):
        if claimed:
            await tax_ids.claim(stranger, buyer, now_us=1)
        assert reasons(await entries.change(stranger, [enter(number, "a")])) == ["INVOICE_NOT_FOUND"]
        assert await entries.history(stranger, number) is None
    await tax_ids.confirm(stranger, buyer, now_us=2)
    assert reasons(await entries.change(stranger, [enter(number, "a")])) == ["02"]
    await tax_ids.revoke(stranger, buyer)
    assert reasons(await entries.change(stranger, [withdraw(number, "b")])) == ["INVOICE_NOT_FOUND"]
    assert await entries.history(stranger, number) is None


async def test_a_fully_red_invoice_is_not_entered_but_withdrawn(case: Case) -> None:
    red, partly, booked, _ = case.numbers
    total = case.issued[0].gross_total_minor
    await case.change(enter(booked, "0"))
    await case.subject.books.redden(red, -total)
    await case.subject.books.redden(partly, 1 - total)
    await case.subject.books.redden(booked, -total)
    assert reasons(await case.change(enter(red, "1"), enter(partly, "2"), withdraw(booked, "3"))) == [
        "ALREADY_FULLY_RED",
        "02",
        "06",
    ]
    assert reasons(await case.change(enter(booked, "4"))) == ["ALREADY_FULLY_RED"]


async def test_of_fifty_at_once_one_wins(case: Case) -> None:
    number = case.numbers[0]
    answers = await asyncio.gather(*(case.change(enter(number, f"racer {place}")) for place in range(RACERS)))
    flat = [answer for (answer,) in answers]
    assert sorted(reasons(flat)) == ["02"] + ["ALREADY_ENTERED"] * (RACERS - 1)
    (winner,) = [answer for answer in flat if isinstance(answer, Entry)]
    assert await case.subject.entries.history(case.tenant_key, number) == [winner]


async def test_fifty_batches_in_any_order_enter_each_invoice_once(case: Case) -> None:
    def batch(place: int) -> list[Change]:
        order = case.numbers if place % 2 else case.numbers[::-1]
        return [enter(number, f"{place}/{number}") for number in order]

    answers = await asyncio.gather(*(case.change(*batch(place)) for place in range(RACERS)))
    entered = [answer.number for batch_answers in answers for answer in batch_answers if isinstance(answer, Entry)]
    assert sorted(entered) == case.numbers


async def test_the_same_request_fifty_times_at_once_is_one_change(case: Case) -> None:
    changes = [enter(case.numbers[0], "same")] + [enter(number, "same 2") for number in case.numbers[1:2]]
    answers = await asyncio.gather(*(case.change(*changes) for _ in range(RACERS)))
    assert all(answer == answers[0] for answer in answers)
    assert reasons(answers[0]) == ["02", "02"]


async def test_one_request_id_for_two_invoices_at_once_is_used_once(case: Case) -> None:
    changes = [enter(number, "one id") for number in case.numbers]
    answers = await asyncio.gather(*(case.change(change) for change in changes))
    assert sorted(reasons([answer for (answer,) in answers])) == ["02"] + ["REQUEST_ID_REUSED"] * (INVOICES - 1)


async def test_claims_are_listed_by_id_and_the_first_time_counts(case: Case) -> None:
    tax_ids = case.subject.tax_ids
    tenant_key = (await new_tenant(case.subject.books.registry)).tenant_key
    for tax_id in ("91110000000000003B", "91110000000000001A"):
        await tax_ids.claim(tenant_key, tax_id, now_us=5)
    claimed = await tax_ids.claim(tenant_key, "91110000000000001A", now_us=6)
    assert (claimed.claimed_at_us, claimed.confirmed_at_us) == (5, None)
    await tax_ids.confirm(tenant_key, "91110000000000001A", now_us=7)
    assert (await tax_ids.confirm(tenant_key, "91110000000000001A", now_us=8)).confirmed_at_us == 7
    listed = await tax_ids.tax_ids(tenant_key, after="", items_max=9)
    assert [item.tax_id for item in listed] == ["91110000000000001A", "91110000000000003B"]
    assert [item.tax_id for item in await tax_ids.tax_ids(tenant_key, after=listed[0].tax_id, items_max=9)] == [
        "91110000000000003B"
    ]
    with pytest.raises(BillowError) as raised:
        await tax_ids.confirm(tenant_key, "91110000000000009X", now_us=9)
    assert raised.value.reason is Reason.TAX_ID_NOT_PROVEN

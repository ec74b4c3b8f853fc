"""The red stores and their twins: P2 to P4 of red invoices, alone and racing; confirmation forms."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from collections.abc import AsyncIterator
from typing import Protocol

import pytest

from core.domain.entry import Change, Entry, EntryState
from core.domain.errors import Reason
from core.domain.kinds import InvoiceColor, LineType
from core.domain.red_letter import BlueLine, LineWish, RedExtent, Sums, Wish, decide
from core.settings import load
from core.storage.allocation import RangeState
from core.storage.entry_port import EntryStore, TaxIdStore
from core.storage.memory.entries import MemoryEntryStore, MemoryTaxIdStore
from core.storage.memory.imports import MemoryImportStore
from core.storage.memory.issuing import MemoryIssuingStore
from core.storage.memory.reader import MemoryInvoiceReader
from core.storage.memory.red_letter import MemoryFormStore, MemoryRedStore
from core.storage.memory.registry import MemoryRegistryStore
from core.storage.memory.tables import MemoryTables
from core.storage.mysql.entries import MySQLBookedInvoices, MySQLEntryStore
from core.storage.mysql.pool import Node, Primary
from core.storage.mysql.reader import PrimaryReader
from core.storage.mysql.red_forms import MySQLFormStore
from core.storage.mysql.red_letter import MySQLRedStore
from core.storage.mysql.tax_ids import MySQLTaxIdStore
from core.storage.ports import Answer, InvoiceReader, Issued
from core.storage.red_letter_port import Form, FormFilter, FormState, FormStore, RedDraft, RedShape, RedStore
from stack import Stack
from tests.contract.issuing_subjects import AWAY_WAIT_MS, GENERAL, MemorySubject, MySQLSubject, now_us
from tests.support.invoices import tax_id
from tests.support.issuing import LINE_NET, LINE_TAX, TestSeller

LINE = LINE_NET + LINE_TAX
BUYER = 4_000_000_000  # a tenant that no other test has
RED_OFFSET = 5 * 10**11  # red ranges lie behind the blue ones of a seller


class Subject(Protocol):
    reds: RedStore
    forms: FormStore
    reader: InvoiceReader

    async def seller(self, *, red_numbers: int = 1_000) -> TestSeller: ...
    async def blue(self, seller: TestSeller, request_id: str, *, lines: int = 3) -> Issued: ...
    async def book(self, blue: Issued) -> None: ...
    async def unbook(self, blue: Issued) -> None: ...
    def another(self) -> RedStore: ...
    async def close(self) -> None: ...


class Buyer:
    """Enters invoices and withdraws them as whoever they are issued to: red-lettering must see it."""

    def __init__(self, tax_ids: TaxIdStore, entries: EntryStore) -> None:
        self._tax_ids = tax_ids
        self._entries = entries

    async def book(self, blue: Issued) -> None:
        await self._tax_ids.claim(BUYER, blue.buyer_tax_id, now_us=1)
        await self._tax_ids.confirm(BUYER, blue.buyer_tax_id, now_us=1)
        await self._change(blue, EntryState.DEDUCTIBLE, 202601)

    async def unbook(self, blue: Issued) -> None:
        await self._change(blue, EntryState.WITHDRAWN, 0)

    async def _change(self, blue: Issued, state: EntryState, period: int) -> None:
        (entry,) = await self._entries.change(
            BUYER, [Change(f"{blue.number}-{period}", blue.number, state, period, "")]
        )
        assert isinstance(entry, Entry)


class Memory:
    def __init__(self) -> None:
        self._blues = MemorySubject()
        self._tables: MemoryTables = self._blues._tables
        self.reds: RedStore = self.another()
        self.forms: FormStore = MemoryFormStore(tables=self._tables, now_us=now_us)
        self.reader: InvoiceReader = MemoryInvoiceReader(tables=self._tables, registry=MemoryRegistryStore())
        tax_ids = MemoryTaxIdStore()
        self._buyer = Buyer(
            tax_ids, MemoryEntryStore(tables=self._tables, tax_ids=tax_ids, imports=MemoryImportStore(), now_us=now_us)
        )

    def another(self) -> RedStore:
        if not hasattr(self, "reds"):
            return MemoryRedStore(tables=self._tables, now_us=now_us, time_us=now_us)
        return self.reds

    async def seller(self, *, red_numbers: int = 1_000) -> TestSeller:
        seller = await self._blues.seller()
        start = 26 * 10**18 + seller.seller_key * 10**12 + RED_OFFSET
        if red_numbers:
            state = RangeState(range_id=10_000 + seller.seller_key, first_number=start, size=red_numbers, used=0)
            self._tables.red_ranges[seller.seller_key, GENERAL] = [state]
        return seller

    async def blue(self, seller: TestSeller, request_id: str, *, lines: int = 3) -> Issued:
        store: MemoryIssuingStore = self._blues.store
        (issued,) = await store.commit([seller.draft(request_id, lines=lines)])
        assert isinstance(issued, Issued)
        return issued

    async def book(self, blue: Issued) -> None:
        await self._buyer.book(blue)

    async def unbook(self, blue: Issued) -> None:
        await self._buyer.unbook(blue)

    async def close(self) -> None:
        pass


class MySQL:
    def __init__(self, stores: Stack) -> None:
        self._settings = load(stores.config_path).mysql
        self._blues = MySQLSubject(self._settings)
        self._nodes: list[Node] = []
        self.reds: RedStore = self.another()
        self.forms: FormStore = MySQLFormStore(primary=lambda: self._blues.primary)
        self.reader: InvoiceReader = PrimaryReader(primary=lambda: self._blues.primary)
        tax_ids = MySQLTaxIdStore(primary=lambda: self._blues.primary)
        self._buyer = Buyer(tax_ids, MySQLEntryStore(primary=lambda: self._blues.primary, now_us=now_us))

    def another(self) -> RedStore:
        node = Node(self._settings, self._settings.primary)
        self._nodes.append(node)
        primary = Primary(node)
        return MySQLRedStore(
            primary=lambda: primary, booked=MySQLBookedInvoices(), now_us=now_us, away_wait_ms=AWAY_WAIT_MS
        )

    async def seller(self, *, red_numbers: int = 1_000) -> TestSeller:
        seller = await self._blues.seller()
        start = 26 * 10**18 + seller.seller_key * 10**12 + RED_OFFSET
        if red_numbers:
            await self._blues.primary.rows(
                "INSERT INTO number_ranges (seller_key, kind, color, first_number, last_number, size, created_at_us)"
                " VALUES (%s, %s, 2, %s, %s, %s, 1)",
                (seller.seller_key, GENERAL, f"{start:020d}", f"{start + red_numbers - 1:020d}", red_numbers),
            )
        return seller

    async def blue(self, seller: TestSeller, request_id: str, *, lines: int = 3) -> Issued:
        (issued,) = await self._blues.store.commit([seller.draft(request_id, lines=lines)])
        assert isinstance(issued, Issued)
        return issued

    async def book(self, blue: Issued) -> None:
        await self._buyer.book(blue)

    async def unbook(self, blue: Issued) -> None:
        await self._buyer.unbook(blue)

    async def close(self) -> None:
        await self._blues.close()
        for node in self._nodes:
            node.drop()


@pytest.fixture(params=["memory", "mysql"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    made = Memory() if request.param == "memory" else MySQL(request.getfixturevalue("data_stores"))
    yield made
    await made.close()


def wish(blue: Issued, request_id: str, how: Wish, *, confirmation_id: str = "", selection: bytes = b"s") -> RedDraft:
    """A draft over an invoice of good_invoice's lines."""
    lines = [BlueLine(int(LineType.NORMAL), "2", "50.00", LINE_NET, LINE_TAX)] * (blue.gross_total_minor // LINE)
    seller = TestSeller(seller_key=blue.seller_key, tax_id=tax_id(1))

    def shape(sums: Sums) -> RedShape:
        parts = decide(blue.number, lines, sums, how, gross_prices=False)
        net, tax = -sum(part.net for part in parts), -sum(part.tax for part in parts)
        draft = dataclasses.replace(
            seller.draft(request_id),
            net_total_minor=net,
            tax_total_minor=tax,
            gross_total_minor=net + tax,
            buyer_tax_id=blue.buyer_tax_id,
        )
        return RedShape(parts, draft)

    digest = seller.draft(request_id).request_sha256[:-1] + bytes([how.extent])
    fixed = lambda sums: dataclasses.replace(  # noqa: E731
        (made := shape(sums)), draft=dataclasses.replace(made.draft, request_sha256=digest)
    )
    return RedDraft(
        seller_key=blue.seller_key,
        kind=blue.kind,
        request_id=request_id,
        request_sha256=digest,
        blue_number=blue.number,
        confirmation_id=confirmation_id,
        selection=selection,
        bytes_max=1_000,
        shape=fixed,
    )


def part(line: int = 0, *, gross: int) -> Wish:
    return Wish(int(RedExtent.LINES), (LineWish(line, gross=gross),))


WHOLE = Wish(int(RedExtent.WHOLE))


def told(answer: Answer) -> tuple[str, dict[str, str]]:
    return ("", {}) if isinstance(answer, Issued) else (answer.reason, answer.metadata)


async def red_total(subject: Subject, blue: Issued) -> int:
    return (await subject.reader.by_number((blue.number,)))[blue.number].red_total_minor


async def test_a_red_invoice_has_a_number_of_its_own_range_and_counts(subject: Subject) -> None:
    seller = await subject.seller()
    blue = await subject.blue(seller, "blue")
    first, second = await subject.reds.commit(
        [wish(blue, "r-1", part(gross=1_000)), wish(blue, "r-2", part(1, gross=2_000))]
    )
    assert isinstance(first, Issued)
    assert isinstance(second, Issued)
    assert (first.color, first.gross_total_minor, first.buyer_tax_id) == (
        int(InvoiceColor.RED),
        -1_000,
        blue.buyer_tax_id,
    )
    assert int(first.number) == 26 * 10**18 + seller.seller_key * 10**12 + RED_OFFSET
    assert int(second.number) == int(first.number) + 1
    assert await red_total(subject, blue) == -3_000
    sums = await subject.reds.taken(blue.number)
    assert {line: taken.gross for line, taken in sums.items()} == {0: 1_000, 1: 2_000}
    assert blue.number in await subject.reds.changed(since_us=first.issued_at_us - 10**6, after="", items_max=1_000)
    assert not await subject.reds.changed(since_us=await subject.reds.time_us() + 1, after="", items_max=1_000)
    assert isinstance(await subject.blue(seller, "after"), Issued), "blue numbers go on"


async def test_more_than_is_left_is_refused_and_told_what_is_left(subject: Subject) -> None:
    blue = await subject.blue(await subject.seller(), "blue")
    answers = await subject.reds.commit([wish(blue, "r-1", part(gross=LINE)), wish(blue, "r-2", WHOLE)])
    assert [told(answer)[0] for answer in answers] == ["", Reason.RED_EXCEEDS_REMAINDER]
    assert told(answers[1])[1]["remaining_minor"] == str(2 * LINE)
    await subject.reds.commit([wish(blue, "r-3", Wish(int(RedExtent.REMAINDER)))])
    (again,) = await subject.reds.commit([wish(blue, "r-4", WHOLE)])
    assert told(again) == (Reason.ALREADY_FULLY_RED, {"number": blue.number})
    assert await red_total(subject, blue) == -blue.gross_total_minor


async def test_a_repeat_gets_the_original_answer_and_another_body_none(subject: Subject) -> None:
    blue = await subject.blue(await subject.seller(), "blue")
    original = await subject.reds.commit([wish(blue, "r", WHOLE)])
    assert await subject.reds.commit([wish(blue, "r", WHOLE)]) == original
    answers = await subject.reds.commit([wish(blue, "r", part(gross=1)), wish(blue, "blue", WHOLE)])
    assert [told(answer)[0] for answer in answers] == [Reason.REQUEST_ID_REUSED] * 2
    assert await red_total(subject, blue) == -blue.gross_total_minor


async def test_fifty_racing_parts_never_exceed_the_invoice(subject: Subject) -> None:
    blue = await subject.blue(await subject.seller(), "blue", lines=1)
    stores = [subject.reds, subject.another()]
    share = 300  # of 11,300: 37 fit, 200 are left
    answers = await asyncio.gather(
        *(stores[task % 2].commit([wish(blue, f"r-{task}", part(gross=share))]) for task in range(50))
    )
    reasons = [told(answer[0]) for answer in answers]
    assert [reason for reason, _ in reasons].count("") == LINE // share
    refused = [metadata for reason, metadata in reasons if reason]
    assert refused == [{"number": blue.number, "remaining_minor": str(LINE % share), "line": "1"}] * len(refused)
    assert await red_total(subject, blue) == -(LINE // share) * share
    numbers = sorted(int(answer[0].number) for answer in answers if isinstance(answer[0], Issued))
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_racing_twins_issue_once(subject: Subject) -> None:
    blue = await subject.blue(await subject.seller(), "blue")
    stores = [subject.reds, subject.another()]
    answers = await asyncio.gather(*(stores[task % 2].commit([wish(blue, "r", WHOLE)]) for task in range(20)))
    assert len({answer[0].number for answer in answers if isinstance(answer[0], Issued)}) == 1
    assert all(isinstance(answer[0], Issued) for answer in answers)


async def test_batches_that_cross_do_not_hinder_each_other(subject: Subject) -> None:
    seller = await subject.seller()
    blues = [await subject.blue(seller, f"blue-{place}") for place in range(4)]
    stores = [subject.reds, subject.another()]

    def batch(task: int) -> list[RedDraft]:
        order = blues if task % 2 else blues[::-1]
        return [wish(blue, f"{task}-{blue.number}", part(task % 3, gross=100)) for blue in order]

    answers = await asyncio.gather(*(stores[task % 2].commit(batch(task)) for task in range(12)))
    assert all(isinstance(answer, Issued) for batch in answers for answer in batch)
    assert [await red_total(subject, blue) for blue in blues] == [-1_200] * 4


async def test_numbers_end(subject: Subject) -> None:
    blue = await subject.blue(await subject.seller(red_numbers=1), "blue")
    answers = await subject.reds.commit([wish(blue, f"r-{place}", part(gross=5)) for place in range(2)])
    assert [told(answer)[0] for answer in answers] == ["", Reason.NUMBER_RANGE_EXHAUSTED]
    assert await red_total(subject, blue) == -5
    other = await subject.blue(await subject.seller(red_numbers=0), "blue")
    (answer,) = await subject.reds.commit([wish(other, "r", WHOLE)])
    assert told(answer)[0] == Reason.NO_NUMBER_RANGE


def new_form(blue: Issued, state: FormState, **changes: object) -> Form:
    created = time.time_ns() // 1_000
    form = Form(
        confirmation_id=secrets.token_hex(16),
        tenant_key=blue.seller_key,
        request_id=secrets.token_hex(8),
        request_sha256=bytes(32),
        seller_key=blue.seller_key,
        seller_tax_id=tax_id(1),
        buyer_tax_id=blue.buyer_tax_id,
        blue_number=blue.number,
        selection=b"s",
        gross_total_minor=-1,
        made_by_buyer=False,
        state=int(state),
        red_number="",
        created_at_us=created,
        expires_at_us=created,
    )
    return dataclasses.replace(form, **changes)  # type: ignore[arg-type]


async def test_an_invoice_that_was_withdrawn_from_the_books_needs_no_form(subject: Subject) -> None:
    blue = await subject.blue(await subject.seller(), "blue")
    await subject.book(blue)
    assert await subject.reds.booked(blue.number)
    (answer,) = await subject.reds.commit([wish(blue, "r", part(gross=1))])
    assert told(answer)[0] == Reason.CONFIRMATION_REQUIRED
    await subject.unbook(blue)
    assert not await subject.reds.booked(blue.number)
    (answer,) = await subject.reds.commit([wish(blue, "r", part(gross=1))])
    assert isinstance(answer, Issued)


async def test_a_booked_invoice_needs_a_confirmed_form_that_says_the_same_and_is_used_once(subject: Subject) -> None:
    blue = await subject.blue(await subject.seller(), "blue")
    await subject.book(blue)
    (answer,) = await subject.reds.commit([wish(blue, "r", part(gross=5))])
    assert told(answer) == (Reason.CONFIRMATION_REQUIRED, {"number": blue.number})
    for state in FormState:
        if state is FormState.CONFIRMED:
            continue
        form = await subject.forms.create(new_form(blue, state))
        (answer,) = await subject.reds.commit([wish(blue, "r", part(gross=5), confirmation_id=form.confirmation_id)])
        assert told(answer)[0] == Reason.CONFIRMATION_NOT_USABLE, state
        assert told(answer)[1]["state"] == state.name
    form = await subject.forms.create(new_form(blue, FormState.CONFIRMED))
    name = form.confirmation_id
    (other,) = await subject.reds.commit([wish(blue, "r", part(gross=5), confirmation_id=name, selection=b"other")])
    assert told(other)[0] == Reason.CONFIRMATION_NOT_USABLE
    answers = await asyncio.gather(
        *(subject.reds.commit([wish(blue, f"r-{task}", part(gross=5), confirmation_id=name)]) for task in range(6))
    )
    assert sorted(told(answer[0])[0] for answer in answers) == [""] + [Reason.CONFIRMATION_NOT_USABLE] * 5
    used = await subject.forms.get(name)
    assert used is not None
    assert used.red_number in {answer[0].number for answer in answers if isinstance(answer[0], Issued)}
    assert not await subject.forms.move(name, state=4, to_state=9), "a used form is not withdrawn"
    (unknown,) = await subject.reds.commit([wish(blue, "x", part(gross=5), confirmation_id="0" * 32)])
    assert told(unknown)[0] == Reason.CONFIRMATION_NOT_FOUND


async def test_forms_are_made_once_listed_moved_and_voided(subject: Subject) -> None:
    blue = await subject.blue(await subject.seller(), "blue")
    forms = [new_form(blue, FormState.WAITING_FOR_BUYER, created_at_us=serial) for serial in (1, 1, 2)]
    for form in forms:
        assert await subject.forms.create(form) == form
    again = dataclasses.replace(forms[0], confirmation_id=secrets.token_hex(16))
    assert await subject.forms.create(again) == forms[0]
    found: list[Form] = []
    after = None
    while page := await subject.forms.list(
        FormFilter(seller_key=blue.seller_key, buyer_tax_id=None, state=0, after=after, items_max=1)
    ):
        found += page
        after = (page[-1].created_at_us, page[-1].confirmation_id)
    assert found == sorted(forms, key=lambda form: (form.created_at_us, form.confirmation_id))
    moves = (subject.forms.move(forms[2].confirmation_id, state=2, to_state=to) for to in (4, 5, 8))
    moved = await asyncio.gather(*moves)
    assert sorted(moved) == [False, False, True]
    later = await subject.forms.create(new_form(blue, FormState.WAITING_FOR_BUYER, expires_at_us=now_us() + 10**10))
    assert await subject.forms.expire(now_us=now_us() + 10**11, items_max=1_000) >= 2
    states = [(await subject.forms.get(form.confirmation_id)) for form in (*forms[:2], later)]
    assert [form.state for form in states if form] == [FormState.EXPIRED, FormState.EXPIRED, later.state]

"""Credit quotas in the issuing store and its twin: never exceeded, no gap, nothing counted twice (P2, P3)."""

from __future__ import annotations

import asyncio
import dataclasses

from core.domain.errors import BillowError, Reason
from core.domain.kinds import InvoiceKind
from core.storage.credit import month_of, month_start_us, month_text, next_month
from core.storage.ports import Answer, Draft, Issued, IssuingStore
from tests.contract.issuing_subjects import GENERAL, Subject, now_us
from tests.support.issuing import LINE_NET, TestSeller

SECOND_US = 1_000_000
SPECIAL = int(InvoiceKind.SPECIAL)


def reasons(answers: list[Answer]) -> list[str]:
    return ["" if isinstance(answer, Issued) else answer.reason for answer in answers]


def numbers(answers: list[Answer]) -> list[int]:
    return [int(answer.number) for answer in answers if isinstance(answer, Issued)]


def drafts(seller: TestSeller, name: str, *lines: int) -> list[Draft]:
    """Drafts of so many lines each; one line is LINE_NET."""
    return [seller.draft(f"{name}-{serial}", lines=count) for serial, count in enumerate(lines)]


def just_before(month: int, subject: Subject) -> None:
    """Moves the subject's clock to a second before the month."""
    subject.shift_us = month_start_us(month) - SECOND_US - now_us()


async def test_exactly_the_quota_may_be_issued(subject: Subject) -> None:
    seller = await subject.seller()
    await subject.quotas.set(seller.seller_key, 5 * LINE_NET)
    answers = await subject.store.commit(drafts(seller, "a", 2, 3))
    assert reasons(answers) == ["", ""]
    (refused,) = await subject.store.commit(drafts(seller, "b", 1))
    assert isinstance(refused, BillowError)
    assert refused.reason is Reason.CREDIT_QUOTA_EXCEEDED
    assert refused.metadata == {
        "month": month_text(month_of(now_us())),
        "quota_minor": str(5 * LINE_NET),
        "used_minor": str(5 * LINE_NET),
        "left_minor": "0",
    }
    quota = await subject.quotas.get(seller.seller_key)
    assert (quota.quota_minor, quota.used_minor, quota.left_minor) == (5 * LINE_NET, 5 * LINE_NET, 0)


async def test_what_is_refused_leaves_no_gap_and_a_smaller_one_may_still_fit(subject: Subject) -> None:
    seller = await subject.seller()
    other = await subject.seller()
    await subject.quotas.set(seller.seller_key, 6 * LINE_NET)
    batch = drafts(seller, "a", 4, 3, 2, 1)
    answers = await subject.store.commit([batch[0], other.draft("o"), *batch[1:]])
    assert reasons(answers) == ["", "", Reason.CREDIT_QUOTA_EXCEEDED, "", Reason.CREDIT_QUOTA_EXCEEDED]
    await subject.quotas.set(seller.seller_key, 100 * LINE_NET)
    later = await subject.store.commit(batch)
    got = sorted(numbers(later))
    assert got == list(range(got[0], got[0] + 4))
    assert [later[0], later[2]] == [answers[0], answers[3]]
    assert (await subject.quotas.get(seller.seller_key)).used_minor == 10 * LINE_NET


async def test_a_repeat_is_answered_and_does_not_count_again(subject: Subject) -> None:
    seller = await subject.seller()
    await subject.quotas.set(seller.seller_key, 4 * LINE_NET)
    batch = drafts(seller, "a", 2, 1)
    answers = await subject.store.commit(batch)
    assert await subject.store.commit(batch) == answers
    assert await subject.another_store().commit([*batch, seller.draft("more", lines=1)]) != answers
    assert (await subject.quotas.get(seller.seller_key)).used_minor == 4 * LINE_NET
    # the quota is used up: what was issued is still answered, in whatever company, and another body is told
    changed = dataclasses.replace(batch[0], request_sha256=bytes(32))
    mixed = await subject.store.commit([seller.draft("too much", lines=1), *batch, changed])
    assert reasons(mixed) == [Reason.CREDIT_QUOTA_EXCEEDED, "", "", Reason.REQUEST_ID_REUSED]
    assert mixed[1:3] == answers
    assert (await subject.quotas.get(seller.seller_key)).used_minor == 4 * LINE_NET


async def test_a_repeat_leaves_room_for_others(subject: Subject) -> None:
    seller = await subject.seller()
    await subject.quotas.set(seller.seller_key, 5 * LINE_NET)
    batch = drafts(seller, "a", 3)
    await subject.store.commit(batch)
    answers = await subject.store.commit([*batch, seller.draft("b", lines=2)])
    assert reasons(answers) == ["", ""]


async def test_many_racing_for_the_last_of_it(subject: Subject) -> None:
    sellers = [await subject.seller() for _ in range(2)]
    for seller in sellers:
        await subject.quotas.set(seller.seller_key, 21 * LINE_NET)
    stores = [subject.store, subject.another_store()]

    # each task has invoices of 1, 2, 1, 2 lines for each seller: in whatever order the tasks come, the fourth one fills
    # the quota with its first two
    async def run(store: IssuingStore, task: int) -> list[Answer]:
        places = [(seller, place) for place in range(4) for seller in sellers[:: 1 if task % 2 else -1]]
        wanted = [seller.draft(f"{task}-{place}", lines=1 + place % 2) for seller, place in places]
        return await store.commit(wanted)

    done = await asyncio.gather(*(run(stores[task % 2], task) for task in range(10)))
    answers = [answer for some in done for answer in some]
    assert set(reasons(answers)) == {"", Reason.CREDIT_QUOTA_EXCEEDED}
    for seller in sellers:
        issued = [item for item in answers if isinstance(item, Issued) and item.seller_key == seller.seller_key]
        assert sum(item.net_total_minor for item in issued) == 21 * LINE_NET
        assert (await subject.quotas.get(seller.seller_key)).used_minor == 21 * LINE_NET
        got = sorted(int(item.number) for item in issued)
        assert got == list(range(got[0], got[0] + len(got)))


async def test_kinds_share_the_quota_though_not_their_ranges(subject: Subject) -> None:
    seller = await subject.seller()
    await subject.add_range(seller, 1_000, kind=SPECIAL)
    await subject.quotas.set(seller.seller_key, 15 * LINE_NET)
    stores = [subject.store, subject.another_store()]

    async def run(task: int, kind: int) -> list[Answer]:
        answers: list[Answer] = []
        for turn in range(4):
            wanted = [seller.draft(f"{task}-{turn}-{place}", lines=1) for place in range(2)]
            answers += await stores[task % 2].commit([dataclasses.replace(draft, kind=kind) for draft in wanted])
        return answers

    done = await asyncio.gather(*(run(task, (GENERAL, SPECIAL)[task % 2]) for task in range(6)))
    issued = [item for answers in done for item in answers if isinstance(item, Issued)]
    assert {item.kind for item in issued} == {GENERAL, SPECIAL}
    assert sum(item.net_total_minor for item in issued) == 15 * LINE_NET
    assert (await subject.quotas.get(seller.seller_key)).used_minor == 15 * LINE_NET


async def test_switching_on_counts_what_was_issued_this_month(subject: Subject) -> None:
    seller = await subject.seller()
    just_before(next_month(month_of(now_us())), subject)
    subject.shift_us -= 7_200 * SECOND_US
    await subject.store.commit(drafts(seller, "last", 9))
    subject.shift_us += 7_300 * SECOND_US
    await subject.store.commit(drafts(seller, "this", 2))
    quota = await subject.quotas.set(seller.seller_key, 3 * LINE_NET)
    assert quota.used_minor == 2 * LINE_NET
    assert reasons(await subject.store.commit(drafts(seller, "a", 2, 1))) == [Reason.CREDIT_QUOTA_EXCEEDED, ""]


async def test_no_invoice_slips_past_a_quota_that_is_switched_on(subject: Subject) -> None:
    seller = await subject.seller()
    stores = [subject.store, subject.another_store()]
    answered: list[Answer] = []

    async def issue(task: int) -> None:
        for turn in range(12):
            answered.extend(await stores[task % 2].commit([seller.draft(f"{task}-{turn}", lines=1)]))

    async def switch_on() -> None:
        await asyncio.sleep(0.02)
        quota = await subject.quotas.set(seller.seller_key, 0)
        assert quota.used_minor >= LINE_NET * len(numbers(answered)), "counted after the answers were given"
        before = len(numbers(await stores[1].commit([seller.draft("after", lines=1)])))
        assert before == 0

    await asyncio.gather(*(issue(task) for task in range(4)), switch_on())
    total = sum(item.net_total_minor for item in answered if isinstance(item, Issued))
    assert (await subject.quotas.get(seller.seller_key)).used_minor == total


async def test_a_month_begins_at_midnight_where_the_seller_is(subject: Subject) -> None:
    seller = await subject.seller()
    month = next_month(month_of(now_us()))
    just_before(month, subject)
    await subject.quotas.set(seller.seller_key, 2 * LINE_NET)
    assert reasons(await subject.store.commit(drafts(seller, "a", 2, 1))) == ["", Reason.CREDIT_QUOTA_EXCEEDED]
    subject.shift_us += 2 * SECOND_US
    quota = await subject.quotas.get(seller.seller_key)
    assert (quota.month, quota.used_minor) == (month, 0)
    answers = await subject.store.commit(drafts(seller, "b", 1, 1, 1))
    assert reasons(answers) == ["", "", Reason.CREDIT_QUOTA_EXCEEDED]
    subject.shift_us -= 2 * SECOND_US
    assert (await subject.quotas.get(seller.seller_key)).used_minor == 2 * LINE_NET


async def test_lowered_below_what_is_used(subject: Subject) -> None:
    seller = await subject.seller()
    await subject.quotas.set(seller.seller_key, 5 * LINE_NET)
    await subject.store.commit(drafts(seller, "a", 4))
    quota = await subject.quotas.set(seller.seller_key, 2 * LINE_NET)
    assert (quota.used_minor, quota.left_minor) == (4 * LINE_NET, 0)
    assert reasons(await subject.store.commit(drafts(seller, "b", 1))) == [Reason.CREDIT_QUOTA_EXCEEDED]


async def test_cleared_and_switched_on_again(subject: Subject) -> None:
    seller = await subject.seller()
    await subject.quotas.set(seller.seller_key, LINE_NET)
    await subject.store.commit(drafts(seller, "a", 1))
    quota = await subject.quotas.clear(seller.seller_key)
    assert (quota.quota_minor, quota.used_minor) == (None, 0)
    assert await subject.quotas.clear(seller.seller_key) == quota
    assert reasons(await subject.store.commit(drafts(seller, "b", 7))) == [""]
    assert (await subject.quotas.set(seller.seller_key, LINE_NET)).used_minor == 8 * LINE_NET


async def test_a_quota_and_ranges_that_end(subject: Subject) -> None:
    seller = await subject.seller(ranges=(2, 2))
    await subject.quotas.set(seller.seller_key, 4 * LINE_NET)
    answers = await subject.store.commit(drafts(seller, "a", 2, 3, 1))
    assert reasons(answers) == ["", Reason.CREDIT_QUOTA_EXCEEDED, ""]
    assert reasons(await subject.store.commit(drafts(seller, "b", 1))) == [""]
    assert reasons(await subject.store.commit(drafts(seller, "c", 1))) == [Reason.CREDIT_QUOTA_EXCEEDED]

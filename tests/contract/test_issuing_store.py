"""The issuing store and its twin: numbering, idempotency, shortage (P2, P3, P11)."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time

import pytest

from core.domain.errors import Reason
from core.storage.block import numbers, unpack
from core.storage.ports import Answer, Draft, Issued, IssuingStore
from tests.contract.issuing_subjects import Subject

HOSTILE = ("'", '"', "\\", "\\'", "a'; DROP TABLE invoices; --", "%s %(x)s", "a", "a ", "A", "/*", "x" * 64)


def issued(answers: list[Answer]) -> list[Issued]:
    good = [answer for answer in answers if isinstance(answer, Issued)]
    assert len(good) == len(answers), answers
    return good


def reasons(answers: list[Answer]) -> list[str]:
    return ["" if isinstance(answer, Issued) else answer.reason for answer in answers]


def other_body(draft: Draft) -> Draft:
    return dataclasses.replace(draft, request_sha256=bytes(32))


async def test_numbers_follow_each_other(subject: Subject) -> None:
    seller = await subject.seller()
    first = issued(await subject.store.commit([seller.draft(f"a-{serial}") for serial in range(5)]))
    second = issued(await subject.store.commit([seller.draft(f"b-{serial}") for serial in range(5)]))
    start = int(first[0].number)
    assert [int(item.number) for item in first + second] == list(range(start, start + 10))
    assert first[0].issued_at_us <= second[0].issued_at_us


async def test_the_answer_stands_beside_its_question(subject: Subject) -> None:
    sellers = [await subject.seller() for _ in range(3)]
    drafts = [sellers[serial % 3].draft(f"r-{serial}", lines=1 + serial % 4) for serial in range(30)]
    answers = issued(await subject.store.commit(drafts))
    for draft, answer in zip(drafts, answers, strict=True):
        assert (answer.seller_key, answer.request_id) == (draft.seller_key, draft.request_id)
        assert answer.gross_total_minor == draft.gross_total_minor


async def test_a_repeat_gets_the_original_answer(subject: Subject) -> None:
    seller = await subject.seller()
    drafts = [seller.draft(f"r-{serial}") for serial in range(4)]
    answers = await subject.store.commit(drafts)
    assert await subject.store.commit(drafts) == answers
    assert await subject.store.commit([*drafts, seller.draft("r-4")][::-1]) != answers
    assert (await subject.store.commit([drafts[2]])) == [answers[2]]


async def test_a_repeat_is_told_from_what_is_new(subject: Subject) -> None:
    seller = await subject.seller()
    drafts = [seller.draft("r-0"), seller.draft("r-1")]
    await subject.store.commit(drafts[:1])
    answers = await subject.store.commit([*drafts, drafts[1]])
    assert [isinstance(answer, Issued) and answer.repeated for answer in answers] == [True, False, False]


async def test_a_request_id_with_another_body_is_refused_and_changes_nothing(subject: Subject) -> None:
    seller = await subject.seller()
    draft = seller.draft("r")
    original = await subject.store.commit([draft])
    answers = await subject.store.commit([other_body(draft), seller.draft("next")])
    assert reasons(answers) == [Reason.REQUEST_ID_REUSED, ""]
    assert int(issued([answers[1]])[0].number) == int(issued(original)[0].number) + 1
    assert await subject.store.commit([draft]) == original


async def test_twins_in_one_commit(subject: Subject) -> None:
    seller = await subject.seller()
    draft = seller.draft("r")
    answers = await subject.store.commit([draft, draft, other_body(draft)])
    assert answers[0] == answers[1]
    assert reasons(answers) == ["", "", Reason.REQUEST_ID_REUSED]


async def test_simultaneous_repeats_issue_once(subject: Subject) -> None:
    seller = await subject.seller()
    answers = await asyncio.gather(
        *(subject.store.commit([seller.draft("same"), seller.draft(f"own-{task}")]) for task in range(20))
    )
    assert len({issued([answer[0]])[0].number for answer in answers}) == 1
    own = sorted(int(issued([answer[1]])[0].number) for answer in answers)
    everyone = sorted({*own, int(issued([answers[0][0]])[0].number)})
    assert everyone == list(range(everyone[0], everyone[0] + 21))


async def test_the_next_range_is_taken_when_one_ends(subject: Subject) -> None:
    seller = await subject.seller(ranges=(3, 2, 10))
    answers = issued(await subject.store.commit([seller.draft(f"r-{serial}") for serial in range(8)]))
    got = [int(item.number) for item in answers]
    assert [b - a for a, b in itertools.pairwise(got)] == [1, 1, got[3] - got[2], 1, got[5] - got[4], 1, 1]
    assert got[3] - got[2] > 1
    assert got[5] - got[4] > 1


async def test_many_tiny_ranges(subject: Subject) -> None:
    seller = await subject.seller(ranges=(1,) * 30)
    answers = await subject.store.commit([seller.draft(f"r-{serial}") for serial in range(31)])
    assert reasons(answers) == [""] * 30 + [Reason.NUMBER_RANGE_EXHAUSTED]


async def test_a_used_up_range(subject: Subject) -> None:
    seller = await subject.seller(ranges=(3,))
    drafts = [seller.draft(f"r-{serial}") for serial in range(5)]
    answers = await subject.store.commit(drafts)
    assert reasons(answers) == ["", "", "", Reason.NUMBER_RANGE_EXHAUSTED, Reason.NUMBER_RANGE_EXHAUSTED]
    assert await subject.store.commit(drafts[:3]) == answers[:3], "a repeat is answered though no number is left"
    await subject.add_range(seller, 2)
    assert reasons(await subject.store.commit(drafts[3:])) == ["", ""]


async def test_no_range(subject: Subject) -> None:
    without = await subject.seller(ranges=())
    seller = await subject.seller()
    answers = await subject.store.commit([without.draft("r"), seller.draft("r")])
    assert reasons(answers) == [Reason.NO_NUMBER_RANGE, ""]


@pytest.mark.parametrize("request_id", HOSTILE)
async def test_request_ids_are_kept_byte_for_byte(subject: Subject, request_id: str) -> None:
    seller = await subject.seller()
    answers = issued(
        await subject.store.commit([seller.draft(request_id), seller.draft(request_id + "2"[: 64 - len(request_id)])])
    )
    assert answers[0].request_id == request_id
    assert issued(await subject.store.commit([seller.draft(request_id)])) == answers[:1]


async def test_ids_that_differ_in_case_or_blanks_are_different(subject: Subject) -> None:
    seller = await subject.seller()
    answers = issued(await subject.store.commit([seller.draft(name) for name in ("a", "A", "a ", " a")]))
    assert len({item.number for item in answers}) == 4


async def test_the_batch_holds_the_bodies(subject: Subject) -> None:
    seller = await subject.seller(ranges=(2, 10))
    drafts = [seller.draft(f"r-{serial}", lines=1 + serial) for serial in range(4)]
    answers = issued(await subject.store.commit(drafts))
    batch = await subject.batch_of(answers[0].number)
    assert batch.block is not None
    assert unpack(batch.block).bodies == [draft.prepared for draft in drafts]
    assert unpack(batch.block).request_ids == [draft.request_id for draft in drafts]
    assert numbers(batch.runs) == [item.number for item in answers]
    assert batch.issued_at_us == answers[0].issued_at_us


async def test_concurrent_commits_leave_no_gap(subject: Subject) -> None:
    sellers = [await subject.seller(ranges=(70, 500)) for _ in range(3)]

    async def run(store: IssuingStore, task: int) -> list[Issued]:
        done: list[Issued] = []
        for turn in range(5):
            drafts = [sellers[(task + place) % 3].draft(f"{task}-{turn}-{place}") for place in range(7)]
            done += issued(await store.commit(drafts))
        return done

    stores = [subject.store, subject.another_store()]
    everything = [
        item for batch in await asyncio.gather(*(run(stores[task % 2], task) for task in range(8))) for item in batch
    ]
    for seller in sellers:
        got = sorted(int(item.number) for item in everything if item.seller_key == seller.seller_key)
        assert len(got) == len(set(got))
        expected = [number for start, size in await subject.ranges(seller) for number in range(start, start + size)]
        assert got == expected[: len(got)]


async def test_the_clock_is_asked_inside_the_transaction(subject: Subject) -> None:
    seller = await subject.seller()
    before = time.time_ns() // 1_000
    (answer,) = issued(await subject.store.commit([seller.draft("r")]))
    assert before <= answer.issued_at_us <= time.time_ns() // 1_000

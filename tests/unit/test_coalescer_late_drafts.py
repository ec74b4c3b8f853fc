"""Single calls' drafts are made when their commit begins: errors, faults of ours, callers that left, and the bound."""

from __future__ import annotations

import asyncio

import pytest

from core import limits
from core.domain.errors import BillowError, Reason
from core.storage.ports import Answer, Draft
from tests.unit.test_coalescer import Bench, bench, draft, issued, settle

__all__ = ["bench"]

WRONG = BillowError(Reason.INVALID_INVOICE, "the invoice breaks 1 rule")


class Maker:
    """Makes a draft, or an error, and counts how often it was asked."""

    def __init__(self, made: Draft | BillowError | Exception) -> None:
        self.asked = 0
        self._made = made

    def __call__(self) -> Draft | BillowError:
        self.asked += 1
        if isinstance(self._made, Exception) and not isinstance(self._made, BillowError):
            raise self._made
        return self._made


def begin(bench: Bench, maker: Maker, *, lines: int = 3, deadline_s: float | None = None) -> asyncio.Task[Answer]:
    place = bench.lane.admit(1, tenant_key=1, deadline_s=deadline_s)
    return asyncio.create_task(bench.lane.issue_one(maker, place, lines=lines))


async def test_a_draft_is_made_once_and_not_before_its_commit(bench: Bench) -> None:
    first = begin(bench, Maker(draft(0)))
    await settle()
    maker = Maker(draft(1))
    second = begin(bench, maker)
    await settle()
    assert maker.asked == 0  # the commit before is under way
    bench.store.gate.set()
    numbers = [issued(answer).number for answer in await asyncio.gather(first, second)]
    assert maker.asked == 1
    assert len(set(numbers)) == 2
    assert bench.store.sizes == [1, 1]
    assert bench.admission.items == 0


async def test_an_error_is_its_own_calls_answer_and_takes_no_number(bench: Bench) -> None:
    first = begin(bench, Maker(draft(0)))
    await settle()
    crowd = [begin(bench, Maker(WRONG if serial == 3 else draft(serial))) for serial in range(1, 6)]
    await settle()
    bench.store.gate.set()
    answers = await asyncio.gather(first, *crowd)
    assert answers[3] is WRONG
    assert bench.store.sizes == [1, 4]
    assert sorted(int(number) % 1_000 for number in bench.tables.invoices) == list(range(5))  # no gap (P3)
    assert bench.admission.items == 0


async def test_a_fault_of_ours_ends_its_own_call_only(bench: Bench) -> None:
    first = begin(bench, Maker(draft(0)))
    await settle()
    faulty, good = begin(bench, Maker(ZeroDivisionError("ours"))), begin(bench, Maker(draft(2)))
    await settle()
    bench.store.gate.set()
    with pytest.raises(ZeroDivisionError):
        await faulty
    assert issued(await good).request_id == "order-2"
    assert issued(await first).request_id == "order-0"
    assert bench.admission.items == 0


async def test_what_nobody_waits_for_any_more_is_not_even_made(bench: Bench) -> None:
    first = begin(bench, Maker(draft(0)))
    await settle()
    left, late = Maker(draft(1)), Maker(draft(2))
    leaving, waiting = begin(bench, left), begin(bench, late, deadline_s=bench.now_s + 5)
    await settle()
    leaving.cancel()
    bench.now_s += 5
    bench.store.gate.set()
    answer = await waiting
    assert isinstance(answer, BillowError)
    assert answer.reason is Reason.DEADLINE_EXCEEDED
    await first
    assert (left.asked, late.asked) == (0, 0)
    assert bench.admission.items == 0


async def test_no_more_are_made_at_once_than_the_loop_can_spare(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MADE_LINES_MAX", 30)
    first = begin(bench, Maker(draft(0)))
    await settle()
    wrong = [begin(bench, Maker(WRONG)) for _ in range(25)]
    good = [begin(bench, Maker(draft(serial))) for serial in range(1, 16)]
    await settle()
    bench.store.gate.set()
    assert set(await asyncio.gather(*wrong)) == {WRONG}
    assert len({issued(answer).number for answer in await asyncio.gather(first, *good)}) == 16
    assert bench.store.sizes == [1, 5, 10]
    assert bench.admission.items == 0


async def test_long_invoices_are_made_fewer_at_once(bench: Bench) -> None:
    first = begin(bench, Maker(draft(0)))
    await settle()
    long = [begin(bench, Maker(draft(serial)), lines=limits.MADE_LINES_MAX // 2) for serial in range(1, 6)]
    await settle()
    bench.store.gate.set()
    assert len({issued(answer).number for answer in await asyncio.gather(first, *long)}) == 6
    assert bench.store.sizes == [1, 2, 2, 1]


async def test_closing_makes_and_issues_what_was_accepted() -> None:
    bench = Bench()
    waiting = [begin(bench, Maker(draft(serial))) for serial in range(20)]
    await settle()
    closing = asyncio.create_task(bench.lane.close())
    await settle()
    with pytest.raises(BillowError) as refused:
        begin(bench, Maker(draft(99)))
    assert refused.value.reason is Reason.SHUTTING_DOWN
    bench.store.gate.set()
    await closing
    assert len({issued(answer).number for answer in await asyncio.gather(*waiting)}) == 20

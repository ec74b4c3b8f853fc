"""The comparison of a chaos run finds what was planted: a loss, a duplicate, a gap, a wrong answer (P1 to P4, P6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos import compare
from tests.chaos.compare import DUPLICATED, GAP, LOST, WRONG, Breach
from tests.chaos.facts import Facts, Stored, StoredRange
from tests.chaos.ledger import Answer, Intent, Item

SELLER = "t/s"
FIRST = 26 * 10**18


def stored(place: int, **other: Any) -> Stored:
    row = Stored(
        seller=SELLER,
        number=f"{FIRST + place:020d}",
        request=f"r{place}",
        color=1,
        gross=100 + place,
        digest=f"d{place}",
    )
    return replace(row, **other)


def asked(place: int, *, op: str = "issue", answered: str = "ok", **other: Any) -> Item:
    intent = Intent(
        item=place,
        call=place,
        at=float(place),
        op=op,
        seller=SELLER,
        request=f"r{place}",
        gross=100 + place,
        number=f"{FIRST + place:020d}" if op != "issue" else "",
    )
    answer = Answer(
        of=place,
        at=place + 0.5,
        what=answered,
        number=f"{FIRST + place:020d}",
        gross=100 + place,
        digest=f"d{place}",
        answer=f"a{place}",
    )
    return Item("client-1", intent, replace(answer, **other))


def facts(rows: list[Stored], *, used: int | None = None) -> Facts:
    found = Facts(primary="mysql-1", nodes={"mysql-1": rows, "mysql-2": list(rows)})
    found.ranges = [StoredRange(SELLER, 1, FIRST, FIRST + 999, len(rows) if used is None else used)]
    for row in rows:
        found.archived[row.number].append(row.digest)
    return found


ROWS = [stored(place) for place in range(5)]
ITEMS = [asked(place) for place in range(5)]


def kinds(breaches: list[Breach]) -> list[str]:
    return [breach.kind for breach in breaches]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    found = facts(ROWS)
    assert compare.issued(ITEMS, found) == []
    assert compare.ranges(found) == []
    assert compare.nodes(found) == []
    assert compare.archive(found) == []
    assert compare.reads(ITEMS) == []


def test_an_acknowledged_invoice_that_is_gone() -> None:
    (breach,) = compare.issued(ITEMS, facts(ROWS[:-1]))
    assert (breach.kind, breach.promise, breach.at) == (LOST, "P1", 4.5)


def test_an_acknowledged_number_that_another_one_took() -> None:
    rows = [*ROWS[:-1], stored(4, number=f"{FIRST + 77:020d}")]
    assert kinds(compare.issued(ITEMS, facts(rows))) == [LOST]


def test_a_request_that_made_two_invoices() -> None:
    rows = [*ROWS, stored(5, request="r4", gross=104)]
    assert DUPLICATED in kinds(compare.issued(ITEMS, facts(rows)))


def test_a_number_given_to_two_requests() -> None:
    items = [*ITEMS[:-1], asked(4, number=ROWS[3].number)]
    assert DUPLICATED in kinds(compare.issued(items, facts(ROWS)))


@pytest.mark.parametrize(
    ("change", "promise"), [({"digest": "other"}, "P4"), ({"gross": 7}, "P2")], ids=["digest", "total"]
)
def test_an_invoice_that_is_not_the_acknowledged_one(change: dict[str, Any], promise: str) -> None:
    found = compare.issued(ITEMS, facts([*ROWS[:-1], stored(4, **change)]))
    assert [(breach.kind, breach.promise) for breach in found] == [(WRONG, promise)]


def test_an_answer_with_another_total() -> None:
    assert kinds(compare.issued([*ITEMS[:-1], asked(4, gross=1)], facts(ROWS))) == [WRONG]


def test_a_replay_that_is_answered_otherwise() -> None:
    assert kinds(compare.issued([*ITEMS, asked(4, answer="another")], facts(ROWS))) == [WRONG]


def test_a_request_without_any_answer_in_the_end() -> None:
    assert kinds(compare.issued([*ITEMS[:-1], asked(4, answered="UNAVAILABLE")], facts(ROWS))) == [WRONG]
    assert compare.issued([*ITEMS[:-1], asked(4, answered="UNAVAILABLE"), asked(4)], facts(ROWS)) == []


def test_an_invoice_nobody_asked_for() -> None:
    assert kinds(compare.issued(ITEMS[:-1], facts(ROWS))) == [WRONG]


def test_a_refusal_of_the_same_body_as_another() -> None:
    items = [*ITEMS, asked(4, answered=compare.REUSED)]
    assert kinds(compare.issued(items, facts(ROWS))) == [WRONG]
    other = replace(items[-1], intent=replace(items[-1].intent, gross=9, variant=1))
    assert compare.issued([*ITEMS, other], facts(ROWS)) == []


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (facts([row for row in ROWS if row is not ROWS[2]], used=5), GAP),
        (facts(ROWS, used=6), GAP),
        (facts([*ROWS, stored(5, number=ROWS[4].number)]), DUPLICATED),
        (facts([*ROWS, stored(5, number=f"{FIRST + 5_000:020d}")], used=5), WRONG),
    ],
    ids=["missing", "used and not there", "twice", "outside"],
)
def test_numbers_that_are_not_consecutive(found: Facts, kind: str) -> None:
    assert kind in kinds(compare.ranges(found))


def lose(found: Facts) -> None:
    found.nodes["mysql-2"].pop()


def resurface(found: Facts) -> None:
    found.nodes["mysql-2"].append(stored(5))


def alter(found: Facts) -> None:
    found.nodes["mysql-2"][0] = stored(0, digest="other")


@pytest.mark.parametrize(
    ("damage", "kind"), [(lose, LOST), (resurface, WRONG), (alter, WRONG)], ids=["lost", "resurfaced", "altered"]
)
def test_a_node_that_has_other_invoices(damage: Callable[[Facts], None], kind: str) -> None:
    found = facts(ROWS)
    damage(found)
    assert kinds(compare.nodes(found)) == [kind]


def test_the_archive_lacks_one_or_has_it_twice_or_another_one() -> None:
    found = facts(ROWS)
    del found.archived[ROWS[0].number]
    found.archived[ROWS[1].number].append("d1")
    found.archived[ROWS[2].number] = ["other"]
    found.archived["9" * 20].append("d9")
    assert sorted(kinds(compare.archive(found))) == sorted([LOST, DUPLICATED, WRONG, WRONG])
    waiting = facts(ROWS)
    waiting.waiting_batches = 1
    assert kinds(compare.archive(waiting)) == [LOST]


def test_an_entry_that_is_not_in_the_books() -> None:
    found = facts(ROWS)
    assert kinds(compare.entries([asked(1, op="enter")], found)) == [LOST]
    found.entered.add(ROWS[1].number)
    assert compare.entries([asked(1, op="enter")], found) == []
    assert kinds(compare.entries([asked(1, op="enter"), asked(1, op="enter", answer="other")], found)) == [WRONG]


@pytest.mark.parametrize(
    "change", [{"digest": "x"}, {"answer": "x"}, {"gross": 1}, {"what": "INVOICE_NOT_FOUND"}], ids=str
)
def test_a_read_that_is_not_what_was_acknowledged(change: dict[str, Any]) -> None:
    right = asked(1, op="get", answer="d1")
    assert compare.reads([*ITEMS, right]) == []
    assert right.answer is not None
    wrong = replace(right, answer=replace(right.answer, **change))
    assert kinds(compare.reads([*ITEMS, wrong])) == [WRONG]

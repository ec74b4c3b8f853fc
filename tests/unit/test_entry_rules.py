"""Account entry: which changes are lawful, and what is refused of their fields. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import pytest

from billow.entry.v1 import entry_pb2
from core import limits
from core.domain.entry import Change, Entry, EntryState, absent, answer_known, decide, faults
from core.domain.entry_subject import Found, import_key
from core.domain.errors import BillowError, Reason

NUMBER = "26310000000000000001"
CODE = "144031900111"
NOT_ENTERED, DEDUCTIBLE, NOT_DEDUCTIBLE, WITHDRAWN = EntryState


def present(state: EntryState, version: int = 3) -> Entry:
    return absent(NUMBER) if state == NOT_ENTERED else Entry(NUMBER, state, 202611, "记-1", version, 5)


def change(state: EntryState, period: int = 202612) -> Change:
    return Change("r", NUMBER, state, 0 if state == WITHDRAWN else period, "记-2")


def outcome(before: Entry, wanted: Change, *, fully_red: bool = False) -> str:
    made = decide(before, wanted, fully_red=fully_red, now_us=9)
    if isinstance(made, BillowError):
        return made.reason
    assert (made.number, made.version, made.changed_at_us) == (NUMBER, before.version + 1, 9)
    return f"{int(made.state):02d} {made.period} {made.ledger_reference}"


@pytest.mark.parametrize(
    ("before", "wanted", "normal", "red"),
    [
        (NOT_ENTERED, DEDUCTIBLE, "02 202612 记-2", "ALREADY_FULLY_RED"),
        (NOT_ENTERED, NOT_DEDUCTIBLE, "03 202612 记-2", "ALREADY_FULLY_RED"),
        (NOT_ENTERED, WITHDRAWN, "NOT_ENTERED", "NOT_ENTERED"),
        (DEDUCTIBLE, DEDUCTIBLE, "ALREADY_ENTERED", "ALREADY_ENTERED"),
        (DEDUCTIBLE, NOT_DEDUCTIBLE, "ALREADY_ENTERED", "ALREADY_ENTERED"),
        (DEDUCTIBLE, WITHDRAWN, "06 202611 记-2", "06 202611 记-2"),
        (NOT_DEDUCTIBLE, DEDUCTIBLE, "ALREADY_ENTERED", "ALREADY_ENTERED"),
        (NOT_DEDUCTIBLE, WITHDRAWN, "06 202611 记-2", "06 202611 记-2"),
        (WITHDRAWN, DEDUCTIBLE, "02 202612 记-2", "ALREADY_FULLY_RED"),
        (WITHDRAWN, WITHDRAWN, "NOT_ENTERED", "NOT_ENTERED"),
    ],
)
def test_every_change_of_every_state(before: EntryState, wanted: EntryState, normal: str, red: str) -> None:
    assert outcome(present(before), change(wanted)) == normal
    assert outcome(present(before), change(wanted), fully_red=True) == red


def test_changes_of_one_invoice_are_bounded_and_the_last_one_can_be_withdrawn() -> None:
    full = present(WITHDRAWN, version=limits.ENTRY_CHANGES_MAX)
    assert outcome(full, change(DEDUCTIBLE)) == "INVALID_REQUEST"
    assert outcome(present(DEDUCTIBLE, version=limits.ENTRY_CHANGES_MAX - 1), change(WITHDRAWN)).startswith("06")


def test_a_repeat_is_told_from_a_reuse_by_every_field() -> None:
    first, made = change(DEDUCTIBLE), present(DEDUCTIBLE)
    assert answer_known(first, change(DEDUCTIBLE).sha256(), made) is made
    others = [
        change(NOT_DEDUCTIBLE),
        change(DEDUCTIBLE, 202701),
        Change("r", NUMBER[::-1], DEDUCTIBLE, 202612, "记-2"),
        Change("r", NUMBER, DEDUCTIBLE, 202612, "记-3"),
        Change("r", NUMBER, DEDUCTIBLE, 202612, "记-2", CODE),
    ]
    for other in others:
        refused = answer_known(other, first.sha256(), made)
        assert isinstance(refused, BillowError)
        assert refused.reason is Reason.REQUEST_ID_REUSED


@pytest.mark.parametrize(
    ("period", "rule"),
    [
        (0, "REQUIRED"),
        (202600, "PERIOD_FORM"),
        (202613, "PERIOD_FORM"),
        (199912, "PERIOD_FORM"),
        (-202611, "PERIOD_FORM"),
    ],
)
def test_periods(period: int, rule: str) -> None:
    found = faults(request_id="r", number=NUMBER, state=2, period=period, ledger_reference="")
    assert [(fault.field, fault.rule) for fault in found] == [("period", rule)]


def test_references_are_printable_and_short() -> None:
    for reference, rule in (("a\x00b", "NOT_PRINTABLE"), ("a\nb", "NOT_PRINTABLE"), ("文" * 101, "TOO_LONG")):
        found = faults(request_id="r", number=NUMBER, state=6, period=0, ledger_reference=reference)
        assert [(fault.field, fault.rule) for fault in found] == [("ledger_reference", rule)]
    assert faults(request_id="r", number=NUMBER, state=6, period=0, ledger_reference="文" * 100) == []


def test_the_states_are_those_of_the_contract() -> None:
    names = {name.removeprefix("ENTRY_STATE_"): number for name, number in entry_pb2.EntryState.items() if number}
    assert names == {state.name: int(state) for state in EntryState}


@pytest.mark.parametrize(
    ("code", "number", "rules"),
    [
        ("", NUMBER, []),
        (CODE, "12345678", []),
        ("", "", [("number", "REQUIRED")]),
        ("", "12345678", [("number", "NUMBER_FORM")]),
        (CODE, NUMBER, [("number", "NUMBER_FORM")]),
        (CODE, "", [("number", "REQUIRED")]),
        ("1", "12345678", [("code", "CODE_FORM")]),
        ("１４４０３１９００１１１", "12345678", [("code", "CODE_FORM")]),
    ],
)
def test_older_invoices_have_a_code_and_a_short_number(code: str, number: str, rules: list[tuple[str, str]]) -> None:
    found = faults(request_id="r", code=code, number=number, state=6, period=0, ledger_reference="")
    assert [(fault.field, fault.rule) for fault in found] == rules


def test_a_digest_without_a_code_is_what_it_was_before_there_were_codes() -> None:
    parts = "\x00".join((NUMBER, "2", "202612", "记-2"))
    assert change(DEDUCTIBLE).sha256() == hashlib.sha256(parts.encode()).digest()


def found_of(*, issued: bool = False, issued_to: str = "", imported_to: str = "") -> Found:
    return Found(code="", number=NUMBER, issued=issued, issued_to=issued_to, imported_to=imported_to)


A, B = import_key("A", "", NUMBER), import_key("B", "", NUMBER)


@pytest.mark.parametrize(
    ("found", "entered", "subject"),
    [
        (found_of(), (), None),
        (found_of(imported_to="A"), (), A),
        (found_of(imported_to="A"), (A,), A),
        (found_of(imported_to="A"), (B, NUMBER), A),
        (found_of(issued=True), (), None),
        (found_of(issued=True, imported_to="A"), (), None),
        (found_of(issued=True, imported_to="A"), (A,), A),
        (found_of(issued=True, issued_to="A"), (), NUMBER),
        (found_of(issued=True, issued_to="A"), (A,), A),
        (found_of(issued=True, issued_to="A"), (B,), NUMBER),
        (found_of(issued=True, issued_to="A", imported_to="A"), (NUMBER,), NUMBER),
        (found_of(issued=True, issued_to="A", imported_to="B"), (A,), A),
    ],
)
def test_what_a_number_means(found: Found, entered: Collection[str], subject: str | None) -> None:
    assert found.subject(lambda key: key in entered) == subject
    assert subject is None or subject in found.book_keys()


def test_keys_of_imports_are_as_long_as_numbers_and_tell_everything_apart() -> None:
    names = [("A", "", NUMBER), ("B", "", NUMBER), ("A", CODE, NUMBER), ("A", CODE + "2", NUMBER[1:]), ("A", "", "1")]
    keys = [import_key(*name) for name in names]
    assert len({*keys}) == len(names)
    assert {len(key) for key in keys} == {limits.NUMBER_CHARS}
    assert not any(key.isdigit() for key in keys)
    assert keys[0] == import_key("A", "", NUMBER)

"""What agrees with an invoice and what does not."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billow.types.v1 import invoice_pb2
from billow.verification.v1 import verification_pb2
from core.domain.verification import (
    INVALID,
    MISMATCH,
    TOO_OLD,
    Outcome,
    before_lookup,
    compare,
    date_of,
    is_date,
    needs_key,
)
from core.storage.ports import VerificationEntry
from server.convert import verification

NUMBER = "26310000000000000007"
ISSUED = dt.datetime(2026, 1, 31, 15, 59, 59, 999_999, tzinfo=dt.UTC)  # the last microsecond of the day in Beijing
TODAY = 20260801
MATCH, NORMAL, PARTLY, FULLY = 1, 1, 2, 3


def microseconds(at: dt.datetime) -> int:
    return (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def entry(red_total_minor: int = 0) -> VerificationEntry:
    return VerificationEntry(
        NUMBER, microseconds(ISSUED), 2, 10_000, 11_300, red_total_minor, "911100000000000024", "91110000000000003X"
    )


def good_check() -> verification_pb2.InvoiceCheck:
    return verification_pb2.InvoiceCheck(
        number=NUMBER,
        issue_date=20260131,
        gross_total_minor=11_300,
        net_total_minor=10_000,
        seller_tax_id="911100000000000024",
        buyer_tax_id="91110000000000003X",
        kind=invoice_pb2.INVOICE_KIND_GENERAL,
    )


def test_the_outcomes_are_those_of_the_contract() -> None:
    names = {
        name.removeprefix("VERIFICATION_OUTCOME_"): value
        for name, value in verification_pb2.VerificationOutcome.items()
    }
    assert {outcome.name: outcome.value for outcome in Outcome} == {
        name: value for name, value in names.items() if name != "UNSPECIFIED"
    }


@pytest.mark.parametrize(("red_total_minor", "state"), [(0, NORMAL), (-1, PARTLY), (-11_299, PARTLY), (-11_300, FULLY)])
def test_a_match_tells_the_state(red_total_minor: int, state: int) -> None:
    assert compare(good_check(), entry(red_total_minor)) == (MATCH, state, red_total_minor)


@pytest.mark.parametrize("absent", ["net_total_minor", "seller_tax_id", "buyer_tax_id", "kind"])
def test_what_is_not_given_is_not_compared(absent: Any) -> None:
    check = good_check()
    check.ClearField(absent)
    assert compare(check, entry()) == (MATCH, NORMAL, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("issue_date", 20260201),
        ("issue_date", 20260130),
        ("gross_total_minor", 11_301),
        ("gross_total_minor", -11_300),
        ("gross_total_minor", 0),
        ("net_total_minor", 0),
        ("net_total_minor", 2**63 - 1),
        ("seller_tax_id", "91110000000000003X"),
        ("seller_tax_id", "911100000000000024 "),
        ("buyer_tax_id", "911100000000000024"),
        ("kind", 1),
        ("kind", 77),
    ],
)
def test_any_field_that_disagrees_is_a_mismatch(field: str, value: object) -> None:
    check = good_check()
    setattr(check, field, value)
    assert compare(check, entry()) == MISMATCH


@pytest.mark.parametrize(
    ("field", "value"),
    [("number", value) for value in ("", "1" * 19, "1" * 21, "1" * 19 + "x", "１" * 20, NUMBER + "\n", "\0" * 20)]
    + [("issue_date", value) for value in (0, -20260131, 20261301, 20260230, 2026131, 2**31 - 1)],
)
def test_what_cannot_be_right_is_invalid(field: str, value: object) -> None:
    check = good_check()
    setattr(check, field, value)
    assert before_lookup(check, TODAY) == INVALID


def test_a_check_needs_the_total() -> None:
    check = good_check()
    check.ClearField("gross_total_minor")
    assert before_lookup(check, TODAY) == INVALID
    check.gross_total_minor = 0
    assert before_lookup(check, TODAY) is None


@pytest.mark.parametrize(("issue_date", "result"), [(20210801, None), (20210731, TOO_OLD), (19700101, TOO_OLD)])
def test_checks_are_answered_for_five_years(issue_date: int, result: object) -> None:
    check = good_check()
    check.issue_date = issue_date
    assert before_lookup(check, TODAY) == result


def test_only_number_date_and_total_are_public() -> None:
    public = verification_pb2.InvoiceCheck(number=NUMBER, issue_date=20260131, gross_total_minor=11_300)
    assert not needs_key(public)
    for field in ("net_total_minor", "seller_tax_id", "buyer_tax_id", "kind"):
        check = verification_pb2.InvoiceCheck()
        check.CopyFrom(public)
        setattr(check, field, getattr(good_check(), field))
        assert needs_key(check), field


@given(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC)))  # noqa: DTZ001 (hypothesis wants them so)
def test_the_date_is_that_of_beijing(at: dt.datetime) -> None:
    local = at.astimezone(dt.timezone(dt.timedelta(hours=8)))
    assert date_of(microseconds(at)) == int(local.strftime("%Y%m%d"))


@given(st.integers(min_value=10_000_000, max_value=29_991_231))
def test_dates_are_those_of_the_calendar(value: int) -> None:
    try:
        dt.datetime.strptime(str(value), "%Y%m%d")  # noqa: DTZ007 (no time is meant)
        known = True
    except ValueError:
        known = False
    assert is_date(value) == known


def test_answers_carry_every_result_in_order() -> None:
    results = [(1, 1, 0), (2, 0, 0), (1, 2, -5), (1, 3, -(10**15)), (3, 0, 0), (1, 1, 0)]
    batch = verification.batch_response(results)
    assert [(item.outcome, item.state, item.red_total_minor) for item in batch.results] == results
    stream = verification.stream_response(-7, results)
    assert [(item.outcome, item.state, item.red_total_minor) for item in stream.results] == results
    assert stream.sequence == -7
    assert verification.one_response((1, 2, -5)).result == batch.results[2]

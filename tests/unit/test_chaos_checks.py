"""The judge of a chaos run's checks: not found too late, a red missed, a total that cannot match (P7)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import billow
from tests.chaos.away import away_times
from tests.chaos.checks import STALE_S, verify
from tests.chaos.ledger import Answer, Intent, Item

NUMBER = "26310000000000000001"
NORMAL, RED = billow.INVOICE_STATE_NORMAL, billow.INVOICE_STATE_FULLY_RED
MATCH, MISMATCH = billow.VERIFICATION_OUTCOME_MATCH, billow.VERIFICATION_OUTCOME_MISMATCH
NOT_FOUND = billow.VERIFICATION_OUTCOME_NOT_FOUND

ISSUED = Item(
    "client-1",
    Intent(item=1, call=1, at=10.0, op="issue", seller="t/s", request="r", gross=113),
    Answer(of=1, at=11.0, what="ok", number=NUMBER, gross=113),
)
REDDENED = Item(
    "client-1",
    Intent(item=2, call=2, at=20.0, op="red", seller="t/s", request="red", gross=-113, number=NUMBER),
    Answer(of=2, at=21.0, what="ok", number="26310000000000000002", gross=-113),
)


def check(at: float, outcome: int = MATCH, *, state: int = NORMAL, red: int = 0, gross: int = 113) -> Item:
    intent = Intent(item=3, call=3, at=at, op="verify", number=NUMBER, gross=gross)
    return Item("client-2", intent, Answer(of=3, at=at + 0.1, what="ok", outcome=outcome, state=state, red=red))


def wrong(*checks: Item, disturbed: bool = False) -> list[str]:
    judgement = verify([ISSUED, REDDENED, *checks], disturbed=lambda since, until: disturbed)
    return [breach.text for breach in judgement.breaches]


@pytest.mark.parametrize(
    "lawful",
    [
        check(5.0, NOT_FOUND),
        check(10.5, NOT_FOUND),
        check(12.0),
        check(20.5),
        check(20.5, state=RED, red=-113),
        check(22.0, state=RED, red=-113),
        check(12.0, MISMATCH, gross=114),
    ],
    ids=["before", "meanwhile", "there", "red not yet", "red already", "red", "other total"],
)
def test_what_may_be_answered(lawful: Item) -> None:
    assert wrong(lawful) == []


@pytest.mark.parametrize(
    "unlawful",
    [
        check(11.2, NOT_FOUND),
        check(5.0),
        check(12.0, MISMATCH),
        check(12.0, gross=114),
        check(15.0, state=RED, red=-113),
        check(22.0, state=RED, red=-100),
        check(21.5),
        check(12.0, red=-1),
        check(12.0, billow.VERIFICATION_OUTCOME_TOO_OLD),
    ],
    ids=["not found", "too early", "mismatch", "match", "red early", "other sum", "red missed", "odd", "too old"],
)
def test_what_may_not(unlawful: Item) -> None:
    assert len(wrong(unlawful)) == 1


def test_not_found_is_remembered_for_a_second_at_most() -> None:
    early = check(10.9, NOT_FOUND)
    assert wrong(early, check(11.0 + STALE_S - 0.01, NOT_FOUND)) == []
    assert len(wrong(early, check(11.0 + STALE_S + 0.01, NOT_FOUND))) == 1


def test_a_red_may_be_missed_for_a_second_while_something_is_broken() -> None:
    late = check(21.0 + STALE_S - 0.01)
    assert wrong(late, disturbed=True) == []
    assert len(wrong(late)) == 1
    assert len(wrong(check(21.0 + STALE_S + 0.01), disturbed=True)) == 1


def test_a_red_that_was_seen_is_not_unseen() -> None:
    unanswered = replace(REDDENED, answer=None)
    seen = check(20.5, state=RED, red=-113)
    judgement = verify([ISSUED, unanswered, seen, check(25.0)], disturbed=lambda since, until: True)
    assert len(judgement.breaches) == 1


def test_servers_logs_tell_when_redis_was_away(tmp_path: Path) -> None:
    words = [
        (1, "Redis counts as away: x"),
        (3, "Redis is back"),
        (5, "Redis has started anew"),
        (7, "Redis counts as"),
    ]
    words.append((8, "Redis counts as away: y"))
    lines = [
        json.dumps({"time": f"1970-01-01T00:01:{at:02}+00:00", "logger": "core.storage.redis.link", "message": text})
        for at, text in words
    ]
    log = tmp_path / "server-1.log"
    log.write_text("\n".join(["Traceback of core.storage.redis.link", *lines]))
    assert away_times([log], offset_s=60.0) == [(1.0, 3.0), (8.0, float("inf"))]

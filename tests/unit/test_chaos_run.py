"""Ledgers keep what was written, seeds repeat schedules, windows count calls."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.__main__ import main
from tests.chaos.compare import LOST, Breach
from tests.chaos.faults import catalogue
from tests.chaos.faults.points import AtPoint
from tests.chaos.ledger import Ledger, read
from tests.chaos.orders import order
from tests.chaos.run import Plan, Runner
from tests.chaos.schedule import Step, chosen, pairs, steps
from tests.chaos.windows import Window, calls, quiet, table, total


def test_a_ledger_gives_back_what_was_written_and_leaves_out_a_torn_end(tmp_path: Path) -> None:
    times = itertools.count(1)
    with Ledger(tmp_path / "client-1.jsonl", clock=lambda: float(next(times))) as ledger:
        wishes = [{"op": "issue", "mode": "bulk", "request": f"r{place}", "gross": place} for place in range(2)]
        items = ledger.intend(wishes)
        ledger.note(items, [{"what": "ok", "number": "1"}, {"what": "UNAVAILABLE"}])
        ledger.intend([{"op": "verify", "number": "1"}])
    with ledger.path.open("ab") as file:
        file.write(b'{"item":4,"call":4,"at":1')
    first, second, third = read(ledger.path)
    assert (first.acknowledged, second.acknowledged, third.answer) == (True, False, None)
    assert (first.intent.at, first.ended, second.intent.call) == (1.0, 2.0, 1)
    assert [item.intent.request for item in (first, second)] == ["r0", "r1"]


def test_a_run_does_not_add_to_the_ledgers_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ledgers").mkdir()
    monkeypatch.setattr("sys.argv", ["chaos", "--run-dir", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "holds the ledgers of another run" in capsys.readouterr().err


def test_an_order_is_made_again_from_seed_and_id() -> None:
    one = order(1, seller_id="s", request_id="r")
    assert one.body == order(1, seller_id="s", request_id="r").body
    others = [order(2, seller_id="s", request_id="r"), order(1, seller_id="s", request_id="r", variant=1)]
    assert one.body not in {other.body for other in others}


def test_a_seed_repeats_the_schedule_and_another_one_does_not() -> None:
    def names(seed: int) -> list[tuple[str, ...]]:
        return [step.names for step in itertools.islice(steps(list(catalogue().values()), seed=seed), 200)]

    assert names(1) == names(1) != names(2)
    found = catalogue()
    alone = names(1)[: len(found)]
    assert {name for (name,) in alone} == found.keys()


def test_pairs_touch_other_parts_and_what_waits_for_health_comes_first() -> None:
    faults = list(catalogue().values())
    drawn = [step.faults for step in itertools.islice(steps(faults, seed=3), 400) if len(step.faults) > 1]
    drawn += [step.faults for step in pairs(faults, seed=3, count=50)]
    assert drawn
    for first, second in drawn:
        assert not first.parts & second.parts
        assert not second.waits


def test_faults_are_chosen_by_pattern() -> None:
    assert {fault.name for fault in chosen(catalogue(), ["redis f*"], quick=True)} == {"redis flushed"}
    assert not any(fault.full_only for fault in chosen(catalogue(), [], quick=True))
    with pytest.raises(ValueError, match="no fault is called nonsense"):
        chosen(catalogue(), ["nonsense"], quick=True)


def test_a_window_counts_calls_waits_and_what_was_broken(tmp_path: Path) -> None:
    now = 0.0
    with Ledger(tmp_path / "client-1.jsonl", clock=lambda: now) as ledger:
        for at, answered, what, mode in (
            (1.0, 1.1, "ok", "first"),
            (11.0, 14.0, "ok", "first"),
            (12.0, 14.5, "UNAVAILABLE", "first"),
            (13.0, 13.1, "REQUEST_ID_REUSED", "other body"),
            (13.0, 13.2, "DEADLINE_EXCEEDED", "hurried"),
            (15.0, 15.5, "ok", "first"),
            (90.0, 90.1, "ok", "replay"),
        ):
            now = at
            items = ledger.intend([{"op": "issue", "mode": mode}])
            now = answered
            ledger.note(items, [{"what": what}])
    made = calls(read(ledger.path))
    window = Window(("a",), "issue", 10.0, began=10.0, ended=14.2, healed=15.0, until=20.0)
    breach = Breach(LOST, "P1", "x", "gone", 14.0)
    (row,) = table([window], made, [breach])
    assert (row.offered, row.acknowledged, row.refused, row.failed, row.given_up) == (5, 2, 1, 1, 1)
    assert row.longest_s == 3.0
    assert row.silence_s == row.recover_s == 4.0
    assert row.broken[LOST] == 1
    assert not row.met  # a call failed
    window.stalls = True
    assert table([window], made, [])[0].recover_s == pytest.approx(1.3)
    rest = quiet([window], made, [breach, Breach(LOST, "P1", "y", "gone")])
    assert (rest.offered, rest.broken[LOST]) == (1, 1)
    assert total([row, rest]).offered == 6


def test_what_nobody_repeated_is_counted_where_it_failed_and_missed_only_behind_the_edge(tmp_path: Path) -> None:
    now = 0.0
    with Ledger(tmp_path / "client-1.jsonl", clock=lambda: now) as ledger:
        for at, what, once in (
            (9.8, "DEADLINE_EXCEEDED", True),  # it has waited since before the fault
            (9.9, "UNAVAILABLE", True),  # broken off by the fault
            (11.0, "ok", True),
            (13.0, "ok", False),
        ):
            now = at
            items = ledger.intend([{"op": "issue", "once": once}])
            now = at + 0.2
            ledger.note(items, [{"what": what}])
    window = Window(("a",), "issue", 10.0, began=10.0, ended=11.0, healed=15.0, until=20.0)
    made = calls(read(ledger.path))
    (row,) = table([window], made, [])
    assert (row.offered, row.acknowledged, row.failed, row.once, row.once_failed) == (3, 2, 0, 2, 1)
    assert row.once_reasons == total([row]).once_reasons == {"UNAVAILABLE": 1}
    assert not row.met
    window.at_edge = True
    assert table([window], made, [])[0].met


def test_the_edge_is_what_callers_lose_when_envoy_is_gone() -> None:
    at_edge = {fault.name for fault in catalogue().values() if fault.at_edge}
    assert {"kill envoy", "network to the edge: cut"} <= at_edge
    assert not {"kill server", "network to the servers: cut", "kill primary"} & at_edge


def test_a_window_without_any_acknowledgement_counts_as_a_whole() -> None:
    window = Window(("a",), "issue", 10.0, began=10.0, ended=11.0, healed=15.0, until=20.0)
    (row,) = table([window], [], [])
    assert row.recover_s == row.silence_s == 10.0


def test_what_waits_for_calls_is_never_paired_with_what_keeps_calls_away() -> None:
    found = catalogue().values()
    waiting = [fault for fault in found if isinstance(fault, AtPoint)]
    away = [fault for fault in found if fault.name.startswith("network to the edge")]
    assert waiting
    assert away
    for one, other in itertools.product(waiting, away):
        assert one.parts & other.parts, f"{one.name} + {other.name}"


@pytest.mark.parametrize(
    ("minutes", "kills", "failovers", "goes_on"),
    [
        (1.0, 9, 9, {"kill redis", "redis flushed", "primary killed, failover"}),
        (3.0, 9, 1, {"primary killed, failover"}),
        (3.0, 1, 9, {"kill redis"}),
        (3.0, 9, 9, set()),
    ],
)
def test_once_its_minutes_are_over_a_full_run_injects_only_what_is_missing(
    minutes: float, kills: int, failovers: int, goes_on: set[str], tmp_path: Path
) -> None:
    named = ("kill redis", "redis flushed", "primary killed, failover")
    plan = Plan(seed=1, minutes=2.0, minutes_max=5.0, kills=5, failovers=5, patterns=named)
    runner = Runner(plan=plan, run_dir=tmp_path, tell=lambda _text, _part: None)
    site: Any = SimpleNamespace(kills=kills, failovers=failovers)
    drawn = [Step((catalogue()[name],)) for name in named]
    assert {step.names[0] for step in drawn if not runner._passed_over(step, site, minutes)} == goes_on
    assert runner._enough(site, minutes) == (not goes_on)
    assert runner._enough(site, 5.0)

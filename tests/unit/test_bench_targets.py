"""The targets of benchmarks, and the report of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.targets import TARGETS, Target, reports

RATIO = Target(name="ratio", part="bulk", load="issue", against="load_data", target=0.5)
LAG = Target(name="lag", part="archive", load="lag_s", target=5, unit="s", at_most=True, given=("paced_rate", 4_750))


def parts(**rounds: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Parts with these figures, by round."""
    return {name: {"rounds": [{"figures": figures} for figures in found]} for name, found in rounds.items()}


def test_a_ratio_is_the_median_of_the_ratios_of_its_rounds() -> None:
    found = parts(
        bulk=[
            {"issue": 10.0, "load_data": 10.0},
            {"issue": 6.0, "load_data": 10.0},
            {"issue": 1.0, "load_data": 100.0},
        ]
    )
    assert RATIO.report(found) == {
        "name": "ratio",
        "figure": 0.6,
        "target": 0.5,
        "unit": "ratio",
        "at_most": False,
        "counts": True,
        "met": True,
    }


def test_what_was_not_measured_is_null_and_not_met() -> None:
    for found in ({}, parts(bulk=[]), parts(bulk=[{"issue": 1.0}])):
        told = RATIO.report(found)
        assert (told["figure"], told["met"]) == (None, False)


@pytest.mark.parametrize(("lag_s", "rate", "met"), [(4.0, 5_000, True), (6.0, 5_000, False), (0.1, 2_000, False)])
def test_a_lag_counts_only_at_the_pace_it_was_asked_for(lag_s: float, rate: float, met: bool) -> None:
    assert LAG.report(parts(archive=[{"lag_s": lag_s, "paced_rate": rate}]))["met"] is met


def test_every_target_is_reported_once() -> None:
    names = [told["name"] for told in reports({})]
    assert len(set(names)) == len(names) == len(TARGETS)


def test_parts_measured_earlier_stay_when_asked(tmp_path: Path) -> None:
    archive = {"quick": False, **parts(archive=[{"drain": 9_000.0}])["archive"]}
    other = {"quick": True, "rounds": []}
    report.write(tmp_path, {"archive": archive}, audits=[], keep=False)
    report.write(tmp_path, {"matrix": other}, audits=[], keep=False)
    assert json.loads((tmp_path / "latest.json").read_text())["parts"].keys() == {"matrix"}
    report.write(tmp_path, {"archive": archive}, audits=[], keep=False)
    report.write(tmp_path, {"mixed": other}, audits=[], keep=True)
    written = json.loads((tmp_path / "latest.json").read_text())
    assert written["parts"].keys() == {"archive", "mixed"}
    drain = next(item for item in written["targets"] if item["name"] == "archive: one worker catching up")
    assert (drain["figure"], drain["met"]) == (9_000.0, False)
    text = (tmp_path / "latest.md").read_text()
    assert "| archive: one worker catching up | 9,000 | ≥ 20,000 | a second | no |" in text
    assert "not measured" in text

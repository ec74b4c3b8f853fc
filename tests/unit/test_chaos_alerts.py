"""Alerts of a chaos run: shortened rules are still rules, and a silent alert is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.chaos.alerts import EXPECTED, RULES, Fired, judge, shortened
from tests.chaos.faults import catalogue
from tests.chaos.windows import Window
from tests.support.alert_rules import alerts

PROMTOOL_S = 60


def test_durations_are_divided_and_nothing_else() -> None:
    text = 'interval: 10m\nexpr: sum(rate(x[1m])) > 60 and y[30m]\nfor: 5m\nfor: 15s\nsummary: "in 15 minutes"'
    shorter = 'interval: 1s\nexpr: sum(rate(x[5s])) > 60 and y[60s]\nfor: 10s\nfor: 1s\nsummary: "in 15 minutes"'
    assert shortened(text) == shorter


def test_shortened_rules_are_well_formed(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(shortened(RULES.read_text()))
    command = ["promtool", "check", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROMTOOL_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert alerts(path) == alerts(RULES)


def test_what_is_expected_exists() -> None:
    assert EXPECTED.keys() <= catalogue().keys()
    assert {name for name, _ in EXPECTED.values()} <= set(alerts(RULES))


def window(name: str, began: float, ended: float) -> Window:
    return Window((name,), "issue", None, began=began, ended=ended, healed=ended + 1, until=ended + 20)


def test_alerts_belong_to_the_window_in_which_they_fire() -> None:
    windows = [
        window("redis hung", 100, 110),
        window("redis hung", 200, 210),  # long enough, and silent
        window("redis hung", 300, 301),  # too short to be expected
        window("kill server", 400, 401),
    ]
    firing = {"BillowRedisAway": [105.0, 106.0], "BillowProcessDown": [403.0, 450.0]}
    assert judge(windows, firing) == [
        Fired("redis hung", ("BillowRedisAway",), ()),
        Fired("redis hung", (), ("BillowRedisAway",)),
        Fired("redis hung", (), ()),
        Fired("kill server", ("BillowProcessDown",), ()),
    ]

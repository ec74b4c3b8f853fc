"""The alert rules: well formed, firing when they should, each with its page in the runbooks."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

import pytest

from stack.options import CHECKOUT
from tests.support.alert_rules import FOLDER, HOSTS, OWN, alerts, labelled, metrics, runbooks

RUNBOOKS = CHECKOUT / "docs" / "runbooks.md"
PROMTOOL_S = 120


def promtool(*arguments: Sequence[str] | str) -> None:
    """Runs Debian's promtool, which must be content."""
    command = ["promtool", *map(str, arguments)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=PROMTOOL_S)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_well_formed() -> None:
    promtool("check", "rules", OWN.name, HOSTS.name)
    promtool("check", "config", "prometheus.yml")


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.test.yml")))
def test_alerts_fire_when_they_should_and_keep_silent_otherwise(name: str) -> None:
    promtool("test", "rules", name)


def test_every_alert_has_its_runbook() -> None:
    text = RUNBOOKS.read_text()
    sections = {f"docs/runbooks.md#{title.lower()}" for title in re.findall(r"^### (\w+)$", text, re.MULTILINE)}
    for path in (OWN, HOSTS):
        assert len(runbooks(path)) >= len(alerts(path)) > 0
        assert set(runbooks(path)) <= sections
    named = {name for path in (OWN, HOSTS) for name in alerts(path)}
    assert named <= set(re.findall(r"Billow[A-Z]\w+", text))
    assert {name for name in re.findall(r"Billow[A-Z]\w+", text) if not name.endswith("Service")} <= named


def test_what_is_read_from_the_rules() -> None:
    assert {"billow_redis_away", "process_open_fds", "envoy_cluster_upstream_cx_none_healthy"} <= metrics(OWN)
    assert ("billow_node_role", "role", "fenced") in labelled(OWN)
    assert not any(name.startswith("node_") for name in metrics(OWN))
    assert all(name.startswith("node_") for name in metrics(HOSTS))

"""The main job in small, as `make demo` runs it: issued, verified, archived, audited, and replayed when run again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDERS = 1_500  # at scale 0.001


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m demo` to its end."""
    command = [sys.executable, "-m", "demo", "--scale", "0.001", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Reads the line of JSON at the end."""
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_every_order_is_issued_verified_archived_and_replayed(tmp_path: Path) -> None:
    whole = {"orders": ORDERS, "issued": ORDERS, "failed": 0, "verified": ORDERS, "archived": ORDERS}
    expected = whole | {"audit_findings": 0, "net_total_agrees": True, "good": True}
    try:
        first = run("--run-dir", str(tmp_path / "run"))
        assert expected | {"replayed": 0} == {name: summary(first)[name] for name in (*expected, "replayed")}
        assert "billow get " in first.stdout
        assert '{"invoice":{"kind":"INVOICE_KIND_' in first.stdout  # by curl
        life = summary(first)["life"]
        assert (life["state"], life["left_minor"]) == ("partly red", 113_000)
        assert (
            f"One invoice's whole life (by command and by curl: docs/walkthrough.md): {life['number']}" in first.stdout
        )
        assert {"issue", "link", "deliver", "receive", "enter", "confirm", "red", "inspect"} <= life["ms"].keys()
        second = summary(run("--run-dir", str(tmp_path / "run"), "--down"))
        assert expected | {"replayed": ORDERS} == {name: second[name] for name in (*expected, "replayed")}
        assert second["life"]["number"] > life["number"]
    finally:
        subprocess.run(
            [sys.executable, "-m", "stack", "--run-dir", str(tmp_path / "run"), "down"], cwd=ROOT, capture_output=True
        )

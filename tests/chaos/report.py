"""The table for people, and the same for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.chaos.compare import KINDS
from tests.chaos.run import Result
from tests.chaos.windows import ZERO_S, Row

LISTED_MAX: Final = 40
NUMBERS: Final = ("times", "offered", "acknowledged", "refused", "failed", "once_failed", "given_up")


def show(result: Result, console: Console) -> None:
    """Prints the table, then broken promises and missed targets."""
    table = Table(title=f"chaos, seed {result.plan.seed}", title_justify="left")
    table.add_column("fault", min_width=24)
    for name in (
        "times",
        "offered",
        "acked",
        "refused",
        "failed",
        "once failed",
        "given up",
        "wait s",
        "silent s",
        "recover s",
    ):
        table.add_column(name, justify="right")
    table.add_column("well s", justify="right")
    for kind in KINDS:
        table.add_column(kind, justify="right")
    for row in [*result.rows, result.whole]:
        if row is result.whole:
            table.add_section()
        table.add_row(row.name, *_cells(row))
    console.print(table)
    for name, value in result.figures.items():
        if not isinstance(value, dict):
            console.print(f"{name.replace('_', ' '):32}{value}", highlight=False)
    for name, why in result.left_out.items():
        console.print(f"left out: {name}: {why}", highlight=False)
    for row in result.rows:
        if not row.met:
            reasons = dict(row.reasons + row.once_reasons)
            why = f", {row.failed} calls failed, {row.once_failed} once: {reasons}" if reasons else ""
            console.print(
                f"target missed: {row.name}: recovered after {row.recover_s:.1f} s of {row.target_s} s{why}",
                highlight=False,
            )
    for name, alerts in _alerts(result).items():
        console.print(f"alerts in {name}: {alerts}", highlight=False)
    for breach in result.breaches[:LISTED_MAX]:
        console.print(f"BROKEN {breach.promise} {breach.kind}: {breach.subject}: {breach.text}", highlight=False)
    if len(result.breaches) > LISTED_MAX:
        console.print(f"BROKEN and {len(result.breaches) - LISTED_MAX} more")
    for check in result.audit.get("checks", []):
        for item in check["listed"][:LISTED_MAX]:
            console.print(f"BROKEN {check['promise']} audit, {check['check']}: {item['subject']}: {item['text']}")
    if "error" in result.audit:
        console.print(f"BROKEN audit could not run: {result.audit['error']}", highlight=False)
    for trouble in result.troubles[:LISTED_MAX]:
        console.print(f"TROUBLE {trouble}", highlight=False)
    console.print("every promise was kept" if result.kept else "a promise was broken, or the run was disturbed")


def _alerts(result: Result) -> dict[str, dict[str, int]]:
    """By fault: how often each alert fired in its windows, and how often one that should have did not."""
    counts: dict[str, dict[str, int]] = {}
    for item in result.fired:
        row = counts.setdefault(item.fault, {})
        for name in [*item.alerts, *(f"MISSING {name}" for name in item.missing)]:
            row[name] = row.get(name, 0) + 1
    return counts


def _cells(row: Row) -> list[str]:
    """A row's figures as text."""
    counts = [f"{getattr(row, name):,}" for name in NUMBERS]
    seconds = [f"{value:.1f}" for value in (row.longest_s, row.silence_s)]
    recover = f"{row.recover_s:.1f}" + ("" if row.met else " !")
    return [*counts, *seconds, recover, f"{row.healthy_s:.1f}", *(str(row.broken[kind]) for kind in KINDS)]


def as_json(result: Result) -> dict[str, Any]:
    """All of it as JSON has it."""
    return {
        "seed": result.plan.seed,
        "quick": result.plan.quick,
        "faults_chosen": list(result.plan.patterns),
        "left_out": result.left_out,
        "kept": result.kept,
        **result.figures,
        "total": result.whole.as_json(),
        "faults_table": [row.as_json() for row in result.rows],
        "at_once_s": ZERO_S,  # a target of 0 s is held when recovery took at most this
        "targets_missed": [row.name for row in result.rows if not row.met],
        "breaches": [
            {"promise": breach.promise, "kind": breach.kind, "subject": breach.subject, "text": breach.text}
            for breach in result.breaches[:1_000]
        ],
        "troubles": result.troubles[:100],
        "alerts": _alerts(result),
        "audit": {
            "findings": result.audit.get("findings"),
            "invoices": result.audit.get("invoices"),
            "seconds": result.audit.get("seconds"),
            "checks": {check["check"]: check["findings"] for check in result.audit.get("checks", [])},
        },
    }


def write(result: Result, path: Path) -> None:
    """Writes the JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(result), indent=1, ensure_ascii=False) + "\n")

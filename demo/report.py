"""What the demo tells at its end: a table, ways to look further, one line of JSON."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.settings import ObjectStoreSettings
from demo import archive
from demo.life import Life

BIN: Final = Path(sys.executable).parent
SHOWN_LINES_MAX: Final = 12
SHOWN_CHARS_MAX: Final = 900
BY_SELLER: Final = """\
SELECT seller_tax_id, count(*) AS invoices, sum(gross_total_minor) // 100 AS yuan, min(number) AS first
  FROM archive GROUP BY seller_tax_id ORDER BY yuan DESC LIMIT 3"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The outcome in figures. Rates are items over wall time; what they include is in docs/tpch.md."""

    scale: str
    orders: int
    issued: int
    replayed: int
    failed: int
    verified: int
    archived: int
    net_total_agrees: bool
    audit_findings: int
    prepare_s: float
    issue_s: float
    issue_per_s: float
    verify_s: float
    verify_per_s: float
    archive_wait_s: float
    audit_s: float
    client_peak_mib: int
    life: Life

    @property
    def good(self) -> bool:
        """Whether every order became an invoice that is verified, archived and without a finding."""
        whole = self.issued == self.verified == self.archived == self.orders
        return whole and not self.failed and not self.audit_findings and self.net_total_agrees

    def json(self) -> str:
        """One line."""
        return json.dumps(asdict(self) | {"life": self.life.as_dict(), "good": self.good})


def show(console: Console, summary: Summary) -> None:
    """Prints the table."""
    table = Table(title=f"{summary.orders:,} TPC-H orders, scale {summary.scale}", title_justify="left")
    for name, justify in (("", "left"), ("count", "right"), ("seconds", "right"), ("a second", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # the two literals rich wants
    issued = "issued" if not summary.replayed else f"issued ({summary.replayed:,} of them by an earlier run)"
    table.add_row("prepared", f"{summary.orders:,}", f"{summary.prepare_s:,.1f}", "")
    table.add_row(issued, f"{summary.issued:,}", f"{summary.issue_s:,.1f}", f"{summary.issue_per_s:,.0f}")
    table.add_row("failed", f"{summary.failed:,}", "", "")
    table.add_row("verified", f"{summary.verified:,}", f"{summary.verify_s:,.1f}", f"{summary.verify_per_s:,.0f}")
    table.add_row("archived", f"{summary.archived:,}", f"+{summary.archive_wait_s:,.1f}", "")
    table.add_row("audit findings", f"{summary.audit_findings:,}", f"{summary.audit_s:,.1f}", "")
    table.add_row("net total as in the tables", "yes" if summary.net_total_agrees else "NO", "", "")
    console.print(table)


def look_further(
    console: Console, *, address: str, key_file: Path, store: ObjectStoreSettings, number: str, ended_by: str
) -> None:
    """Runs three commands on one invoice and on the archive, and shows what they say.

    `ended_by`: the command that stops the system.
    """
    environment = {"BILLOW_TARGET": address, "BILLOW_API_KEY_FILE": str(key_file)}
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    console.print(f"\n[bold]Look further[/] (the system keeps running until [bold]{ended_by}[/])\nexport {exports}")
    _run(console, [str(BIN / "billow"), "get", number], shown=f"billow get {number}", environment=environment)
    key = key_file.read_text().strip()
    url = f"http://{address}/v1/invoices/{number}"
    curl = ["curl", "--silent", "--show-error", "--config", "-", url]
    header = f'header = "authorization: Bearer {key}"\n'  # by stdin: other users see the arguments of a command
    shown = f'curl -H "authorization: Bearer $(cat {shlex.quote(str(key_file))})" {url}'
    _run(console, curl, shown=shown, stdin=header)
    _say(console, f"DuckDB over the Parquet segments in {store.bucket}:\n  {BY_SELLER}")
    for row in archive.ask(store, BY_SELLER):
        console.print("  " + "  ".join(str(value) for value in row), highlight=False)


def _run(
    console: Console,
    command: Sequence[str],
    *,
    shown: str,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
) -> None:
    """Shows a command and the beginning of what it prints."""
    _say(console, shown)
    try:
        done = subprocess.run(command, capture_output=True, text=True, input=stdin, env=dict(environment or {}) or None)
    except FileNotFoundError:
        console.print(f"  {command[0]} is not installed", highlight=False)
        return
    text = (done.stdout or done.stderr).strip()
    lines = text[:SHOWN_CHARS_MAX].splitlines()[:SHOWN_LINES_MAX]
    cut = "\n".join(lines)
    console.print(escape(cut) + (" …" if len(cut) < len(text) else ""), highlight=False, soft_wrap=True)


def _say(console: Console, text: str) -> None:
    console.print(f"\n[bold]$[/] {escape(text)}", highlight=False, soft_wrap=True)

"""`python -m demo`: the main job on real input, from an empty machine to an audited archive."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

import billow
from core import settings
from demo import account, archive, life, mapping, records, report, streaming, tables
from stack import Stack
from stack.options import DEFAULT_RUN_DIR, StackError
from stack.progress import for_console

DATA: Final = Path(__file__).resolve().parent.parent / "data"
ARCHIVE_WITHIN_S: Final = 120.0  # without any news of the archive
SCALE_MAX: Final = 10
MIB: Final = 1024
ERR: Final = Console(stderr=True)


class Rate(ProgressColumn):
    """Items a second since the bar began."""

    def render(self, task: Task) -> Text:
        """One cell."""
        elapsed = task.elapsed or 0
        return Text(f"{task.completed / elapsed:,.0f}/s" if elapsed > 0 else "", style="cyan")


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a bar with rate and remaining time, or two plain lines where nobody watches; gives its `advance`."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    if not ERR.is_terminal:
        ERR.print(f"{label} {total:,} …", highlight=False)
    began = time.monotonic()
    with Progress(*columns, console=ERR, disable=not ERR.is_terminal) as progress:
        task = progress.add_task(label, total=total)
        yield lambda count: progress.advance(task, count)
    if not ERR.is_terminal:
        ERR.print(f"{label} done in {time.monotonic() - began:.1f} s", highlight=False)


class Demo:
    """One run over one scale."""

    def __init__(self, *, scale: Decimal, stack: Stack) -> None:
        self._scale = str(scale)
        self._prefix = f"tpch-{self._scale}-"
        self._folder = DATA / f"tpch-{self._scale}"
        self._requests = self._folder / f"requests-{mapping.VERSION}"
        self._answers = self._folder / "answers"
        self._checks = self._folder / "checks"
        self._stack = stack
        self._store = settings.load(stack.config_path).object_store
        self._address = f"{stack.envoy.host}:{stack.envoy.port}"
        self._key_file = account.key_file(stack.config_path)

    def prepare(self) -> int:
        """Generates the tables and the requests, unless an earlier run did; returns the number of orders."""
        if tables.generate(self._folder, scale=Decimal(self._scale)):
            ERR.print(f"TPC-H tables generated in {self._folder}", highlight=False)
        orders = tables.rows(self._folder, "orders")
        if self._requests.exists():
            return orders
        catalogue = mapping.Catalogue(
            tables.nations(self._folder), tables.customers(self._folder), tables.parts(self._folder)
        )
        with bar("prepare", orders) as advance, records.writing(self._requests) as write:
            for order in tables.orders(self._folder):
                write(mapping.request(order, catalogue, scale=self._scale))
                advance(1)
        return orders

    async def issue_and_verify(self, orders: int) -> tuple[streaming.Issuing, streaming.Verifying]:
        """Issues everything, then verifies everything that was issued."""
        key = await account.api_key(self._address, config=self._stack.config_path)
        async with billow.AsyncClient(self._address, api_key=key) as client:
            await account.ensure_sellers(client, tables.nations(self._folder))
            with bar("issue", orders) as advance:
                issuing = await streaming.issue(client, self._requests, self._answers, advance)
            with records.writing(self._checks) as write:
                for check in streaming.checks(self._requests, self._answers):
                    write(check)
            with bar("verify", issuing.issued) as advance:
                verifying = await streaming.verify(client, self._checks, advance)
        return issuing, verifying

    def wait_for_archive(self, wanted: int) -> int:
        """Waits until everything issued is in the archive; returns how much is."""
        with bar("archive", wanted) as advance:
            shown = 0

            def show(found: int) -> None:
                nonlocal shown
                advance(found - shown)
                shown = found

            return archive.wait(self._store, self._prefix, wanted=wanted, within_s=ARCHIVE_WITHIN_S, show=show)

    def net_total_agrees(self) -> bool:
        """Whether the archive's net total is that of the tables, computed from them by another way."""
        return archive.net_total_minor(self._store, self._prefix) == archive.net_total_of_tables(self._folder)

    def audit(self) -> dict[str, Any]:
        """Runs `billow-admin audit`; returns its JSON. Raises StackError when it cannot do its work."""
        command = [sys.executable, "-m", "admin", "audit", "--config", str(self._stack.config_path), "--json"]
        with ERR.status("audit"):
            done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise StackError(f"billow-admin audit: {done.stderr.strip()}")
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return found

    def run(self) -> report.Summary:
        """Does it all."""
        began = time.monotonic()
        orders = self.prepare()
        prepared = time.monotonic()
        issuing, verifying = asyncio.run(self.issue_and_verify(orders))
        for error in issuing.errors:
            ERR.print(f"[red]not issued:[/] {error}", highlight=False)
        verified = time.monotonic()
        archived = self.wait_for_archive(issuing.issued)
        waited = time.monotonic()
        lived = asyncio.run(life.live(self._address, config=self._stack.config_path))
        lived_at = time.monotonic()
        findings = self.audit()
        return report.Summary(
            scale=self._scale,
            orders=orders,
            issued=issuing.issued,
            replayed=issuing.replayed,
            failed=issuing.failed,
            verified=verifying.matched,
            archived=archived,
            net_total_agrees=self.net_total_agrees(),
            audit_findings=int(findings["findings"]),
            prepare_s=round(prepared - began, 1),
            issue_s=round(issuing.elapsed_s, 2),
            issue_per_s=round(issuing.issued / issuing.elapsed_s, 1),
            verify_s=round(verifying.elapsed_s, 2),
            verify_per_s=round(verifying.matched / verifying.elapsed_s, 1),
            archive_wait_s=round(waited - verified, 1),
            audit_s=round(time.monotonic() - lived_at, 1),
            client_peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // MIB,
            life=lived,
        )

    def look_further(self, console: Console) -> None:
        """Shows one invoice and the archive by the tools people have."""
        answers = records.read(self._answers, billow.IssuedInvoice.FromString)
        number = next((answer.number for answer in answers if answer.number), "")
        if number:
            report.look_further(
                console,
                address=self._address,
                key_file=self._key_file,
                store=self._store,
                number=number,
                ended_by=_ended_by(self._stack.folder.root),
            )


def _ended_by(run_dir: Path) -> str:
    """The command that stops the stack of a run folder."""
    return "make down" if run_dir == DEFAULT_RUN_DIR else f"python -m stack --run-dir {run_dir} down"


def _scale(_context: click.Context, _parameter: click.Parameter, value: str) -> Decimal:
    """Reads the scale; 0.1 and 0.10 are the same."""
    try:
        scale = Decimal(value).normalize()
    except InvalidOperation:
        raise click.BadParameter("must be a number") from None
    if not 0 < scale <= SCALE_MAX:
        raise click.BadParameter(f"must be above 0 and at most {SCALE_MAX}")
    return Decimal(f"{scale:f}")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--scale", default="0.1", show_default=True, callback=_scale, help="TPC-H scale: 1 is 1,500,000 orders.")
@click.option(
    "--run-dir", type=click.Path(file_okay=False, path_type=Path), default=DEFAULT_RUN_DIR, help="The stack's folder."
)
@click.option("--down", is_flag=True, help="Stop the system at the end.")
def main(*, scale: Decimal, run_dir: Path, down: bool) -> None:
    """Issue, verify, archive and audit an invoice for every TPC-H order. A second run replays the first."""
    console = Console(soft_wrap=not sys.stdout.isatty())
    stack = Stack(run_dir=run_dir, progress=for_console(ERR))
    try:
        stack.up()
        demo = Demo(scale=scale, stack=stack)
        summary = demo.run()
        demo.look_further(console)
    except (StackError, account.AccountError, life.LifeError, billow.BillowError) as error:
        ERR.print(f"[red]demo:[/] {error}", highlight=False)
        sys.exit(1)
    finally:
        if down:
            stack.down()
    life.show(console, summary.life, audit_findings=summary.audit_findings)
    console.print()
    report.show(console, summary)
    print(summary.json())  # last on stdout, for programs
    sys.exit(0 if summary.good else 1)


if __name__ == "__main__":
    main()

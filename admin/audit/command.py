"""`billow-admin audit`: the command, and where its sources come from."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import click
from rich.console import Console

from admin.audit.check import Sources
from admin.audit.run import Outcome, all_checks, audit
from admin.audit.snapshot import open_snapshot
from admin.command import json_option, print_json, print_table, run, settings_option
from admin.nodes import open_nodes
from core.settings import Settings
from core.storage.mysql.reader import PrimaryReader
from core.storage.objects.s3 import open_s3
from core.storage.redis.cluster import open_link
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.verification_cache import RedisVerificationCache

EXIT_FINDINGS: Final = 1
DOCUMENTS_DEFAULT: Final = 200  # 4 to 8 s of CPU


@click.command("audit")
@settings_option
@json_option
@click.option("--sample", type=click.IntRange(min=1), help="Recompute about N bodies instead of all.")
@click.option(
    "--documents",
    type=click.IntRange(min=0, max=100_000),
    default=DOCUMENTS_DEFAULT,
    show_default=True,
    help="Render the N newest kept documents again.",
)
def audit_command(*, settings: Settings, as_json: bool, sample: int | None, documents: int) -> None:
    """Prove P1 to P6 for everything in database and archive. Exits 1 on findings, 2 when it could not run.

    Runs beside issuing and archiving; reads one snapshot of the primary, every segment, and the replicas.
    """
    outcome = run(_audit(settings, sample=sample, documents=documents))
    if as_json:
        print_json(
            {
                "findings": outcome.findings,
                "invoices": outcome.invoices,
                "seconds": round(outcome.seconds, 3),
                "checks": [report.as_json() for report in outcome.reports],
            }
        )
    else:
        _print(outcome)
    if outcome.findings:
        sys.exit(EXIT_FINDINGS)


async def _audit(settings: Settings, *, sample: int | None, documents: int) -> Outcome:
    """Opens the sources and runs all checks, showing progress on a terminal."""
    console = Console(stderr=True)
    async with open_sources(settings, sample=sample, documents=documents) as sources:
        with console.status("auditing") as status:

            def progress(invoices: int) -> None:
                status.update(f"auditing: {invoices:,} invoices")

            return await audit(sources, all_checks(), progress=progress)


@asynccontextmanager
async def open_sources(
    settings: Settings, *, sample: int | None, documents: int = DOCUMENTS_DEFAULT
) -> AsyncIterator[Sources]:
    """Opens everything an audit reads."""
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(open_nodes(settings))
        link = open_link(settings=settings.redis)
        stack.push_async_callback(link.close)
        yield Sources(
            snapshot=await stack.enter_async_context(open_snapshot(nodes.primary)),
            primary=nodes.primary,
            replicas=nodes.replicas,
            reader=PrimaryReader(primary=lambda: nodes.primary),
            objects=await stack.enter_async_context(open_s3(settings.object_store)),
            answers=RedisIssueCache(link=link, settings=settings.redis),
            entries=RedisVerificationCache(link=link, settings=settings.redis),
            sample=sample,
            documents=documents,
            rendering=settings.documents,
        )


def _print(outcome: Outcome) -> None:
    """Prints the table, then the findings and notes."""
    print_table(
        f"audit of {outcome.invoices:,} invoices in {outcome.seconds:.1f} s",
        ("promise", "check", "examined", "findings", "seconds"),
        [
            (report.promise, report.name, report.examined, report.findings, f"{report.seconds:.2f}")
            for report in outcome.reports
        ],
    )
    for report in outcome.reports:
        for item in report.listed:
            click.echo(f"FINDING  {report.promise} {report.name}: {item.subject}: {item.text}")
        if report.findings > len(report.listed):
            click.echo(f"FINDING  {report.promise} {report.name}: and {report.findings - len(report.listed)} more")
        for note in report.notes:
            click.echo(f"note     {report.promise} {report.name}: {note}")
    click.echo(f"reading apart from the checks: {outcome.reading_s:.2f} s")
    click.echo("no findings" if not outcome.findings else f"{outcome.findings} findings")

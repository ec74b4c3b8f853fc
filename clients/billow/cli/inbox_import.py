"""`billow inbox import FILE…` and `billow inbox imported`: invoices from elsewhere, out of their documents."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from billow import (
    IMPORT_OUTCOME_ALREADY_IMPORTED,
    IMPORT_OUTCOME_IMPORTED,
    AsyncClient,
    ImportInvoiceResponse,
    ImportOutcome,
)

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .inspect import document_of
from .show import ItemProgress, amount, moment, print_json, print_message, print_table, say

DONE = (IMPORT_OUTCOME_IMPORTED, IMPORT_OUTCOME_ALREADY_IMPORTED)
COLUMNS = ("import", "number", "issued", "seller", "tax id", "buyer", "gross", "verified")
ROWS_MAX = 10_000  # of one table; --json has no bound


@click.command("import", epilog=EXIT_CODES_HELP)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path, dir_okay=False))
@connected
async def inbox_import(connection: Connection, *, files: tuple[Path, ...]) -> Exit:
    """Import the invoices of FILEs (XML, OFD or PDF, at most 10 MiB each); needs a key of the scope "book".

    A file that was imported before is no error: the same command may be given again. Exit code 0 only when every
    invoice is imported.
    """
    counts: Counter[str] = Counter()
    done = 0
    async with connection.client() as client:
        with ItemProgress("importing", total=len(files), shown=len(files) > 1 and not connection.as_json) as progress:
            for position, file in enumerate(files, 1):
                answer = await _imported(client, file)
                name = ImportOutcome.Name(answer.outcome).removeprefix("IMPORT_OUTCOME_").lower()
                counts[name] += 1
                done += answer.outcome in DONE
                if connection.as_json:
                    print_json(_fields(file, name, answer))
                else:
                    click.echo(f"{file}: {_words(name, answer)}")
                progress.moved(position=position, items=position, rate=0)
    if len(files) > 1 and not connection.as_json:
        say(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.most_common()))
    return Exit.OK if done == len(files) else Exit.REFUSED


@click.command("imported", epilog=EXIT_CODES_HELP)
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="IMPORT", help="The last one you have.")
@connected
async def inbox_imported(connection: Connection, *, after: int) -> Exit:
    """Show imported invoices; with --json one object a line."""
    rows: list[tuple[str, ...]] = []
    async with connection.client() as client:
        async for item in client.inbox.imported(after=after):
            if connection.as_json:
                print_message(item)
                continue
            rows.append((
                str(item.import_id), item.number, moment(item.issue_time), item.seller_name, item.seller_tax_id,
                item.buyer_tax_id, amount(item.gross_total_minor), "yes" if item.verified else "no",
            ))  # fmt: skip
            if len(rows) == ROWS_MAX:
                break
    if not connection.as_json:
        print_table(COLUMNS, rows, right=frozenset(("import", "gross")))
    return Exit.OK


async def _imported(client: AsyncClient, file: Path) -> ImportInvoiceResponse:
    return await client.inbox.import_document(document_of(file), file_name=file.name[:255])


def _fields(file: Path, name: str, answer: ImportInvoiceResponse) -> dict[str, Any]:
    fields: dict[str, Any] = {"file": str(file), "outcome": name}
    if answer.HasField("imported"):
        item = answer.imported
        fields |= {"import_id": item.import_id, "number": item.number, "sha256": item.sha256.hex()}
        fields |= {"verified": item.verified, "gross_total_minor": item.gross_total_minor}
    if answer.detail:
        fields["detail"] = answer.detail
    if answer.altered_fields:
        fields["altered_fields"] = list(answer.altered_fields)
    if answer.broken_rules:
        fields["broken_rules"] = [
            {"field": each.field, "rule": each.rule, "description": each.description} for each in answer.broken_rules
        ]
    return fields


def _words(name: str, answer: ImportInvoiceResponse) -> str:
    text = name.replace("_", " ")
    if answer.outcome in DONE:
        text += f" as {answer.imported.import_id}: invoice {answer.imported.number}"
        return text + (", verified" if answer.imported.verified else ", not issued here: not verified")
    text += f", {answer.detail}" if answer.detail else ""
    text += "".join(f"\n  {path}" for path in answer.altered_fields)
    return text + "".join(f"\n  {each.field}: {each.description} [{each.rule}]" for each in answer.broken_rules)

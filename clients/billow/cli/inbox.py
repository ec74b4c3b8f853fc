"""`billow inbox`: the invoices that were issued to the tenant's taxpayer ids."""

import sys
from contextlib import aclosing

import click

from billow import EntryState, InvoiceKind, InvoiceState, ReceivedInvoice

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .show import amount, moment, print_message, print_table, say

PAGE_ITEMS_MAX = 1_000
ROWS_MAX = 10_000  # of one table; --json has no bound
COLUMNS = ("position", "number", "issued", "kind", "seller", "tax id", "gross", "state", "entry")


@click.group(short_help="Received invoices.")
def inbox() -> None:
    """Invoices that were issued to TAX_ID, by whomever.

    Needs an API key with the scope "read" of a tenant that has proved it (`billow tax-id`). Every invoice has a
    position: 1, 2, 3 … without a gap. Keep the last one and go on with --after: nothing is missed.
    """


@inbox.command("list", epilog=EXIT_CODES_HELP)
@click.argument("buyer_tax_id", metavar="TAX_ID")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="POSITION", help="The last one you have.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most invoices to show.")
@click.option("--all", "everything", is_flag=True, help="No limit; with --json only.")
@connected
async def inbox_list(connection: Connection, *, buyer_tax_id: str, after: int, limit: int, everything: bool) -> Exit:
    """Show the invoices after a position; with --json one object a line."""
    if everything and not connection.as_json:
        raise click.UsageError("--all goes with --json")
    left = 2**63 if everything else limit if connection.as_json else min(limit, ROWS_MAX)
    rows: list[tuple[str, ...]] = []
    async with connection.client() as client:
        async for item in client.inbox.list(buyer_tax_id, after=after, page_size=min(left, PAGE_ITEMS_MAX)):
            if connection.as_json:
                print_message(item)
            else:
                rows.append(_row(item))
            left -= 1
            if not left:
                break
    if not connection.as_json:
        print_table(COLUMNS, rows, right=frozenset(("position", "gross")))
    return Exit.OK


@inbox.command("follow", epilog=EXIT_CODES_HELP)
@click.argument("buyer_tax_id", metavar="TAX_ID")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="POSITION", help="The last one you have.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many.")
@connected
async def follow(connection: Connection, *, buyer_tax_id: str, after: int, count: int | None) -> Exit:
    """Show the invoices after a position, and each new one as it comes, one a line, until Ctrl-C."""
    done = 0
    async with connection.client() as client, aclosing(client.inbox.follow(buyer_tax_id, after=after)) as received:
        async for item in received:
            if connection.as_json:
                print_message(item)
            else:
                click.echo("  ".join(_row(item)))
            sys.stdout.flush()
            done += 1
            if done == count:
                break
    say(f"{done:,} received")
    return Exit.OK


def _row(item: ReceivedInvoice) -> tuple[str, ...]:
    return (
        str(item.position),
        item.number,
        moment(item.issue_time),
        InvoiceKind.Name(item.kind).removeprefix("INVOICE_KIND_").lower(),
        item.seller_name,
        item.seller_tax_id,
        amount(item.gross_total_minor),
        InvoiceState.Name(item.state).removeprefix("INVOICE_STATE_").lower().replace("_", " "),
        f"{item.entry_state:02d} " + EntryState.Name(item.entry_state).removeprefix("ENTRY_STATE_").lower(),
    )

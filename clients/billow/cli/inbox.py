"""`billow inbox`: the invoices that were issued to the tenant's taxpayer ids."""

import sys
from contextlib import aclosing

import click

from billow import EntryState, GetReceivedInvoiceResponse, InvoiceKind, InvoiceState, ReceivedInvoice

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .get import print_lines
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


@inbox.command("show", epilog=EXIT_CODES_HELP)
@click.argument("number")
@connected
async def inbox_show(connection: Connection, *, number: str) -> Exit:
    """Show the whole of received invoice NUMBER (20 digits); `billow document` gets its documents."""
    async with connection.client() as client:
        found = await client.inbox.get(number)
    if connection.as_json:
        print_message(found)
    else:
        print_table(("", ""), [fact for fact in _facts(found) if fact[1].strip()])
        print_lines(found.invoice)
    return Exit.OK


def _facts(found: GetReceivedInvoiceResponse) -> list[tuple[str, str]]:
    invoice = found.invoice
    entry = _entry(found.entry_state) + (f" {found.entry_period}" if found.entry_period else "")
    return [
        ("number", invoice.number),
        ("kind", _kind(invoice.kind)),
        ("state", _state(found.state)),
        ("entry", entry),
        ("issued", moment(invoice.issue_time)),
        ("seller", f"{invoice.seller.name} {invoice.seller.tax_id}"),
        ("buyer", f"{invoice.buyer.name} {invoice.buyer.tax_id}"),
        ("blue invoice", invoice.blue_number),
        ("remark", invoice.remark),
        ("drawer", invoice.drawer),
        ("without tax", amount(invoice.net_total_minor)),
        ("tax", amount(invoice.tax_total_minor)),
        ("with tax", amount(invoice.gross_total_minor)),
        ("red total", amount(found.red_total_minor) if found.red_total_minor else ""),
        ("body SHA-256", found.body_sha256.hex()),
    ]


def _kind(kind: InvoiceKind.ValueType) -> str:
    return InvoiceKind.Name(kind).removeprefix("INVOICE_KIND_").lower()


def _state(state: InvoiceState.ValueType) -> str:
    return InvoiceState.Name(state).removeprefix("INVOICE_STATE_").lower().replace("_", " ")


def _entry(state: EntryState.ValueType) -> str:
    return f"{state:02d} " + EntryState.Name(state).removeprefix("ENTRY_STATE_").lower()


def _row(item: ReceivedInvoice) -> tuple[str, ...]:
    return (
        str(item.position),
        item.number,
        moment(item.issue_time),
        _kind(item.kind),
        item.seller_name,
        item.seller_tax_id,
        amount(item.gross_total_minor),
        _state(item.state),
        _entry(item.entry_state),
    )

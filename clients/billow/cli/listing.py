"""`billow list`: invoices of a seller or a buyer."""

from datetime import datetime

import click

from billow import InvoiceKind, InvoiceSummary

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .show import amount, moment, print_message, print_table

PAGE_ITEMS_MAX = 1_000
ROWS_MAX = 10_000  # of one table; --json has no bound

_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


@click.command("list", short_help="List invoices.", epilog=EXIT_CODES_HELP)
@click.option("--seller", "seller_id", default="", metavar="ID", help="Invoices of this seller.")
@click.option("--buyer", "buyer_tax_id", default="", metavar="TAX-ID", help="Invoices to this buyer.")
@click.option("--request-id", default="", help="The invoice of this request; needs --seller.")
@click.option("--from", "issued_from", type=_MOMENT, help="Issued at or after, in the zone of this machine.")
@click.option("--before", "issued_before", type=_MOMENT, help="Issued before, in the zone of this machine.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most invoices to show.")
@click.option("--all", "everything", is_flag=True, help="No limit; with --json only.")
@connected
async def listing(
    connection: Connection,
    *,
    seller_id: str,
    buyer_tax_id: str,
    request_id: str,
    issued_from: datetime | None,
    issued_before: datetime | None,
    limit: int,
    everything: bool,
) -> Exit:
    """List invoices of a seller or to a buyer, oldest first; with --json one object a line."""
    if not seller_id and not buyer_tax_id:
        raise click.UsageError("one of --seller and --buyer is needed")
    if everything and not connection.as_json:
        raise click.UsageError("--all goes with --json")
    rows: list[tuple[str, ...]] = []
    left = 2**63 if everything else limit if connection.as_json else min(limit, ROWS_MAX)
    async with connection.client() as client:
        found = client.list(
            seller_id=seller_id,
            buyer_tax_id=buyer_tax_id,
            request_id=request_id,
            issued_from=issued_from.astimezone() if issued_from else None,
            issued_before=issued_before.astimezone() if issued_before else None,
            page_size=min(left, PAGE_ITEMS_MAX),
        )
        async for summary in found:
            if connection.as_json:
                print_message(summary)
            else:
                rows.append(_row(summary))
            left -= 1
            if not left:
                break
    if not connection.as_json:
        columns = ("number", "issued", "kind", "seller", "request id", "buyer", "net", "tax", "gross")
        print_table(columns, rows, right=frozenset(("net", "tax", "gross")))
    return Exit.OK


def _row(summary: InvoiceSummary) -> tuple[str, ...]:
    issued = summary.issued
    return (
        issued.number,
        moment(issued.issue_time),
        InvoiceKind.Name(summary.kind).removeprefix("INVOICE_KIND_").lower(),
        issued.seller_id,
        issued.request_id,
        summary.buyer_tax_id,
        amount(issued.net_total_minor),
        amount(issued.tax_total_minor),
        amount(issued.gross_total_minor),
    )

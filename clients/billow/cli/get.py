"""`billow get NUMBER`: one invoice as issued."""

import click

from billow import GetInvoiceResponse, Invoice, InvoiceKind, InvoiceState

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .results import issue_date
from .show import amount, moment, print_message, print_table


@click.command("get", short_help="Show one invoice.", epilog=EXIT_CODES_HELP)
@click.argument("number")
@connected
async def get(connection: Connection, *, number: str) -> Exit:
    """Show the invoice with NUMBER (20 digits): its body, what has become of it; with --json as in the contract."""
    async with connection.client() as client:
        found = await client.get(number)
    if connection.as_json:
        print_message(found)
    else:
        _show(found)
    return Exit.OK


def _show(found: GetInvoiceResponse) -> None:
    invoice, issued = found.invoice, found.issued
    facts = [
        ("number", issued.number),
        ("kind", InvoiceKind.Name(invoice.kind).removeprefix("INVOICE_KIND_").lower()),
        ("state", InvoiceState.Name(found.state).removeprefix("INVOICE_STATE_").lower().replace("_", " ")),
        ("issued", f"{moment(issued.issue_time)} (issue date {issue_date(issued.issue_time.seconds)})"),
        ("seller", f"{invoice.seller.name} {invoice.seller.tax_id} ({issued.seller_id})"),
        ("buyer", f"{invoice.buyer.name} {invoice.buyer.tax_id}"),
        ("request id", issued.request_id),
        ("blue invoice", invoice.blue_number),
        ("remark", invoice.remark),
        ("drawer", invoice.drawer),
        ("without tax", amount(issued.net_total_minor)),
        ("tax", amount(issued.tax_total_minor)),
        ("with tax", amount(issued.gross_total_minor)),
        ("red total", amount(found.red_total_minor) if found.red_total_minor else ""),
        ("body SHA-256", issued.body_sha256.hex()),
    ]
    print_table(("", ""), [fact for fact in facts if fact[1].strip()])
    print_lines(invoice)


def print_lines(invoice: Invoice) -> None:
    """The lines of an invoice as a table."""
    rows = [
        (
            f"*{line.category}*{line.name}" if line.category else line.name,
            line.specification,
            line.quantity,
            line.unit,
            line.unit_price,
            amount(line.net_minor),
            f"{line.tax_rate_bp / 100:g} %",
            amount(line.tax_minor),
            amount(line.gross_minor),
        )
        for line in invoice.lines
    ]
    columns = ("item", "specification", "quantity", "unit", "price", "net", "rate", "tax", "gross")
    print_table(columns, rows, right=frozenset(("quantity", "price", "net", "rate", "tax", "gross")))

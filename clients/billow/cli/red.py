"""`billow red`: red invoices and their confirmation forms."""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import click

from billow import (
    RED_EXTENT_LINES,
    RED_EXTENT_REMAINDER,
    RED_EXTENT_WHOLE,
    Confirmation,
    ConfirmationState,
    IssueRedInvoiceRequest,
    RedLine,
    RedReason,
    RedSelection,
)

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .red_batch import red_batch
from .red_rows import REASONS
from .show import amount, moment, print_message, print_table

STATES = {f"{number:02d}": number for number in range(1, 10)}
COLUMNS = ("form", "blue invoice", "reason", "with tax", "state", "made by", "red invoice", "made", "void at")
LINE_FORM = re.compile(r"(?P<line>[0-9]+)(:(?P<what>quantity|net|gross)=(?P<value>[0-9]+(\.[0-9]+)?))?", re.ASCII)

Command = TypeVar("Command", bound=Callable[..., Any])

_SELECTION = (
    click.argument("number"),
    click.option("--reason", type=click.Choice(tuple(REASONS)), required=True,
                 help="01 issued in error, 02 goods returned, 03 service stopped, 04 allowance."),
    click.option("--rest", is_flag=True, help="Whatever is left of the invoice. Default: the whole of it."),
    click.option("--line", "lines", multiple=True, metavar="N[:WHAT=VALUE]",
                 help="Only this line, from 1: what is left, or quantity=2, net=12.34 or gross=12.34. Repeatable."),
)  # fmt: skip


def _selected(command: Command) -> Command:
    """Adds the options that say what is red-lettered."""
    for option in reversed(_SELECTION):
        command = option(command)
    return command


def selection_of(number: str, reason: str, rest: bool, lines: Sequence[str]) -> RedSelection:
    """Builds the selection; raises click.UsageError."""
    if rest and lines:
        raise click.UsageError("--rest and --line exclude each other")
    extent = RED_EXTENT_LINES if lines else RED_EXTENT_REMAINDER if rest else RED_EXTENT_WHOLE
    named = [_line(text) for text in lines]
    return RedSelection(blue_number=number, reason=RedReason.ValueType(REASONS[reason]), extent=extent, lines=named)


def _line(text: str) -> RedLine:
    found = LINE_FORM.fullmatch(text)
    if found is None:
        raise click.UsageError(f"--line {text!r} is not N, N:quantity=…, N:net=… or N:gross=…")
    line, what, value = int(found["line"]), found["what"], found["value"]
    if line >= 2**31:
        raise click.UsageError(f"--line {text!r}: there is no such line")
    if what is None:
        return RedLine(line=line)
    if what == "quantity":
        return RedLine(line=line, quantity=value)
    minor = Decimal(value) * 100
    if minor != int(minor) or minor >= 2**63:
        raise click.UsageError(f"--line {text!r}: an amount has at most two decimals")
    return RedLine(line=line, net_minor=int(minor)) if what == "net" else RedLine(line=line, gross_minor=int(minor))


@click.group(short_help="Red invoices and confirmation forms.", commands=[red_batch])
def red() -> None:
    """Correct issued invoices by red ones. Needs an API key with the scope "issue", "read" to look."""


@red.command("issue", epilog=EXIT_CODES_HELP)
@click.argument("seller_id")
@click.argument("request_id")
@_selected
@click.option("--form", "confirmation_id", default="", metavar="ID", help="The confirmation form that allows it.")
@click.option("--drawer", default="", help="Who draws it. Default: as on the blue invoice.")
@connected
async def red_issue(
    connection: Connection,
    *,
    seller_id: str,
    request_id: str,
    number: str,
    reason: str,
    rest: bool,
    lines: tuple[str, ...],
    confirmation_id: str,
    drawer: str,
) -> Exit:
    """Red-letter invoice NUMBER of SELLER_ID, once per REQUEST_ID however often it is called."""
    request = IssueRedInvoiceRequest(
        seller_id=seller_id,
        request_id=request_id,
        selection=selection_of(number, reason, rest, lines),
        confirmation_id=confirmation_id,
        drawer=drawer,
    )
    async with connection.client() as client:
        issued = await client.red_letter.issue(request)
    if connection.as_json:
        print_message(issued)
    else:
        columns = ("red invoice", "blue invoice", "without tax", "tax", "with tax")
        amounts = (issued.issued.net_total_minor, issued.issued.tax_total_minor, issued.issued.gross_total_minor)
        row = (issued.issued.number, issued.blue_number, *map(amount, amounts))
        print_table(columns, [row], right=frozenset(columns[2:]))
    return Exit.OK


@red.command("form", epilog=EXIT_CODES_HELP)
@click.argument("request_id")
@_selected
@click.option("--as-buyer", is_flag=True, help="Make it as the buyer. Default: as the seller.")
@connected
async def red_form(
    connection: Connection,
    *,
    request_id: str,
    number: str,
    reason: str,
    rest: bool,
    lines: tuple[str, ...],
    as_buyer: bool,
) -> Exit:
    """Make a confirmation form about invoice NUMBER, once per REQUEST_ID."""
    selection = selection_of(number, reason, rest, lines)
    async with connection.client() as client:
        made = await client.red_letter.create_confirmation(request_id, selection, as_buyer=as_buyer)
    return _show(connection, [made])


@red.command("confirm")
@click.argument("confirmation_id")
@connected
async def red_confirm(connection: Connection, *, confirmation_id: str) -> Exit:
    """Confirm a form that waits for us."""
    async with connection.client() as client:
        return _show(connection, [await client.red_letter.confirm(confirmation_id)])


@red.command("refuse")
@click.argument("confirmation_id")
@connected
async def red_refuse(connection: Connection, *, confirmation_id: str) -> Exit:
    """Refuse a form that waits for us."""
    async with connection.client() as client:
        return _show(connection, [await client.red_letter.refuse(confirmation_id)])


@red.command("withdraw")
@click.argument("confirmation_id")
@connected
async def red_withdraw(connection: Connection, *, confirmation_id: str) -> Exit:
    """Withdraw a form of ours that no red invoice has used."""
    async with connection.client() as client:
        return _show(connection, [await client.red_letter.withdraw(confirmation_id)])


@red.command("show")
@click.argument("confirmation_id")
@connected
async def red_show(connection: Connection, *, confirmation_id: str) -> Exit:
    """Show a form."""
    async with connection.client() as client:
        return _show(connection, [await client.red_letter.get_confirmation(confirmation_id)])


@red.command("list", epilog=EXIT_CODES_HELP)
@click.option("--seller", "seller_id", default="", metavar="ID", help="Forms about invoices of this seller.")
@click.option("--buyer", "buyer_tax_id", default="", metavar="TAX_ID", help="Forms about invoices to this buyer: us.")
@click.option("--state", type=click.Choice(tuple(STATES)), help="Only those in this state.")
@connected
async def red_list(connection: Connection, *, seller_id: str, buyer_tax_id: str, state: str | None) -> Exit:
    """List confirmation forms, oldest first."""
    wanted = ConfirmationState.ValueType(STATES[state] if state else 0)
    async with connection.client() as client:
        found = client.red_letter.list_confirmations(seller_id=seller_id, buyer_tax_id=buyer_tax_id, state=wanted)
        return _show(connection, [form async for form in found])


def _show(connection: Connection, forms: Sequence[Confirmation]) -> Exit:
    if connection.as_json:
        for form in forms:
            print_message(form)
    else:
        print_table(COLUMNS, map(_row, forms), right=frozenset(("with tax",)))
    return Exit.OK


def _row(form: Confirmation) -> tuple[str, ...]:
    state = ConfirmationState.Name(form.state).removeprefix("CONFIRMATION_STATE_").lower().replace("_", " ")
    return (
        form.confirmation_id,
        form.selection.blue_number,
        f"{form.selection.reason:02d}",
        amount(form.gross_total_minor),
        f"{form.state:02d} {state}",
        "buyer" if form.made_by_buyer else "seller",
        form.red_number,
        moment(form.create_time),
        moment(form.expire_time),
    )

"""`billow seller quota`: what a seller may issue in a month."""

import click

from billow import CreditQuota

from .connection import Connection, connected
from .exits import Exit
from .show import amount, print_message, print_table
from .verify import parse_amount

COLUMNS = ("seller", "month", "quota", "used", "left")


@click.group("quota", short_help="Its credit quota.")
def quota() -> None:
    """Credit quota of a seller: the most it may issue in a calendar month, without tax.

    Issuing beyond it is refused. Red invoices give nothing back.
    """


def _show(connection: Connection, found: CreditQuota) -> Exit:
    if connection.as_json:
        print_message(found)
    elif found.HasField("quota_minor"):
        amounts = amount(found.quota_minor), amount(found.used_minor), amount(found.left_minor)
        print_table(COLUMNS, [(found.seller_id, found.month, *amounts)], right=frozenset(COLUMNS[2:]))
    else:
        click.echo(f"{found.seller_id} has no credit quota")
    return Exit.OK


def _amount(_context: click.Context, _parameter: click.Parameter, text: str) -> int:
    """Reads the amount of the quota."""
    return parse_amount(text, hint="AMOUNT")


@quota.command("set")
@click.argument("seller_id")
@click.argument("quota_minor", metavar="AMOUNT", callback=_amount)
@connected
async def quota_set(connection: Connection, *, seller_id: str, quota_minor: int) -> Exit:
    """Let SELLER_ID issue at most AMOUNT a month (such as 750000 or 1,000.50), from now on.

    What it has issued this month counts.
    """
    async with connection.client() as client:
        return _show(connection, await client.registry.set_credit_quota(seller_id, quota_minor))


@quota.command("clear")
@click.argument("seller_id")
@connected
async def quota_clear(connection: Connection, *, seller_id: str) -> Exit:
    """Let SELLER_ID issue any amount."""
    async with connection.client() as client:
        return _show(connection, await client.registry.clear_credit_quota(seller_id))


@quota.command("get")
@click.argument("seller_id")
@connected
async def quota_get(connection: Connection, *, seller_id: str) -> Exit:
    """Show the quota of SELLER_ID, and what is used of it this month."""
    async with connection.client() as client:
        return _show(connection, await client.registry.get_credit_quota(seller_id))

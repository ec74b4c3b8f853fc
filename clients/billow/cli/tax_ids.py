"""`billow tax-id`: which taxpayer ids the tenant has proved."""

import click

from billow import TaxId

from .connection import Connection, connected
from .exits import Exit
from .show import moment, print_message, print_table

COLUMNS = ("tenant", "tax id", "claimed", "confirmed")


@click.group("tax-id", short_help="Taxpayer ids of the tenant.")
def tax_id() -> None:
    """Taxpayer ids: claimed by the tenant (scope "registry"), confirmed by the platform (scope "platform").

    A confirmed one opens the invoices that others issued to it: `billow inbox` and `billow book`.
    """


def _show(connection: Connection, found: list[TaxId]) -> Exit:
    if connection.as_json:
        for item in found:
            print_message(item)
    else:
        rows = [(item.tenant_id, item.tax_id, moment(item.claim_time), moment(item.confirm_time)) for item in found]
        print_table(COLUMNS, rows)
    return Exit.OK


@tax_id.command("claim")
@click.argument("taxpayer", metavar="TAX_ID")
@connected
async def claim(connection: Connection, *, taxpayer: str) -> Exit:
    """Claim TAX_ID for the tenant; the platform confirms it."""
    async with connection.client() as client:
        return _show(connection, [await client.tax_ids.claim(taxpayer)])


@tax_id.command("confirm")
@click.argument("tenant_id")
@click.argument("taxpayer", metavar="TAX_ID")
@connected
async def confirm(connection: Connection, *, tenant_id: str, taxpayer: str) -> Exit:
    """Confirm that TAX_ID is TENANT_ID's; look at the papers first. Platform keys only."""
    async with connection.client() as client:
        return _show(connection, [await client.tax_ids.confirm(tenant_id, taxpayer)])


@tax_id.command("revoke")
@click.argument("tenant_id")
@click.argument("taxpayer", metavar="TAX_ID")
@connected
async def revoke(connection: Connection, *, tenant_id: str, taxpayer: str) -> Exit:
    """Take TENANT_ID's claim to TAX_ID away. Platform keys only."""
    async with connection.client() as client:
        await client.tax_ids.revoke(tenant_id, taxpayer)
    return Exit.OK


@tax_id.command("list")
@click.option("--tenant", "tenant_id", default="", metavar="ID", help="Of another tenant; platform keys only.")
@connected
async def tax_id_list(connection: Connection, *, tenant_id: str) -> Exit:
    """List the taxpayer ids of the tenant."""
    async with connection.client() as client:
        return _show(connection, [item async for item in client.tax_ids.list(tenant_id)])

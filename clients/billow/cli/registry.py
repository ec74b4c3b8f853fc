"""`billow tenant|key|seller|range`: the registry."""

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import click
from google.protobuf.message import Message

from billow import (
    INVOICE_COLOR_BLUE,
    INVOICE_COLOR_RED,
    INVOICE_KIND_GENERAL,
    INVOICE_KIND_SPECIAL,
    ApiKey,
    InvoiceKind,
    NumberRange,
    Party,
    Seller,
    Tenant,
)

from .connection import Connection, connected
from .exits import Exit
from .show import moment, print_message, print_table

Found = TypeVar("Found", bound=Message)
Row = tuple[str, ...]

SCOPES = ("issue", "read", "verify", "book", "registry", "platform")
KINDS = {"general": INVOICE_KIND_GENERAL, "special": INVOICE_KIND_SPECIAL}

TENANT_COLUMNS = ("tenant", "name", "created")
KEY_COLUMNS = ("key", "tenant", "scopes", "name", "created", "revoked")
SELLER_COLUMNS = ("seller", "name", "tax id", "profile", "created")
RANGE_COLUMNS = ("range", "seller", "kind", "first", "last", "used", "created")


async def _show(
    connection: Connection, columns: tuple[str, ...], found: AsyncIterator[Found], row: Callable[[Found], Row]
) -> Exit:
    rows = []
    async for message in found:
        if connection.as_json:
            print_message(message)
        else:
            rows.append(row(message))
    if not connection.as_json:
        print_table(columns, rows, right=frozenset(("used",)))
    return Exit.OK


async def _only(message: Found) -> AsyncIterator[Found]:
    yield message


def _tenant_row(found: Tenant) -> Row:
    return found.tenant_id, found.display_name, moment(found.create_time)


def _key_row(found: ApiKey) -> Row:
    times = moment(found.create_time), moment(found.revoke_time)
    return found.key_id, found.tenant_id, " ".join(found.scopes), found.display_name, *times


def _seller_row(found: Seller) -> Row:
    return found.seller_id, found.party.name, found.party.tax_id, found.profile, moment(found.create_time)


def _range_row(found: NumberRange) -> Row:
    kind = InvoiceKind.Name(found.kind).removeprefix("INVOICE_KIND_").lower()
    if found.color == INVOICE_COLOR_RED:
        kind += " red"
    numbers = found.first_number, found.last_number, f"{found.used:,}"
    return str(found.range_id), found.seller_id, kind, *numbers, moment(found.create_time)


@click.group(short_help="Tenants (platform keys only).")
def tenant() -> None:
    """Tenants. Needs an API key with the scope "platform"."""


@tenant.command("create")
@click.argument("tenant_id")
@click.option("--name", "display_name", default="", help="Name for people.")
@connected
async def tenant_create(connection: Connection, *, tenant_id: str, display_name: str) -> Exit:
    """Create a tenant."""
    async with connection.client() as client:
        created = await client.registry.create_tenant(tenant_id, display_name=display_name)
    return await _show(connection, TENANT_COLUMNS, _only(created), _tenant_row)


@tenant.command("list")
@connected
async def tenant_list(connection: Connection) -> Exit:
    """List all tenants."""
    async with connection.client() as client:
        return await _show(connection, TENANT_COLUMNS, client.registry.list_tenants(), _tenant_row)


@click.group(short_help="API keys.")
def key() -> None:
    """API keys of the tenant. Needs an API key with the scope "registry"."""


@key.command("create")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="What it may do.")
@click.option("--tenant", "tenant_id", default="", metavar="ID", help="For another tenant; needs the scope platform.")
@click.option("--name", "display_name", default="", help="Note for people.")
@connected
async def key_create(connection: Connection, *, scopes: tuple[str, ...], tenant_id: str, display_name: str) -> Exit:
    """Create an API key and print its secret: this once, and never again."""
    async with connection.client() as client:
        created = await client.registry.create_api_key(scopes, tenant_id=tenant_id, display_name=display_name)
    if connection.as_json:
        print_message(created)
    else:
        click.echo(created.secret)
        click.echo(f"key {created.api_key.key_id} of {created.api_key.tenant_id}; keep the secret above", err=True)
    return Exit.OK


@key.command("list")
@connected
async def key_list(connection: Connection) -> Exit:
    """List the API keys of the tenant, without their secrets."""
    async with connection.client() as client:
        return await _show(connection, KEY_COLUMNS, client.registry.list_api_keys(), _key_row)


@key.command("revoke")
@click.argument("key_id")
@connected
async def key_revoke(connection: Connection, *, key_id: str) -> Exit:
    """Revoke an API key; in effect within a second."""
    async with connection.client() as client:
        revoked = await client.registry.revoke_api_key(key_id)
    return await _show(connection, KEY_COLUMNS, _only(revoked), _key_row)


@click.group(short_help="Sellers.")
def seller() -> None:
    """Sellers of the tenant. Needs an API key with the scope "registry"."""


@seller.command("create")
@click.argument("seller_id")
@click.option("--name", required=True, help="Name on the invoices.")
@click.option("--tax-id", required=True, help="Taxpayer id.")
@click.option("--address", default="", help="Address.")
@click.option("--phone", default="", help="Telephone number.")
@click.option("--bank-name", default="", help="Name of the bank.")
@click.option("--bank-account", default="", help="Account at that bank.")
@click.option("--profile", default="", help="Rules of its invoices. Default: cn")
@connected
async def seller_create(connection: Connection, *, seller_id: str, profile: str, **party: str) -> Exit:
    """Register a seller."""
    async with connection.client() as client:
        created = await client.registry.create_seller(seller_id, Party(**party), profile=profile)
    return await _show(connection, SELLER_COLUMNS, _only(created), _seller_row)


@seller.command("get")
@click.argument("seller_id")
@connected
async def seller_get(connection: Connection, *, seller_id: str) -> Exit:
    """Show a seller."""
    async with connection.client() as client:
        found = await client.registry.get_seller(seller_id)
    return await _show(connection, SELLER_COLUMNS, _only(found), _seller_row)


@seller.command("list")
@connected
async def seller_list(connection: Connection) -> Exit:
    """List the sellers of the tenant."""
    async with connection.client() as client:
        return await _show(connection, SELLER_COLUMNS, client.registry.list_sellers(), _seller_row)


@click.group("range", short_help="Number ranges.")
def number_range() -> None:
    """Number ranges of a seller. Needs an API key with the scope "registry"."""


@number_range.command("create")
@click.argument("seller_id")
@click.argument("first_number")
@click.argument("last_number")
@click.option("--kind", type=click.Choice(list(KINDS)), required=True, help="Kind of invoice it numbers.")
@click.option("--red", is_flag=True, help="It numbers red invoices.")
@connected
async def range_create(
    connection: Connection, *, seller_id: str, first_number: str, last_number: str, kind: str, red: bool
) -> Exit:
    """Add the numbers from FIRST_NUMBER to LAST_NUMBER (20 digits each), as the authority gave them."""
    async with connection.client() as client:
        added = await client.registry.add_number_range(
            seller_id,
            kind=KINDS[kind],
            first_number=first_number,
            last_number=last_number,
            color=INVOICE_COLOR_RED if red else INVOICE_COLOR_BLUE,
        )
    return await _show(connection, RANGE_COLUMNS, _only(added), _range_row)


@number_range.command("list")
@click.argument("seller_id")
@connected
async def range_list(connection: Connection, *, seller_id: str) -> Exit:
    """List the number ranges of a seller in the order of their use."""
    async with connection.client() as client:
        return await _show(connection, RANGE_COLUMNS, client.registry.list_number_ranges(seller_id), _range_row)

"""`billow-admin tenant|key|seller|range`: who may issue, for whom, and with which numbers.

The same rules as the RegistryService's; here nobody needs a key, but the password of the database.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import click

from admin.command import json_option, print_json, run, settings_option
from admin.nodes import open_nodes
from admin.withdraw import withdraw
from core.domain.errors import BillowError, Reason
from core.domain.kinds import InvoiceColor, InvoiceKind
from core.domain.parties import Party
from core.domain.profile import CN
from core.settings import Settings
from core.storage.mysql.pool import Replicas
from core.storage.mysql.registry import MySQLRegistryStore
from core.storage.ports import SellerRecord
from core.storage.registry_port import SCOPES, ApiKeyRecord, NumberRangeRecord, RegistryStore, TenantRecord
from server.services import registry_rules as rules
from server.services.auth import SECRET_PREFIX, secret_sha256

SECRET_BYTES: Final = 32
KINDS: Final = {kind.name.lower(): int(kind) for kind in InvoiceKind}


@click.group()
def tenant() -> None:
    """Manage tenants."""


@click.group()
def key() -> None:
    """Manage API keys, in particular the first one."""


@click.group()
def seller() -> None:
    """Manage sellers."""


@click.group(name="range", commands=[withdraw])
def number_range() -> None:
    """Manage number ranges."""


@asynccontextmanager
async def _registry(settings: Settings) -> AsyncIterator[RegistryStore]:
    """Opens the registry on the primary."""
    async with open_nodes(settings) as nodes:
        yield MySQLRegistryStore(primary=lambda: nodes.primary, replicas=lambda: Replicas(()))


def _now_us() -> int:
    """The wall clock, µs since the epoch."""
    return time.time_ns() // 1_000


async def _tenant_key(registry: RegistryStore, tenant_id: str) -> int:
    """Looks a tenant up; raises TENANT_NOT_FOUND."""
    found = await registry.tenant(tenant_id)
    if found is None:
        raise BillowError(Reason.TENANT_NOT_FOUND, f"there is no tenant {tenant_id!r}")
    return found.tenant_key


def _show(as_json: bool, text: str, **values: Any) -> None:
    """Prints a text, or the values as JSON."""
    if as_json:
        print_json(values)
    else:
        click.echo(text)


@tenant.command("create")
@settings_option
@json_option
@click.argument("tenant_id")
@click.option("--name", default="", help="Name for people. [default: the id]")
def tenant_create(*, settings: Settings, as_json: bool, tenant_id: str, name: str) -> None:
    """Create a tenant."""

    async def work() -> None:
        rules.refuse(rules.id_faults(tenant_id, "tenant_id") + rules.display_name_faults(name))
        async with _registry(settings) as registry:
            await registry.create_tenant(TenantRecord(0, tenant_id, name or tenant_id, _now_us()))

    run(work())
    _show(as_json, f"tenant {tenant_id} created", tenant_id=tenant_id)


@key.command("create")
@settings_option
@json_option
@click.option("--tenant", "tenant_id", required=True, help="Tenant the key acts for.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="What it may do.")
@click.option("--name", default="", help="Note for people.")
@click.option("--create-tenant", is_flag=True, help="Create the tenant when there is none of that id.")
def key_create(
    *, settings: Settings, as_json: bool, tenant_id: str, scopes: tuple[str, ...], name: str, create_tenant: bool
) -> None:
    """Create an API key and print its secret, which is shown only now."""
    secret = SECRET_PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")
    key_id = secrets.token_hex(8)

    async def work() -> None:
        rules.refuse(rules.id_faults(tenant_id, "tenant_id") + rules.display_name_faults(name))
        async with _registry(settings) as registry:
            if create_tenant and await registry.tenant(tenant_id) is None:
                await registry.create_tenant(TenantRecord(0, tenant_id, tenant_id, _now_us()))
            tenant_key = await _tenant_key(registry, tenant_id)
            record = ApiKeyRecord(key_id, tenant_key, tenant_id, frozenset(scopes), name, _now_us(), None)
            await registry.create_api_key(record, secret_sha256(secret))

    run(work())
    _show(as_json, secret, key_id=key_id, tenant_id=tenant_id, scopes=sorted(set(scopes)), secret=secret)


@seller.command("create")
@settings_option
@json_option
@click.argument("seller_id")
@click.option("--tenant", "tenant_id", required=True, help="Tenant the seller belongs to.")
@click.option("--name", required=True, help="Name on its invoices.")
@click.option("--tax-id", required=True, help="Taxpayer id.")
@click.option("--address", default="")
@click.option("--phone", default="")
@click.option("--bank-name", default="")
@click.option("--bank-account", default="")
@click.option("--profile", default=CN.name, show_default=True, help="Rules its invoices obey.")
def seller_create(
    *, settings: Settings, as_json: bool, seller_id: str, tenant_id: str, profile: str, **party: str
) -> None:
    """Register a seller."""
    parts = Party(**party)

    async def work() -> None:
        rules.refuse(rules.seller_faults(seller_id, parts, profile))
        async with _registry(settings) as registry:
            tenant_key = await _tenant_key(registry, tenant_id)
            await registry.create_seller(SellerRecord(0, tenant_key, seller_id, profile, parts, _now_us()))

    run(work())
    _show(as_json, f"seller {seller_id} created", seller_id=seller_id, tenant_id=tenant_id)


@number_range.command("add")
@settings_option
@json_option
@click.argument("first_number")
@click.argument("last_number")
@click.option("--tenant", "tenant_id", required=True, help="Tenant of the seller.")
@click.option("--seller", "seller_id", required=True, help="Seller that uses the numbers.")
@click.option("--kind", required=True, type=click.Choice(sorted(KINDS)), help="Kind of the invoices.")
@click.option("--red", is_flag=True, help="For red invoices. [default: for blue ones]")
def range_add(
    *,
    settings: Settings,
    as_json: bool,
    first_number: str,
    last_number: str,
    tenant_id: str,
    seller_id: str,
    kind: str,
    red: bool,
) -> None:
    """Add a range of numbers, used after those added before."""

    async def work() -> NumberRangeRecord:
        rules.refuse(rules.range_faults(seller_id, KINDS[kind], first_number, last_number))
        async with _registry(settings) as registry:
            found = await registry.sellers_by_id([(await _tenant_key(registry, tenant_id), seller_id)])
            if not found:
                raise BillowError(Reason.SELLER_NOT_FOUND, f"tenant {tenant_id!r} has no seller {seller_id!r}")
            return await registry.add_number_range(
                NumberRangeRecord(
                    *(0, found[0].seller_key, KINDS[kind], first_number, last_number, 0, _now_us()),
                    color=int(InvoiceColor.RED if red else InvoiceColor.BLUE),
                )
            )

    added = run(work())
    _show(as_json, f"range {added.range_id} added", range_id=added.range_id, seller_id=seller_id, kind=kind)

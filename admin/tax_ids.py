"""`billow-admin tax-id`: confirming that a taxpayer id is a tenant's (docs/adr/0018)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click

from admin.command import json_option, print_json, run, settings_option
from admin.nodes import open_nodes
from core.domain.errors import BillowError, Reason
from core.settings import Settings
from core.storage.entry_port import TaxIdRecord
from core.storage.mysql.pool import Replicas
from core.storage.mysql.registry import MySQLRegistryStore
from core.storage.mysql.tax_ids import MySQLTaxIdStore
from server.services.registry_rules import id_faults, refuse
from server.services.tax_ids import tax_id_faults


@click.group("tax-id")
def tax_id() -> None:
    """Confirm or take away the taxpayer ids that tenants claim.

    A confirmed id opens all invoices issued to it, by whomever, to the tenant: look at the papers first.
    """


@asynccontextmanager
async def _claims(settings: Settings, tenant_id: str, taxpayer: str) -> AsyncIterator[tuple[MySQLTaxIdStore, int]]:
    """Opens the store on the primary and finds the tenant; raises INVALID_REQUEST, TENANT_NOT_FOUND."""
    refuse(id_faults(tenant_id, "tenant_id") + tax_id_faults(taxpayer))
    async with open_nodes(settings) as nodes:
        registry = MySQLRegistryStore(primary=lambda: nodes.primary, replicas=lambda: Replicas(()))
        tenant = await registry.tenant(tenant_id)
        if tenant is None:
            raise BillowError(Reason.TENANT_NOT_FOUND, f"there is no tenant {tenant_id!r}")
        yield MySQLTaxIdStore(primary=lambda: nodes.primary), tenant.tenant_key


@tax_id.command("confirm")
@settings_option
@json_option
@click.argument("taxpayer", metavar="TAX_ID")
@click.option("--tenant", "tenant_id", required=True, help="Tenant that claims it.")
@click.option("--claim", "also_claim", is_flag=True, help="Claim it for the tenant first.")
def confirm(*, settings: Settings, as_json: bool, taxpayer: str, tenant_id: str, also_claim: bool) -> None:
    """Confirm that TAX_ID is the tenant's; in effect at once. Again changes nothing."""

    async def work() -> TaxIdRecord:
        now_us = time.time_ns() // 1_000
        async with _claims(settings, tenant_id, taxpayer) as (store, tenant_key):
            if also_claim:
                await store.claim(tenant_key, taxpayer, now_us=now_us)
            return await store.confirm(tenant_key, taxpayer, now_us=now_us)

    confirmed = run(work())
    if as_json:
        print_json({"tenant_id": tenant_id, "tax_id": taxpayer, "confirmed_at_us": confirmed.confirmed_at_us})
    else:
        click.echo(f"{taxpayer} is confirmed to be of tenant {tenant_id}")


@tax_id.command("revoke")
@settings_option
@json_option
@click.argument("taxpayer", metavar="TAX_ID")
@click.option("--tenant", "tenant_id", required=True, help="Tenant that claimed it.")
def revoke(*, settings: Settings, as_json: bool, taxpayer: str, tenant_id: str) -> None:
    """Take a claim away, confirmed or not; in effect at once."""

    async def work() -> None:
        async with _claims(settings, tenant_id, taxpayer) as (store, tenant_key):
            await store.revoke(tenant_key, taxpayer)

    run(work())
    if as_json:
        print_json({"tenant_id": tenant_id, "tax_id": taxpayer})
    else:
        click.echo(f"{taxpayer} is not of tenant {tenant_id} any more")

"""`billow-admin quota`: what a seller may issue in a month (docs/adr/0022)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import click

from admin.command import json_option, print_json, run, settings_option
from admin.nodes import open_nodes
from core.domain.decimals import minor_text
from core.domain.errors import BillowError, Reason
from core.settings import Settings
from core.storage.credit import month_text
from core.storage.mysql.pool import Replicas
from core.storage.mysql.quotas import MySQLQuotaStore
from core.storage.mysql.registry import MySQLRegistryStore
from core.storage.quota_port import CreditQuota, QuotaStore
from server.services.credit_quota import quota_faults
from server.services.registry_rules import id_faults, refuse

_tenant_option = click.option("--tenant", "tenant_id", required=True, help="Tenant of the seller.")


@click.group("quota")
def quota() -> None:
    """Set, clear or show the credit quota of a seller: what it may issue in a calendar month, without tax."""


@quota.command("set")
@settings_option
@json_option
@click.argument("seller_id")
@click.argument("quota_minor", metavar="FEN", type=int)
@_tenant_option
def quota_set(*, settings: Settings, as_json: bool, seller_id: str, quota_minor: int, tenant_id: str) -> None:
    """Let SELLER_ID issue at most FEN (hundredths) a month, in force at once; what was issued this month counts."""

    async def work(store: QuotaStore, seller_key: int) -> CreditQuota:
        refuse(quota_faults(quota_minor))
        return await store.set(seller_key, quota_minor)

    _show(as_json, seller_id, _run(settings, tenant_id, seller_id, work))


@quota.command("clear")
@settings_option
@json_option
@click.argument("seller_id")
@_tenant_option
def quota_clear(*, settings: Settings, as_json: bool, seller_id: str, tenant_id: str) -> None:
    """Let SELLER_ID issue any amount."""
    _show(as_json, seller_id, _run(settings, tenant_id, seller_id, lambda store, key: store.clear(key)))


@quota.command("get")
@settings_option
@json_option
@click.argument("seller_id")
@_tenant_option
def quota_get(*, settings: Settings, as_json: bool, seller_id: str, tenant_id: str) -> None:
    """Show the quota of SELLER_ID and what is used of it this month."""
    _show(as_json, seller_id, _run(settings, tenant_id, seller_id, lambda store, key: store.get(key)))


def _run(
    settings: Settings, tenant_id: str, seller_id: str, work: Callable[[QuotaStore, int], Awaitable[CreditQuota]]
) -> CreditQuota:
    """Finds the seller and works on its quota; refuses with INVALID_REQUEST, TENANT_NOT_FOUND, SELLER_NOT_FOUND."""

    async def found() -> CreditQuota:
        refuse(id_faults(tenant_id, "tenant_id") + id_faults(seller_id, "seller_id"))
        async with open_nodes(settings) as nodes:
            registry = MySQLRegistryStore(primary=lambda: nodes.primary, replicas=lambda: Replicas(()))
            tenant = await registry.tenant(tenant_id)
            if tenant is None:
                raise BillowError(Reason.TENANT_NOT_FOUND, f"there is no tenant {tenant_id!r}")
            sellers = await registry.sellers_by_id([(tenant.tenant_key, seller_id)])
            if not sellers:
                raise BillowError(Reason.SELLER_NOT_FOUND, f"tenant {tenant_id!r} has no seller {seller_id!r}")
            store = MySQLQuotaStore(primary=lambda: nodes.primary, now_us=lambda: time.time_ns() // 1_000)
            return await work(store, sellers[0].seller_key)

    return run(found())


def _show(as_json: bool, seller_id: str, found: CreditQuota) -> None:
    """Prints a quota."""
    if as_json:
        values = {"quota_minor": found.quota_minor, "used_minor": found.used_minor, "left_minor": found.left_minor}
        print_json({"seller_id": seller_id, "month": month_text(found.month), **values})
    elif found.quota_minor is None:
        click.echo(f"{seller_id} has no credit quota")
    else:
        used, all_of_it = minor_text(found.used_minor), minor_text(found.quota_minor)
        click.echo(f"{seller_id} used {used} of {all_of_it} in {month_text(found.month)}")

"""`billow-admin key`: API keys, in particular the first one."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import Final

import click

from admin.command import json_option, print_json, run, settings_option
from core.domain.errors import BillowError, Reason
from core.settings import Settings
from core.storage.mysql.pool import Node, Primary, rows

SCOPES: Final = ("issue", "read", "verify", "registry", "platform")
SECRET_BYTES: Final = 32


@click.group()
def key() -> None:
    """Manage API keys."""


@key.command("create")
@settings_option
@json_option
@click.option("--tenant", required=True, help="Tenant the key acts for.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="What it may do.")
@click.option("--name", default="", help="Note for people.")
@click.option("--create-tenant", is_flag=True, help="Create the tenant when there is none of that id.")
def create(
    *, settings: Settings, as_json: bool, tenant: str, scopes: tuple[str, ...], name: str, create_tenant: bool
) -> None:
    """Create an API key and print its secret, which is shown only now."""
    secret = "bk_" + base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")
    key_id = run(
        _create(
            settings, tenant=tenant, scopes=sorted(set(scopes)), name=name, create_tenant=create_tenant, secret=secret
        )
    )
    if as_json:
        print_json({"key_id": key_id, "tenant_id": tenant, "scopes": sorted(set(scopes)), "secret": secret})
    else:
        click.echo(secret)


async def _create(
    settings: Settings, *, tenant: str, scopes: list[str], name: str, create_tenant: bool, secret: str
) -> str:
    """Writes the key, and the tenant when asked to; 1 to 3 round trips. Returns the key's id."""
    primary = Primary(Node(settings.mysql, settings.mysql.primary))
    key_id, now_us = secrets.token_hex(8), time.time_ns() // 1_000
    try:
        async with primary.connection() as connection:
            if create_tenant:
                await rows(
                    connection,
                    "INSERT IGNORE INTO tenants (tenant_id, display_name, created_at_us) VALUES (%s, %s, %s)",
                    (tenant, tenant, now_us),
                )
            found = await rows(connection, "SELECT tenant_key FROM tenants WHERE tenant_id = %s", (tenant,))
            if not found:
                raise BillowError(Reason.TENANT_NOT_FOUND, f"there is no tenant {tenant!r}; --create-tenant makes it")
            await rows(
                connection,
                "INSERT INTO api_keys (key_id, tenant_key, secret_sha256, scopes, display_name, created_at_us)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (key_id, found[0][0], hashlib.sha256(secret.encode()).digest(), " ".join(scopes), name, now_us),
            )
    finally:
        await primary.node.drop()
    return key_id

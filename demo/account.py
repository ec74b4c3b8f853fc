"""What the demo needs before it can issue: an API key, sellers, number ranges. Made once, found again later."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import billow
from demo.mapping import seller_id, seller_party

TENANT: Final = "demo"
SCOPES: Final = ("issue", "read", "verify", "registry")
KINDS: Final = (billow.INVOICE_KIND_SPECIAL, billow.INVOICE_KIND_GENERAL)
# the first range of each seller and kind is short, so that the demo crosses from one range into the next
FIRST_RANGE_NUMBERS: Final = 500
RANGE_NUMBERS: Final = 10**9
ISSUER_DIGITS: Final = "000"  # province 00, channel 0: no authority has them


class AccountError(RuntimeError):
    """`billow-admin` could not make a key; the text is what it said."""


def key_file(config: Path, tenant: str = TENANT) -> Path:
    """Where the demo keeps a tenant's key: beside the settings."""
    return config.with_name(f"{tenant}.key")


async def api_key(address: str, *, config: Path, tenant: str = TENANT, scopes: Sequence[str] = SCOPES) -> str:
    """Returns a working key of a tenant of the demo: the one kept beside the settings, or else a new one."""
    kept = key_file(config, tenant)
    if kept.exists():
        secret = kept.read_text().strip()
        async with billow.AsyncClient(address, api_key=secret) as client:
            try:
                async for _ in client.registry.list_sellers():
                    break
            except billow.ApiKeyInvalid:
                kept.unlink()  # of an earlier database
            else:
                return secret
    secret = _new_key(config, tenant, scopes)
    with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secret + "\n")
    return secret


def _new_key(config: Path, tenant: str, scopes: Sequence[str]) -> str:
    """Has `billow-admin` make the tenant and a key."""
    wanted = [argument for scope in scopes for argument in ("--scope", scope)]
    made = _admin(config, "key", "create", "--tenant", tenant, "--name", "make demo", "--create-tenant", *wanted)
    return str(made["secret"])


async def prove(client: billow.AsyncClient, tax_id: str, *, config: Path, tenant: str) -> None:
    """Claims a taxpayer id for the client's tenant and has `billow-admin` confirm it, unless that was done before."""
    async for known in client.tax_ids.list():
        if known.tax_id == tax_id and known.HasField("confirm_time"):
            return
    await client.tax_ids.claim(tax_id)
    await asyncio.to_thread(_admin, config, "tax-id", "confirm", tax_id, "--tenant", tenant)


def _admin(config: Path, *arguments: str) -> dict[str, Any]:
    """Runs `billow-admin` and returns what it says as JSON; raises AccountError."""
    command = [sys.executable, "-m", "admin", *arguments, "--config", str(config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AccountError(f"billow-admin {' '.join(arguments[:2])}: {done.stderr.strip()}")
    made: dict[str, Any] = json.loads(done.stdout)
    return made


async def ensure_sellers(client: billow.AsyncClient, nations: Mapping[int, str]) -> int:
    """Registers the sellers and ranges that are missing; returns how many sellers were."""
    known = {seller.seller_id async for seller in client.registry.list_sellers()}
    missing = 0
    for key, nation in sorted(nations.items()):
        name = seller_id(nation)
        if name not in known:
            missing += 1
            await client.registry.create_seller(name, seller_party(key, nation))
        ranges = [item async for item in client.registry.list_number_ranges(name)]
        for kind in KINDS:
            await _ensure_ranges(client, name, key, kind, sum(item.kind == kind for item in ranges))
    return missing


async def _ensure_ranges(
    client: billow.AsyncClient, seller: str, nation_key: int, kind: billow.InvoiceKind.ValueType, known: int
) -> None:
    """Adds the short and the long range of a seller and kind, as far as they are missing."""
    stock_first = (2 * nation_key + kind) * 2 * RANGE_NUMBERS
    long_first = stock_first + FIRST_RANGE_NUMBERS
    wanted = [(stock_first, long_first - 1), (long_first, long_first + RANGE_NUMBERS - 1)]
    for first, last in wanted[known:]:
        await client.registry.add_number_range(seller, kind=kind, first_number=number(first), last_number=number(last))


def number(sequence: int) -> str:
    """Returns the invoice number of this year for a sequence number."""
    return f"{time.localtime().tm_year % 100:02d}{ISSUER_DIGITS}{sequence:015d}"

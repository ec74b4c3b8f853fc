# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""The registry on MySQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import aiomysql
import pymysql

from core.domain.errors import BillowError, Reason
from core.domain.parties import Party
from core.storage.mysql.pool import DUPLICATE_KEY, Node, Primary, Replicas, read, rows, unavailable
from core.storage.ports import SellerRecord
from core.storage.registry_port import (
    ApiKeyRecord,
    NumberRangeRecord,
    TenantRecord,
    api_key_not_found,
    range_overlaps,
    range_size,
    seller_exists,
    tenant_exists,
)

RANGES_LOCK: Final = "billow_number_ranges"
RANGES_LOCK_WAIT_S: Final = 5

_TENANT = "tenant_key, tenant_id, display_name, created_at_us"
_API_KEY = "k.key_id, k.tenant_key, t.tenant_id, k.scopes, k.display_name, k.created_at_us, k.revoked_at_us"
_API_KEYS = f"SELECT {_API_KEY} FROM api_keys k JOIN tenants t ON t.tenant_key = k.tenant_key"
_SELLER = (
    "seller_key, tenant_key, seller_id, profile, name, tax_id, address, phone, bank_name, bank_account, created_at_us"
)
_RANGE = "range_id, seller_key, kind, first_number, last_number, used, created_at_us, color"


class MySQLRegistryStore:
    """The RegistryStore of core/storage/registry_port.py.

    `primary` and `replicas` are asked for the present nodes before every use.
    """

    def __init__(self, *, primary: Callable[[], Primary], replicas: Callable[[], Replicas]) -> None:
        self._primary = primary
        self._replicas = replicas

    # --- tenants --------------------------------------------------------------------------------------------------
    async def create_tenant(self, tenant: TenantRecord) -> TenantRecord:
        """Creates a tenant; see the port."""
        sql = "INSERT INTO tenants (tenant_id, display_name, created_at_us) VALUES (%s, %s, %s)"
        tenant_key = await self._insert(sql, (tenant.tenant_id, tenant.display_name, tenant.created_at_us))
        if tenant_key is not None:
            return replace(tenant, tenant_key=tenant_key)
        found = await self._confirmed(f"SELECT {_TENANT} FROM tenants WHERE tenant_id = %s", (tenant.tenant_id,))
        for known in (TenantRecord(*row) for row in found):
            if known == replace(tenant, tenant_key=known.tenant_key):
                return known
        raise tenant_exists(tenant.tenant_id)

    async def tenant(self, tenant_id: str) -> TenantRecord | None:
        """Reads a tenant; see the port."""
        found = await self._read(f"SELECT {_TENANT} FROM tenants WHERE tenant_id = %s", (tenant_id,))
        return TenantRecord(*found[0]) if found else None

    async def tenants(self, *, after: str, items_max: int) -> list[TenantRecord]:
        """Lists tenants; see the port."""
        sql = f"SELECT {_TENANT} FROM tenants WHERE tenant_id > %s ORDER BY tenant_id LIMIT %s"
        return [TenantRecord(*row) for row in await self._read(sql, (after, items_max))]

    # --- API keys -------------------------------------------------------------------------------------------------
    async def create_api_key(self, key: ApiKeyRecord, secret_sha256: bytes) -> None:
        """Stores a key; see the port."""
        sql = (
            "INSERT INTO api_keys (key_id, tenant_key, secret_sha256, scopes, display_name, created_at_us)"
            " VALUES (%s, %s, %s, %s, %s, %s)"
        )
        scopes = " ".join(sorted(key.scopes))
        values = (key.key_id, key.tenant_key, secret_sha256, scopes, key.display_name, key.created_at_us)
        if await self._insert(sql, values) is None:
            same = "SELECT 1 FROM api_keys WHERE key_id = %s AND tenant_key = %s AND secret_sha256 = %s"
            if not await self._confirmed(same, values[:3]):
                raise RuntimeError(f"the random key id {key.key_id} is another key's")

    async def api_keys(self, tenant_key: int, *, after: str, items_max: int) -> list[ApiKeyRecord]:
        """Lists keys; see the port."""
        sql = f"{_API_KEYS} WHERE k.tenant_key = %s AND k.key_id > %s ORDER BY k.key_id LIMIT %s"
        return [_api_key(row) for row in await self._read(sql, (tenant_key, after, items_max))]

    async def api_keys_by_secret(self, secrets_sha256: Sequence[bytes]) -> dict[bytes, ApiKeyRecord]:
        """Reads keys by their secrets' hashes; see the port."""
        if not secrets_sha256:
            return {}
        sql = f"SELECT k.secret_sha256, {_API_KEY} FROM api_keys k JOIN tenants t ON t.tenant_key = k.tenant_key"
        sql += f" WHERE k.secret_sha256 IN ({_places(secrets_sha256)})"
        try:
            found = await self._read(sql, secrets_sha256)
        except BillowError as error:
            node = self._replicas().pick()
            if error.reason is not Reason.STORAGE_UNAVAILABLE or node is None:
                raise
            found = await read(node, sql, secrets_sha256)
            if len(found) < len(set(secrets_sha256)):
                raise  # a replica may not have heard of a key yet: only the primary says that there is none
        return {row[0]: _api_key(row[1:]) for row in found}

    async def revoke_api_key(self, tenant_key: int, key_id: str, *, now_us: int) -> ApiKeyRecord:
        """Revokes a key; see the port."""
        sql = "UPDATE api_keys SET revoked_at_us = %s WHERE key_id = %s AND tenant_key = %s AND revoked_at_us IS NULL"
        await self._primary().write(sql, (now_us, key_id, tenant_key))
        found = await self._read(f"{_API_KEYS} WHERE k.key_id = %s AND k.tenant_key = %s", (key_id, tenant_key))
        if not found:
            raise api_key_not_found(key_id)
        return _api_key(found[0])

    # --- sellers --------------------------------------------------------------------------------------------------
    async def create_seller(self, seller: SellerRecord) -> SellerRecord:
        """Registers a seller; see the port."""
        sql = (
            "INSERT INTO sellers (tenant_key, seller_id, profile, name, tax_id, address, phone, bank_name,"
            " bank_account, created_at_us) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        )
        party = seller.party
        values = (
            *(seller.tenant_key, seller.seller_id, seller.profile, party.name, party.tax_id),
            *(party.address, party.phone, party.bank_name, party.bank_account, seller.created_at_us),
        )
        seller_key = await self._insert(sql, values)
        if seller_key is not None:
            return replace(seller, seller_key=seller_key)
        sql = f"SELECT {_SELLER} FROM sellers WHERE tenant_key = %s AND seller_id = %s"
        for known in map(_seller, await self._confirmed(sql, (seller.tenant_key, seller.seller_id))):
            if known == replace(seller, seller_key=known.seller_key):
                return known
        raise seller_exists(seller.seller_id)

    async def sellers_by_id(self, sellers: Sequence[tuple[int, str]]) -> list[SellerRecord]:
        """Reads sellers by name; see the port."""
        by_tenant: dict[int, list[str]] = {}
        for tenant_key, seller_id in sellers:
            by_tenant.setdefault(tenant_key, []).append(seller_id)
        if not by_tenant:
            return []
        # one range of the unique key a tenant; row constructors are not used as ranges by every version
        tests, values = [], []
        for tenant_key, seller_ids in by_tenant.items():
            tests.append(f"(tenant_key = %s AND seller_id IN ({_places(seller_ids)}))")
            values += [tenant_key, *seller_ids]
        found = await self._read(f"SELECT {_SELLER} FROM sellers WHERE {' OR '.join(tests)}", values)
        return [_seller(row) for row in found]

    async def sellers_by_key(self, seller_keys: Sequence[int]) -> list[SellerRecord]:
        """Reads sellers by key; see the port."""
        if not seller_keys:
            return []
        sql = f"SELECT {_SELLER} FROM sellers WHERE seller_key IN ({_places(seller_keys)})"
        return [_seller(row) for row in await self._read(sql, seller_keys)]

    async def sellers(self, tenant_key: int, *, after: str, items_max: int) -> list[SellerRecord]:
        """Lists sellers; see the port."""
        sql = f"SELECT {_SELLER} FROM sellers WHERE tenant_key = %s AND seller_id > %s ORDER BY seller_id LIMIT %s"
        return [_seller(row) for row in await self._read(sql, (tenant_key, after, items_max))]

    # --- number ranges --------------------------------------------------------------------------------------------
    async def add_number_range(self, added: NumberRangeRecord) -> NumberRangeRecord:
        """Adds a range; see the port.

        A named lock of the primary lets one caller at a time look and write. It ends with its connection, so a lost
        caller holds up nobody.
        """
        primary = self._primary()
        async with primary.connection() as connection:
            locked = await rows(connection, "SELECT GET_LOCK(%s, %s)", (RANGES_LOCK, RANGES_LOCK_WAIT_S))
            if locked[0][0] != 1:
                raise unavailable(f"number ranges were being added for {RANGES_LOCK_WAIT_S} s")
            stored = await _insert_range(primary, connection, added)
            await rows(connection, "DO RELEASE_LOCK(%s)", (RANGES_LOCK,))
        if stored is None:
            raise range_overlaps()
        return stored

    async def number_ranges(self, seller_key: int, *, after: int, items_max: int) -> list[NumberRangeRecord]:
        """Lists ranges; see the port."""
        sql = f"SELECT {_RANGE} FROM number_ranges WHERE seller_key = %s AND range_id > %s ORDER BY range_id LIMIT %s"
        return [NumberRangeRecord(*row) for row in await self._read(sql, (seller_key, after, items_max))]

    # --- statements -----------------------------------------------------------------------------------------------
    async def _read(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Reads rows from the primary within the read timeout."""
        return await read(self._node(), sql, values)

    async def _confirmed(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Reads what an earlier try of the same call may have stored, and has it received by a replica; 2 round trips.

        The answer rests on it as on a commit of its own (docs/adr/0029).
        """
        primary = self._primary()
        found = await read(primary.node, sql, values)
        await primary.confirm()
        return found

    def _node(self) -> Node:
        return self._primary().node

    async def _insert(self, sql: str, values: Sequence[Any]) -> int | None:
        """Inserts one row and returns the key it was given, or None when it is there already."""
        try:
            return (await self._primary().write(sql, values)).last_key
        except pymysql.err.IntegrityError as error:
            if error.args[0] == DUPLICATE_KEY:
                return None
            raise


async def _insert_range(
    primary: Primary, connection: aiomysql.Connection, added: NumberRangeRecord
) -> NumberRangeRecord | None:
    """Adds a range under the lock unless it overlaps.

    Ranges do not overlap one another, so only the one with the greatest first number not above ours can reach into
    it: that is one row of the index by_number. It may be ours, of an earlier try of the same call.
    """
    sql = f"SELECT {_RANGE} FROM number_ranges WHERE first_number <= %s ORDER BY first_number DESC LIMIT 1"
    for below in (NumberRangeRecord(*row) for row in await rows(connection, sql, (added.last_number,))):
        if below == replace(added, range_id=below.range_id, used=below.used):
            await primary.confirm_on(connection)
            return below
        if below.last_number >= added.first_number:
            return None
    size = range_size(added.first_number, added.last_number)
    done = await primary.write_on(
        connection,
        # under the lock that setting a credit quota takes, too: no range misses the flag
        "INSERT INTO number_ranges (seller_key, kind, first_number, last_number, size, created_at_us, color,"
        " quota_on) SELECT %s, %s, %s, %s, %s, %s, %s, COUNT(*) FROM credit_quotas WHERE seller_key = %s",
        (
            *(added.seller_key, added.kind, added.first_number, added.last_number, size),
            *(added.created_at_us, added.color, added.seller_key),
        ),
    )
    return replace(added, range_id=done.last_key, used=0)


def _places(values: Sequence[Any]) -> str:
    """Returns a placeholder for each value."""
    return ",".join(["%s"] * len(values))


def _api_key(row: Sequence[Any]) -> ApiKeyRecord:
    """Builds a key from the columns _API_KEY."""
    key_id, tenant_key, tenant_id, scopes, display_name, created_at_us, revoked_at_us = row
    return ApiKeyRecord(
        key_id, tenant_key, tenant_id, frozenset(scopes.split()), display_name, created_at_us, revoked_at_us
    )


def _seller(row: Sequence[Any]) -> SellerRecord:
    """Builds a seller from the columns _SELLER."""
    seller_key, tenant_key, seller_id, profile, name, tax_id, address, phone, bank_name, bank_account, created = row
    party = Party(
        name=name, tax_id=tax_id, address=address, phone=phone, bank_name=bank_name, bank_account=bank_account
    )
    return SellerRecord(seller_key, tenant_key, seller_id, profile, party, created)

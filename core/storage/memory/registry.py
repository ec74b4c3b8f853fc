"""The registry in memory: the twin of core/storage/mysql/registry.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.storage.ports import SellerRecord
from core.storage.registry_port import (
    ApiKeyRecord,
    NumberRangeRecord,
    TenantRecord,
    api_key_not_found,
    range_overlaps,
    seller_exists,
    tenant_exists,
)


class MemoryRegistryStore:
    """The RegistryStore of core/storage/registry_port.py. Not thread-safe."""

    def __init__(self) -> None:
        self._tenants: dict[str, TenantRecord] = {}
        self._keys: dict[str, ApiKeyRecord] = {}
        self._key_ids: dict[bytes, str] = {}
        self._sellers: dict[tuple[int, str], SellerRecord] = {}
        self._ranges: list[NumberRangeRecord] = []

    async def create_tenant(self, tenant: TenantRecord) -> TenantRecord:
        """Creates a tenant; see the port."""
        known = self._tenants.get(tenant.tenant_id)
        if known is not None:
            if known == replace(tenant, tenant_key=known.tenant_key):
                return known
            raise tenant_exists(tenant.tenant_id)
        created = replace(tenant, tenant_key=len(self._tenants) + 1)
        self._tenants[tenant.tenant_id] = created
        return created

    async def tenant(self, tenant_id: str) -> TenantRecord | None:
        """Reads a tenant; see the port."""
        return self._tenants.get(tenant_id)

    async def tenants(self, *, after: str, items_max: int) -> list[TenantRecord]:
        """Lists tenants; see the port."""
        return [self._tenants[tenant_id] for tenant_id in sorted(self._tenants) if tenant_id > after][:items_max]

    async def create_api_key(self, key: ApiKeyRecord, secret_sha256: bytes) -> None:
        """Stores a key; see the port."""
        self._keys[key.key_id] = key
        self._key_ids[secret_sha256] = key.key_id

    async def api_keys(self, tenant_key: int, *, after: str, items_max: int) -> list[ApiKeyRecord]:
        """Lists keys; see the port."""
        own = [key for _, key in sorted(self._keys.items()) if key.tenant_key == tenant_key and key.key_id > after]
        return own[:items_max]

    async def api_keys_by_secret(self, secrets_sha256: Sequence[bytes]) -> dict[bytes, ApiKeyRecord]:
        """Reads keys by their secrets' hashes; see the port."""
        return {digest: self._keys[self._key_ids[digest]] for digest in secrets_sha256 if digest in self._key_ids}

    async def revoke_api_key(self, tenant_key: int, key_id: str, *, now_us: int) -> ApiKeyRecord:
        """Revokes a key; see the port."""
        key = self._keys.get(key_id)
        if key is None or key.tenant_key != tenant_key:
            raise api_key_not_found(key_id)
        if key.revoked_at_us is None:
            key = self._keys[key_id] = replace(key, revoked_at_us=now_us)
        return key

    async def create_seller(self, seller: SellerRecord) -> SellerRecord:
        """Registers a seller; see the port."""
        name = (seller.tenant_key, seller.seller_id)
        known = self._sellers.get(name)
        if known is not None:
            if known == replace(seller, seller_key=known.seller_key):
                return known
            raise seller_exists(seller.seller_id)
        created = self._sellers[name] = replace(seller, seller_key=len(self._sellers) + 1)
        return created

    async def sellers_by_id(self, sellers: Sequence[tuple[int, str]]) -> list[SellerRecord]:
        """Reads sellers by name; see the port."""
        return [self._sellers[name] for name in dict.fromkeys(sellers) if name in self._sellers]

    async def sellers_by_key(self, seller_keys: Sequence[int]) -> list[SellerRecord]:
        """Reads sellers by key; see the port."""
        return [seller for seller in self._sellers.values() if seller.seller_key in seller_keys]

    async def sellers(self, tenant_key: int, *, after: str, items_max: int) -> list[SellerRecord]:
        """Lists sellers; see the port."""
        own = [
            seller for (tenant, name), seller in sorted(self._sellers.items()) if tenant == tenant_key and name > after
        ]
        return own[:items_max]

    async def add_number_range(self, added: NumberRangeRecord) -> NumberRangeRecord:
        """Adds a range; see the port."""
        for other in self._ranges:
            if other == replace(added, range_id=other.range_id, used=other.used):
                return other
            if other.first_number <= added.last_number and added.first_number <= other.last_number:
                raise range_overlaps()
        stored = replace(added, range_id=len(self._ranges) + 1, used=0)
        self._ranges.append(stored)
        return stored

    async def number_ranges(self, seller_key: int, *, after: int, items_max: int) -> list[NumberRangeRecord]:
        """Lists ranges; see the port."""
        return [item for item in self._ranges if item.seller_key == seller_key and item.range_id > after][:items_max]

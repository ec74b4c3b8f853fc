"""The registry: tenants, API keys, sellers, number ranges."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from core.domain.errors import BillowError, Reason
from core.domain.kinds import InvoiceColor
from core.domain.parties import Party
from core.domain.profile import CN
from core.storage.ports import SellerRecord
from core.storage.registry_port import ApiKeyRecord, NumberRangeRecord, RegistryStore, TenantRecord, api_key_not_found
from server.services import paging
from server.services.auth import SECRET_PREFIX, Caller, scope_missing, secret_sha256
from server.services.paging import Page
from server.services.patience import Patience
from server.services.registry_rules import (
    KEY_ID_FORM,
    display_name_faults,
    id_faults,
    range_faults,
    refuse,
    scope_faults,
    seller_faults,
)
from server.services.sellers import SellerDirectory

SECRET_BYTES: Final = 32
KEY_ID_BYTES: Final = 8

PLATFORM: Final = "platform"


class RegistryService:
    """Keeps who may issue, for whom, and with which numbers. A caller sees and touches its own tenant only (P8).

    `now_us` is the wall clock, `random_bytes` must be fit for secrets. Every method raises INVALID_REQUEST with all
    violations at once, and STORAGE_UNAVAILABLE after waiting for up to `wait_max_ms`; what it should have created may
    exist then.
    """

    def __init__(
        self,
        *,
        store: RegistryStore,
        sellers: SellerDirectory,
        now_us: Callable[[], int],
        wait_max_ms: int,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._sellers = sellers
        self._now_us = now_us
        self._patiently = Patience(wait_max_ms=wait_max_ms)
        self._random_bytes = random_bytes

    # --- tenants --------------------------------------------------------------------------------------------------
    async def create_tenant(self, *, tenant_id: str, display_name: str) -> TenantRecord:
        """Creates a tenant; raises TENANT_EXISTS. 1 round trip."""
        refuse(id_faults(tenant_id, "tenant_id") + display_name_faults(display_name))
        tenant = TenantRecord(0, tenant_id, display_name, self._now_us())
        return await self._patiently(lambda: self._store.create_tenant(tenant))

    async def list_tenants(self, *, page_size: int, page_token: str) -> Page[TenantRecord]:
        """Lists all tenants by id; raises INVALID_PAGE_TOKEN. 1 round trip."""
        listing = ("tenants",)
        items_max = paging.size_of(page_size)
        after = paging.decode(listing, page_token)
        found = await self._patiently(lambda: self._store.tenants(after=after, items_max=items_max + 1))
        return paging.page_of(found, items_max, listing, lambda tenant: tenant.tenant_id)

    # --- API keys -------------------------------------------------------------------------------------------------
    async def create_api_key(
        self, caller: Caller, *, tenant_id: str, scopes: Sequence[str], display_name: str
    ) -> tuple[ApiKeyRecord, str]:
        """Creates a key and returns it with its secret, which is shown only now.

        A caller without the scope "platform" gives what it has itself, to its own tenant. Raises SCOPE_MISSING,
        TENANT_NOT_FOUND. 2 round trips.
        """
        tenant_id = tenant_id or caller.tenant_id
        refuse(id_faults(tenant_id, "tenant_id") + scope_faults(scopes) + display_name_faults(display_name))
        if tenant_id != caller.tenant_id:
            caller.require(PLATFORM)
        if PLATFORM not in caller.scopes:
            for scope in sorted(set(scopes) - caller.scopes):
                raise scope_missing(scope)
        tenant = await self._patiently(lambda: self._store.tenant(tenant_id))
        if tenant is None:
            words = f"there is no tenant {tenant_id!r}"
            raise BillowError(Reason.TENANT_NOT_FOUND, words, metadata={"tenant_id": tenant_id})
        secret = SECRET_PREFIX + base64.urlsafe_b64encode(self._random_bytes(SECRET_BYTES)).decode().rstrip("=")
        key = ApiKeyRecord(
            key_id=self._random_bytes(KEY_ID_BYTES).hex(),
            tenant_key=tenant.tenant_key,
            tenant_id=tenant.tenant_id,
            scopes=frozenset(scopes),
            display_name=display_name,
            created_at_us=self._now_us(),
            revoked_at_us=None,
        )
        await self._patiently(lambda: self._store.create_api_key(key, secret_sha256(secret)))
        return key, secret

    async def list_api_keys(self, caller: Caller, *, page_size: int, page_token: str) -> Page[ApiKeyRecord]:
        """Lists the tenant's keys by id; raises INVALID_PAGE_TOKEN. 1 round trip."""
        listing = ("api_keys", caller.tenant_key)
        items_max = paging.size_of(page_size)
        after = paging.decode(listing, page_token)
        found = await self._patiently(
            lambda: self._store.api_keys(caller.tenant_key, after=after, items_max=items_max + 1)
        )
        return paging.page_of(found, items_max, listing, lambda key: key.key_id)

    async def revoke_api_key(self, caller: Caller, *, key_id: str) -> ApiKeyRecord:
        """Revokes a key, in effect everywhere within a second; raises API_KEY_NOT_FOUND. 2 round trips."""
        if not KEY_ID_FORM.fullmatch(key_id):
            raise api_key_not_found(key_id)
        now_us = self._now_us()
        return await self._patiently(lambda: self._store.revoke_api_key(caller.tenant_key, key_id, now_us=now_us))

    # --- sellers --------------------------------------------------------------------------------------------------
    async def create_seller(self, caller: Caller, *, seller_id: str, party: Party, profile: str) -> SellerRecord:
        """Registers a seller; raises SELLER_EXISTS. 1 round trip."""
        refuse(seller_faults(seller_id, party, profile))
        seller = SellerRecord(0, caller.tenant_key, seller_id, profile or CN.name, party, self._now_us())
        return await self._patiently(lambda: self._store.create_seller(seller))

    async def get_seller(self, caller: Caller, *, seller_id: str) -> SellerRecord:
        """Reads a seller; raises SELLER_NOT_FOUND. At most 1 round trip."""
        return await self._sellers.one(caller.tenant_key, seller_id)

    async def list_sellers(self, caller: Caller, *, page_size: int, page_token: str) -> Page[SellerRecord]:
        """Lists the tenant's sellers by id; raises INVALID_PAGE_TOKEN. 1 round trip."""
        listing = ("sellers", caller.tenant_key)
        items_max = paging.size_of(page_size)
        after = paging.decode(listing, page_token)
        found = await self._patiently(
            lambda: self._store.sellers(caller.tenant_key, after=after, items_max=items_max + 1)
        )
        return paging.page_of(found, items_max, listing, lambda seller: seller.seller_id)

    # --- number ranges --------------------------------------------------------------------------------------------
    async def add_number_range(
        self, caller: Caller, *, seller_id: str, kind: int, first_number: str, last_number: str, color: int = 0
    ) -> NumberRangeRecord:
        """Adds a range; raises SELLER_NOT_FOUND, NUMBER_RANGE_OVERLAPS. Up to 5 round trips."""
        refuse(range_faults(seller_id, kind, first_number, last_number, color))
        seller = await self.get_seller(caller, seller_id=seller_id)
        added = NumberRangeRecord(
            *(0, seller.seller_key, kind, first_number, last_number, 0, self._now_us()),
            color=color or int(InvoiceColor.BLUE),
        )
        return await self._patiently(lambda: self._store.add_number_range(added))

    async def list_number_ranges(
        self, caller: Caller, *, seller_id: str, page_size: int, page_token: str
    ) -> Page[NumberRangeRecord]:
        """Lists a seller's ranges in the order of use; raises SELLER_NOT_FOUND, INVALID_PAGE_TOKEN.

        1 round trip, and 1 for a seller not seen lately.
        """
        items_max = paging.size_of(page_size)
        seller = await self.get_seller(caller, seller_id=seller_id)
        listing = ("number_ranges", seller.seller_key)
        after = paging.decode(listing, page_token) or "0"
        if not after.isdigit():
            raise paging.invalid_token()
        found = await self._patiently(
            lambda: self._store.number_ranges(seller.seller_key, after=int(after), items_max=items_max + 1)
        )
        return paging.page_of(found, items_max, listing, lambda item: str(item.range_id))

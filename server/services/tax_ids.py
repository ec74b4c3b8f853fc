"""Proofs of taxpayer ids: tenants claim, the platform confirms (docs/adr/0018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from core.domain import taxpayer_id
from core.domain.errors import BillowError, Reason, Violation
from core.storage.entry_port import TaxIdRecord, TaxIdStore
from core.storage.registry_port import RegistryStore
from server.services import paging
from server.services.auth import Caller
from server.services.paging import Page
from server.services.patience import Patience
from server.services.registry_rules import id_faults, refuse

PLATFORM: Final = "platform"


class Claim(NamedTuple):
    """A claim with its tenant's name."""

    tenant_id: str
    record: TaxIdRecord


class TaxIdService:
    """Keeps claims. Every method may be repeated; while the database is away it waits for up to `wait_max_ms`."""

    def __init__(
        self, *, store: TaxIdStore, registry: RegistryStore, now_us: Callable[[], int], wait_max_ms: int
    ) -> None:
        self._store = store
        self._registry = registry
        self._now_us = now_us
        self._patiently = Patience(wait_max_ms=wait_max_ms)

    async def claim(self, caller: Caller, tax_id: str) -> Claim:
        """Claims an id for the caller's tenant; raises INVALID_REQUEST. 2 round trips."""
        refuse(tax_id_faults(tax_id))
        now_us = self._now_us()
        record = await self._patiently(lambda: self._store.claim(caller.tenant_key, tax_id, now_us=now_us))
        return Claim(caller.tenant_id, record)

    async def confirm(self, tenant_id: str, tax_id: str) -> Claim:
        """Confirms a claim; raises INVALID_REQUEST, TENANT_NOT_FOUND, TAX_ID_NOT_PROVEN. 5 round trips."""
        refuse(id_faults(tenant_id, "tenant_id") + tax_id_faults(tax_id))
        tenant_key = await self._tenant_key(tenant_id)
        now_us = self._now_us()
        record = await self._patiently(lambda: self._store.confirm(tenant_key, tax_id, now_us=now_us))
        return Claim(tenant_id, record)

    async def revoke(self, tenant_id: str, tax_id: str) -> None:
        """Takes a claim away; raises INVALID_REQUEST, TENANT_NOT_FOUND. 2 round trips."""
        refuse(id_faults(tenant_id, "tenant_id") + tax_id_faults(tax_id))
        tenant_key = await self._tenant_key(tenant_id)
        await self._patiently(lambda: self._store.revoke(tenant_key, tax_id))

    async def list_claims(self, caller: Caller, *, tenant_id: str, page_size: int, page_token: str) -> Page[Claim]:
        """Lists the claims of the caller's tenant, or with the scope "platform" of any; at most 2 round trips.

        Raises SCOPE_MISSING, INVALID_REQUEST, TENANT_NOT_FOUND, INVALID_PAGE_TOKEN.
        """
        tenant_id, tenant_key = tenant_id or caller.tenant_id, caller.tenant_key
        if tenant_id != caller.tenant_id:
            caller.require(PLATFORM)
            refuse(id_faults(tenant_id, "tenant_id"))
            tenant_key = await self._tenant_key(tenant_id)
        listing = ("tax_ids", tenant_key)
        items_max = paging.size_of(page_size)
        after = paging.decode(listing, page_token)
        found = await self._patiently(lambda: self._store.tax_ids(tenant_key, after=after, items_max=items_max + 1))
        claims = [Claim(tenant_id, record) for record in found]
        return paging.page_of(claims, items_max, listing, lambda claim: claim.record.tax_id)

    async def _tenant_key(self, tenant_id: str) -> int:
        tenant = await self._patiently(lambda: self._registry.tenant(tenant_id))
        if tenant is None:
            words = f"there is no tenant {tenant_id!r}"
            raise BillowError(Reason.TENANT_NOT_FOUND, words, metadata={"tenant_id": tenant_id})
        return tenant.tenant_key


def tax_id_faults(tax_id: str, field: str = "tax_id") -> list[Violation]:
    """Checks a taxpayer id."""
    code = taxpayer_id.check(tax_id)
    if code is None:
        return []
    return [Violation(field, code if tax_id else "REQUIRED", "is not a taxpayer id")]

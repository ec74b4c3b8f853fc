"""Credit quotas: what a seller may issue in a calendar month (docs/adr/0022)."""

from __future__ import annotations

from core import limits
from core.domain.errors import Violation
from core.storage.quota_port import CreditQuota, QuotaStore
from server.services.auth import Caller
from server.services.patience import Patience
from server.services.registry_rules import RegistryRule, id_faults, refuse
from server.services.sellers import SellerDirectory


class CreditQuotaService:
    """Keeps the quotas of the caller's own sellers (P8). Every method may be repeated.

    Raises INVALID_REQUEST, SELLER_NOT_FOUND, and STORAGE_UNAVAILABLE after waiting for up to `wait_max_ms`.
    """

    def __init__(self, *, store: QuotaStore, sellers: SellerDirectory, wait_max_ms: int) -> None:
        self._store = store
        self._sellers = sellers
        self._patiently = Patience(wait_max_ms=wait_max_ms)

    async def set(self, caller: Caller, *, seller_id: str, quota_minor: int | None) -> CreditQuota:
        """Sets a quota, in force everywhere at once; about 12 round trips."""
        refuse(id_faults(seller_id, "seller_id") + quota_faults(quota_minor))
        seller = await self._sellers.one(caller.tenant_key, seller_id)
        amount = quota_minor or 0  # None was refused above
        return await self._patiently(lambda: self._store.set(seller.seller_key, amount))

    async def clear(self, caller: Caller, *, seller_id: str) -> CreditQuota:
        """Takes a quota away; about 9 round trips."""
        seller = await self._sellers.one(caller.tenant_key, seller_id)
        return await self._patiently(lambda: self._store.clear(seller.seller_key))

    async def get(self, caller: Caller, *, seller_id: str) -> CreditQuota:
        """Reads a quota; 1 round trip, and 1 for a seller not seen lately."""
        seller = await self._sellers.one(caller.tenant_key, seller_id)
        return await self._patiently(lambda: self._store.get(seller.seller_key))


def quota_faults(quota_minor: int | None) -> list[Violation]:
    """Checks the amount of a quota."""
    if quota_minor is None:
        return [Violation("quota_minor", RegistryRule.REQUIRED, "is required; clearing a quota is a call of its own")]
    if 0 <= quota_minor <= limits.CREDIT_QUOTA_MINOR_MAX:
        return []
    words = f"must be 0 to {limits.CREDIT_QUOTA_MINOR_MAX}"
    return [Violation("quota_minor", RegistryRule.AMOUNT_RANGE, words)]

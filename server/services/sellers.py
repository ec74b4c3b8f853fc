"""Sellers, remembered: issuing looks them up for every invoice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core import limits
from core.domain.errors import BillowError, Reason
from core.storage.ports import SellerRecord
from core.storage.registry_port import RegistryStore
from server.services.gather import Gather
from server.services.patience import Patience
from server.services.registry_rules import ID_FORM

Name = tuple[int, str]  # tenant_key, seller_id


class SellerDirectory:
    """Finds sellers by name or key; those found are remembered.

    Sellers do not change once registered, so what is remembered stays right. Absences are not remembered: a seller
    registered a moment ago is found. Holds at most SELLERS_CACHED_MAX, the oldest make room. While the database is
    away a lookup waits for up to `wait_max_ms`, then raises STORAGE_UNAVAILABLE.
    """

    def __init__(self, *, store: RegistryStore, wait_max_ms: int, sellers_max: int = limits.SELLERS_CACHED_MAX) -> None:
        self._store = store
        self._patiently = Patience(wait_max_ms=wait_max_ms)
        self._sellers_max = sellers_max
        self._by_name: dict[Name, SellerRecord] = {}
        self._by_key: dict[int, SellerRecord] = {}
        self._names = Gather[Name, SellerRecord](
            read=self._read_names, items_max=limits.LOOKUP_KEYS_MAX, waiting_max=limits.LOOKUPS_WAITING_MAX
        )
        self._keys = Gather[int, SellerRecord](
            read=self._read_keys, items_max=limits.LOOKUP_KEYS_MAX, waiting_max=limits.LOOKUPS_WAITING_MAX
        )

    async def find(self, tenant_key: int, seller_ids: Iterable[str]) -> dict[str, SellerRecord]:
        """Returns the tenant's sellers among the ids, by id; 0.2 µs each and no round trip for those remembered.

        Another tenant's seller is not found (P8). 1 round trip for all others together.
        """
        known = self._by_name
        found: dict[str, SellerRecord] = {}
        missing: list[Name] = []
        for seller_id in seller_ids:
            record = known.get((tenant_key, seller_id))
            if record is not None:
                found[seller_id] = record
            elif ID_FORM.fullmatch(seller_id):  # others exist nowhere
                missing.append((tenant_key, seller_id))
        if missing:
            fresh = await self._patiently(lambda: self._names.get_many(missing))
            for name, record in fresh.items():
                found[name[1]] = record
        return found

    def remembered(self, tenant_key: int, seller_id: str) -> SellerRecord | None:
        """Returns the tenant's seller if it is remembered; None says nothing about whether there is one."""
        return self._by_name.get((tenant_key, seller_id))

    async def one(self, tenant_key: int, seller_id: str) -> SellerRecord:
        """Returns a seller of the tenant; raises SELLER_NOT_FOUND. At most 1 round trip."""
        found = (await self.find(tenant_key, (seller_id,))).get(seller_id)
        if found is None:
            raise seller_not_found(seller_id)
        return found

    async def by_key(self, seller_keys: Iterable[int]) -> dict[int, SellerRecord]:
        """Returns sellers of any tenant by key; 1 round trip for those not remembered."""
        known = self._by_key
        wanted = set(seller_keys)
        found = {key: known[key] for key in wanted if key in known}
        missing = [key for key in wanted if key not in found]
        if missing:
            found |= await self._patiently(lambda: self._keys.get_many(missing))
        return found

    def tax_ids(self, seller_keys: Iterable[int]) -> dict[int, str]:
        """Returns the taxpayer ids of the sellers that are remembered."""
        known = self._by_key
        return {key: known[key].party.tax_id for key in seller_keys if key in known}

    async def _read_names(self, names: Sequence[Name]) -> dict[Name, SellerRecord]:
        records = await self._store.sellers_by_id(names)
        self._remember(records)
        return {(record.tenant_key, record.seller_id): record for record in records}

    async def _read_keys(self, seller_keys: Sequence[int]) -> dict[int, SellerRecord]:
        records = await self._store.sellers_by_key(seller_keys)
        self._remember(records)
        return {record.seller_key: record for record in records}

    def _remember(self, records: Iterable[SellerRecord]) -> None:
        for record in records:
            if record.seller_key in self._by_key:
                continue
            while len(self._by_key) >= self._sellers_max:
                oldest = self._by_key.pop(next(iter(self._by_key)))
                del self._by_name[oldest.tenant_key, oldest.seller_id]
            self._by_key[record.seller_key] = record
            self._by_name[record.tenant_key, record.seller_id] = record


def seller_not_found(seller_id: str) -> BillowError:
    """The error for a seller the tenant does not have; another tenant's looks the same (P8)."""
    words = f"there is no seller {seller_id!r}"
    return BillowError(Reason.SELLER_NOT_FOUND, words, metadata={"seller_id": seller_id})

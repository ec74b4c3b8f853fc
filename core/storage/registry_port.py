"""The port to tenants, API keys, sellers and number ranges. Nothing here is on a hot path; see ports.py for the rest.

Every method raises BillowError(STORAGE_UNAVAILABLE) when the store is away, after at most the timeout of the
settings. Nothing is validated here: the callers do (server/services/registry_rules.py). Listings go by ascending key,
`after` is the last key of the page before ("" or 0 for the first page).

Creating may be repeated with the very same record, the moment it was made included: after STORAGE_UNAVAILABLE it is
not known whether it was stored, and the repeat finds it or stores it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from core.domain.errors import BillowError, Reason
from core.domain.kinds import InvoiceColor
from core.storage.ports import SellerRecord

SCOPES: Final = ("issue", "read", "verify", "book", "registry", "platform")


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """A company that uses Billow."""

    tenant_key: int
    tenant_id: str
    display_name: str
    created_at_us: int


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key without its secret."""

    key_id: str
    tenant_key: int
    tenant_id: str
    scopes: frozenset[str]
    display_name: str
    created_at_us: int
    revoked_at_us: int | None


@dataclass(frozen=True, slots=True)
class NumberRangeRecord:
    """A segment of consecutive numbers of one seller, kind and color."""

    range_id: int
    seller_key: int
    kind: int
    first_number: str
    last_number: str
    used: int
    created_at_us: int
    color: int = int(InvoiceColor.BLUE)


class RegistryStore(Protocol):
    """Keeps who may issue, for whom, and with which numbers; the primary's."""

    async def create_tenant(self, tenant: TenantRecord) -> TenantRecord:
        """Creates a tenant; its key is assigned. Raises TENANT_EXISTS. 1 round trip, 3 when the id is taken."""
        ...

    async def tenant(self, tenant_id: str) -> TenantRecord | None:
        """Reads a tenant; 1 round trip."""
        ...

    async def tenants(self, *, after: str, items_max: int) -> list[TenantRecord]:
        """Lists tenants by id; 1 round trip."""
        ...

    async def create_api_key(self, key: ApiKeyRecord, secret_sha256: bytes) -> None:
        """Stores a key under the hash of its secret; 1 round trip, 3 when it is there."""
        ...

    async def api_keys(self, tenant_key: int, *, after: str, items_max: int) -> list[ApiKeyRecord]:
        """Lists a tenant's keys by id, revoked ones included; 1 round trip."""
        ...

    async def api_keys_by_secret(self, secrets_sha256: Sequence[bytes]) -> dict[bytes, ApiKeyRecord]:
        """Reads keys, revoked ones included, by the hashes of their secrets.

        Asks the primary, and only while that is away a replica that is fresh enough; 1 or 2 round trips. Raises
        STORAGE_UNAVAILABLE when a replica does not know all of them: that a key is absent is the primary's word only.
        """
        ...

    async def revoke_api_key(self, tenant_key: int, key_id: str, *, now_us: int) -> ApiKeyRecord:
        """Revokes a key; the first time counts. Raises API_KEY_NOT_FOUND. 2 round trips."""
        ...

    async def create_seller(self, seller: SellerRecord) -> SellerRecord:
        """Registers a seller; its key is assigned. Raises SELLER_EXISTS. 1 round trip, 3 when the id is taken."""
        ...

    async def sellers_by_id(self, sellers: Sequence[tuple[int, str]]) -> list[SellerRecord]:
        """Reads sellers by (tenant_key, seller_id), in any order; 1 round trip."""
        ...

    async def sellers_by_key(self, seller_keys: Sequence[int]) -> list[SellerRecord]:
        """Reads sellers of any tenant by key, in any order; 1 round trip."""
        ...

    async def sellers(self, tenant_key: int, *, after: str, items_max: int) -> list[SellerRecord]:
        """Lists a tenant's sellers by id; 1 round trip."""
        ...

    async def add_number_range(self, added: NumberRangeRecord) -> NumberRangeRecord:
        """Adds a range; its id is assigned and is greater than that of every range added before.

        Raises NUMBER_RANGE_OVERLAPS when it shares a number with any range of any seller, also when both are added
        at once. 4 round trips.
        """
        ...

    async def number_ranges(self, seller_key: int, *, after: int, items_max: int) -> list[NumberRangeRecord]:
        """Lists a seller's ranges in the order they were added; 1 round trip."""
        ...


def range_size(first_number: str, last_number: str) -> int:
    """Returns how many numbers a range holds."""
    return int(last_number) - int(first_number) + 1


# --- the errors of every adapter ----------------------------------------------------------------------------------
def tenant_exists(tenant_id: str) -> BillowError:
    """The error for a tenant id that is taken."""
    return BillowError(Reason.TENANT_EXISTS, f"tenant {tenant_id!r} exists already", metadata={"tenant_id": tenant_id})


def seller_exists(seller_id: str) -> BillowError:
    """The error for a seller id that is taken."""
    return BillowError(Reason.SELLER_EXISTS, f"seller {seller_id!r} exists already", metadata={"seller_id": seller_id})


def api_key_not_found(key_id: str) -> BillowError:
    """The error for a key that the tenant does not have."""
    return BillowError(Reason.API_KEY_NOT_FOUND, f"there is no API key {key_id!r}", metadata={"key_id": key_id})


def range_overlaps() -> BillowError:
    """The error for a range that shares numbers with another; whose that is is not told (P8)."""
    return BillowError(
        Reason.NUMBER_RANGE_OVERLAPS, "some of these numbers belong to a number range that exists already"
    )

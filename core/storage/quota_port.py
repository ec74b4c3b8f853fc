"""The port to credit quotas: what a seller may issue in a calendar month (docs/adr/0022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

CLOCKS_APART_US: Final = 3_600_000_000  # near a month's end invoices of both months count when a quota is switched on


@dataclass(frozen=True, slots=True)
class CreditQuota:
    """A seller's quota in the present month. Amounts are totals without tax, in minor units."""

    month: int  # yyyymm, of the issue date
    quota_minor: int | None  # None while it is off
    used_minor: int  # 0 while it is off

    @property
    def left_minor(self) -> int:
        """What may still be issued; 0 when the quota was lowered below what is used."""
        return max(0, (self.quota_minor or 0) - self.used_minor)


class QuotaStore(Protocol):
    """Keeps credit quotas; the primary's. Every method may be repeated.

    Raises STORAGE_UNAVAILABLE, also when locks could not be had: it is not known then whether it was done.
    """

    async def set(self, seller_key: int, quota_minor: int) -> CreditQuota:
        """Switches a quota on, or changes it; in force for every commit that is not under way when it returns.

        Switching on counts what the seller has issued this month, in the transaction that switches it on, while the
        seller's commits wait. About 10 round trips when it is switched on.
        """
        ...

    async def clear(self, seller_key: int) -> CreditQuota:
        """Switches the quota off and forgets what was used; about 8 round trips."""
        ...

    async def get(self, seller_key: int) -> CreditQuota:
        """Reads the quota; 1 round trip."""
        ...

"""The twin of the quota store: dictionaries that the twin of issuing counts in."""

from __future__ import annotations

from collections.abc import Callable

from core.domain.kinds import InvoiceColor
from core.storage.credit import month_of
from core.storage.memory.tables import MemoryTables
from core.storage.quota_port import CLOCKS_APART_US, CreditQuota


class MemoryQuotaStore:
    """The QuotaStore of core/storage/quota_port.py over MemoryTables."""

    def __init__(self, *, tables: MemoryTables, now_us: Callable[[], int]) -> None:
        self._tables = tables
        self._now_us = now_us

    async def set(self, seller_key: int, quota_minor: int) -> CreditQuota:
        """Sets a quota; see the port."""
        if seller_key not in self._tables.quotas:
            now_us = self._now_us()
            for month in {month_of(now_us - CLOCKS_APART_US), month_of(now_us + CLOCKS_APART_US)}:
                self._tables.quota_used[seller_key, month] = self._issued(seller_key, month)
        self._tables.quotas[seller_key] = quota_minor
        return await self.get(seller_key)

    async def clear(self, seller_key: int) -> CreditQuota:
        """Clears a quota; see the port."""
        self._tables.quotas.pop(seller_key, None)
        for key in [key for key in self._tables.quota_used if key[0] == seller_key]:
            del self._tables.quota_used[key]
        return await self.get(seller_key)

    async def get(self, seller_key: int) -> CreditQuota:
        """Reads a quota; see the port."""
        month = month_of(self._now_us())
        used = self._tables.quota_used.get((seller_key, month), 0)
        return CreditQuota(month, self._tables.quotas.get(seller_key), used)

    def _issued(self, seller_key: int, month: int) -> int:
        """Sums up the blue invoices of a month."""
        return sum(
            row.issued.net_total_minor
            for row in self._tables.invoices.values()
            if row.issued.seller_key == seller_key
            and row.issued.color == InvoiceColor.BLUE
            and month_of(row.issued.issued_at_us) == month
        )

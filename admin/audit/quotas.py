"""Credit quotas: what they say is used is what was issued, and never more than was allowed (docs/adr/0022)."""

from __future__ import annotations

from typing import Final

from admin.audit.check import Check, Sources
from core.domain.kinds import InvoiceColor
from core.storage.credit import month_start_us, month_text, next_month

QUOTAS: Final = "SELECT seller_key, quota_minor FROM credit_quotas WHERE seller_key > %s ORDER BY seller_key LIMIT 1000"
MONTHS: Final = "SELECT month, used_minor, ceiling_minor FROM credit_quota_months WHERE seller_key = %s ORDER BY month"
ISSUED: Final = (
    "SELECT COALESCE(SUM(i.net_total_minor), 0), COUNT(*)"
    " FROM seller_runs r FORCE INDEX (PRIMARY) STRAIGHT_JOIN invoices i FORCE INDEX (PRIMARY)"
    " ON i.number BETWEEN r.first_number AND r.last_number"
    " WHERE r.seller_key = %s AND r.issued_at_us >= %s AND r.issued_at_us < %s AND i.color = %s"
)
# issuing learns of a quota from the ranges: those still open must say the same as the quotas
FLAGS: Final = (
    "SELECT r.range_id, r.quota_on FROM number_ranges r LEFT JOIN credit_quotas q ON q.seller_key = r.seller_key"
    " WHERE r.used < r.size AND r.quota_on <> (q.seller_key IS NOT NULL) ORDER BY r.range_id LIMIT 1000"
)
STRAY: Final = (
    "SELECT m.seller_key, m.month FROM credit_quota_months m LEFT JOIN credit_quotas q ON q.seller_key = m.seller_key"
    " WHERE q.seller_key IS NULL ORDER BY m.seller_key, m.month LIMIT 1000"
)
FAR_US: Final = 2**62  # after every invoice


class QuotasCheck(Check):
    """For every seller with a quota: the amount of each month is the sum of its blue invoices, and was allowed.

    The months begin with the one in which the quota was switched on. Invoices of a month that nothing is known of are a
    finding, and so is a number range that issuing would not see the quota from.
    """

    name = "credit quotas are kept"
    promise = "P3"

    async def finish(self, sources: Sources) -> None:
        """Sums up each month of each seller with a quota; 1 round trip a month."""
        after = 0
        while found := await sources.snapshot.rows(QUOTAS, (after,)):
            after = found[-1][0]
            for seller_key, quota_minor in found:
                if quota_minor < 0:
                    self.report.add(f"seller {seller_key}", f"has a credit quota of {quota_minor}")
                await self._look(sources, seller_key)
        for range_id, on in await sources.snapshot.rows(FLAGS):
            words = (
                "says that its seller has a credit quota" if on else "does not say that its seller has a credit quota"
            )
            self.report.add(f"range {range_id}", words)
        for seller_key, month in await sources.snapshot.rows(STRAY):
            self.report.add(f"seller {seller_key}", f"used up {month_text(month)} without a credit quota")

    async def _look(self, sources: Sources, seller_key: int) -> None:
        """Compares the months of one seller, those without a row as well."""
        subject = f"seller {seller_key}"
        months = {row[0]: (int(row[1]), int(row[2])) for row in await sources.snapshot.rows(MONTHS, (seller_key,))}
        if not months:
            self.report.add(subject, "has a credit quota and no month it began with")
            return
        month, last = min(months), max(months)
        while month <= last:
            used, ceiling = months.get(month, (0, 0))
            issued, count = await self._issued(sources, seller_key, month_start_us(month), next_month(month))
            self.report.examined += count
            if used != issued:
                self.report.add(
                    subject, f"used {used} of its quota in {month_text(month)}, its invoices sum up to {issued}"
                )
            elif used > ceiling:
                self.report.add(subject, f"used {used} in {month_text(month)}, at most {ceiling} was allowed")
            month = next_month(month)
        issued, count = await self._issued(sources, seller_key, month_start_us(month), None)
        if count:
            self.report.add(subject, f"{count} invoices of {issued} from {month_text(month)} on count in no month")

    @staticmethod
    async def _issued(sources: Sources, seller_key: int, from_us: int, before_month: int | None) -> tuple[int, int]:
        """Sums up and counts the blue invoices from a moment on, before a month or without an end."""
        before_us = FAR_US if before_month is None else month_start_us(before_month)
        values = (seller_key, from_us, before_us, int(InvoiceColor.BLUE))
        ((issued, count),) = await sources.snapshot.rows(ISSUED, values)
        return int(issued), int(count)

"""Credit quotas on MySQL: set, cleared and read (docs/adr/0022). Issuing counts in issuing_quota.py.

Locks are taken in the platform's order: the seller's open ranges by id, then its row of `credit_quotas`. The lock that
adding ranges takes is held around it all, so that no range misses the flag.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiomysql
import pymysql

from core.storage.credit import month_of, month_start_us, next_month
from core.storage.mysql.pool import DEADLOCK, LOCK_TIMEOUT, Primary, read, rows, unavailable
from core.storage.mysql.registry import RANGES_LOCK, RANGES_LOCK_WAIT_S
from core.storage.quota_port import CLOCKS_APART_US, CreditQuota

RANGES_PAGE: Final = 1_000  # locked by one statement

# a used up range is never taken a number from again, so it needs no flag
OPEN_RANGES: Final = (
    "SELECT range_id FROM number_ranges WHERE seller_key = %s AND used < size AND quota_on <> %s AND range_id > %s"
    " ORDER BY range_id LIMIT %s"
)
ISSUED: Final = (
    "SELECT COALESCE(SUM(i.net_total_minor), 0)"
    " FROM seller_runs r FORCE INDEX (PRIMARY) STRAIGHT_JOIN invoices i FORCE INDEX (PRIMARY)"
    " ON i.number BETWEEN r.first_number AND r.last_number"
    " WHERE r.seller_key = %s AND r.issued_at_us >= %s AND r.issued_at_us < %s AND i.color = 1"
)


class MySQLQuotaStore:
    """The QuotaStore of core/storage/quota_port.py on the present primary."""

    def __init__(self, *, primary: Callable[[], Primary], now_us: Callable[[], int]) -> None:
        self._primary = primary
        self._now_us = now_us

    async def set(self, seller_key: int, quota_minor: int) -> CreditQuota:
        """Sets a quota; see the port."""
        async with self._alone() as connection:
            await _flag(connection, seller_key, on=1)
            # after the locks: whatever is issued from now on sees the flag, whatever was is committed
            now_us = self._now_us()
            known = await rows(
                connection, "SELECT quota_minor FROM credit_quotas WHERE seller_key = %s FOR UPDATE", (seller_key,)
            )
            if known:
                sql = "UPDATE credit_quotas SET quota_minor = %s, changed_at_us = %s WHERE seller_key = %s"
                await rows(connection, sql, (quota_minor, now_us, seller_key))
            else:
                await _switch_on(connection, seller_key, quota_minor, now_us)
            await rows(connection, "COMMIT")
        return await self.get(seller_key)

    async def clear(self, seller_key: int) -> CreditQuota:
        """Clears a quota; see the port."""
        async with self._alone() as connection:
            await _flag(connection, seller_key, on=0)
            await rows(connection, "DELETE FROM credit_quotas WHERE seller_key = %s", (seller_key,))
            await rows(connection, "DELETE FROM credit_quota_months WHERE seller_key = %s", (seller_key,))
            await rows(connection, "COMMIT")
        return await self.get(seller_key)

    async def get(self, seller_key: int) -> CreditQuota:
        """Reads a quota; see the port."""
        month = month_of(self._now_us())
        sql = (
            "SELECT q.quota_minor, COALESCE(m.used_minor, 0) FROM credit_quotas q LEFT JOIN credit_quota_months m"
            " ON m.seller_key = q.seller_key AND m.month = %s WHERE q.seller_key = %s"
        )
        found = await read(self._primary().node, sql, (month, seller_key))
        return CreditQuota(month, found[0][0], int(found[0][1])) if found else CreditQuota(month, None, 0)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[aiomysql.Connection]:
        """Opens a transaction while no range is added and no other quota is changed.

        A failure closes the connection: that rolls back and gives the lock away.
        """
        primary = self._primary()
        async with primary.connection() as connection:
            locked = await rows(connection, "SELECT GET_LOCK(%s, %s)", (RANGES_LOCK, RANGES_LOCK_WAIT_S))
            if locked[0][0] != 1:
                raise unavailable(f"number ranges were being changed for {RANGES_LOCK_WAIT_S} s")
            await primary.begin(connection)
            try:
                yield connection
            except pymysql.err.OperationalError as error:
                if error.args[0] in (DEADLOCK, LOCK_TIMEOUT):
                    raise unavailable(error) from error
                raise
            await rows(connection, "DO RELEASE_LOCK(%s)", (RANGES_LOCK,))


async def _flag(connection: aiomysql.Connection, seller_key: int, *, on: int) -> None:
    """Locks the seller's open ranges that are flagged otherwise, in the order of their ids, and flags them.

    Found first and locked by id then, as issuing locks them.
    """
    after = 0
    while found := await rows(connection, OPEN_RANGES, (seller_key, on, after, RANGES_PAGE)):
        ids = [row[0] for row in found]
        after = ids[-1]
        places = ",".join(["%s"] * len(ids))
        lock = f"SELECT range_id FROM number_ranges WHERE range_id IN ({places}) ORDER BY range_id FOR UPDATE"  # noqa: S608
        await rows(connection, lock, ids)
        sql = f"UPDATE number_ranges SET quota_on = %s WHERE range_id IN ({places})"  # noqa: S608 (placeholders)
        await rows(connection, sql, (on, *ids))


async def _switch_on(connection: aiomysql.Connection, seller_key: int, quota_minor: int, now_us: int) -> None:
    """Writes a new quota with what was issued in its months, which nobody can change now."""
    sql = "INSERT INTO credit_quotas (seller_key, quota_minor, since_us, changed_at_us) VALUES (%s, %s, %s, %s)"
    await rows(connection, sql, (seller_key, quota_minor, now_us, now_us))
    for month in sorted({month_of(now_us - CLOCKS_APART_US), month_of(now_us + CLOCKS_APART_US)}):
        bounds = month_start_us(month), month_start_us(next_month(month))
        used = (await rows(connection, ISSUED, (seller_key, *bounds)))[0][0]
        sql = (
            "INSERT INTO credit_quota_months (seller_key, month, used_minor, ceiling_minor) VALUES (%s, %s, %s, %s)"
            " ON DUPLICATE KEY UPDATE used_minor = VALUES(used_minor), ceiling_minor = VALUES(ceiling_minor)"
        )
        await rows(connection, sql, (seller_key, month, int(used), int(used)))

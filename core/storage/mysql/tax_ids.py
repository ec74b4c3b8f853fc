"""Proofs of taxpayer ids on MySQL."""

from __future__ import annotations

from collections.abc import Callable

from core.storage.entry_port import TaxIdRecord, tax_id_not_proven
from core.storage.mysql.collection import FOLLOW
from core.storage.mysql.pool import Primary, read

_CLAIMED = "SELECT 1 FROM tenant_tax_ids WHERE tenant_key = %s AND tax_id = %s"
_COLUMNS = "tenant_key, tax_id, claimed_at_us, confirmed_at_us"


class MySQLTaxIdStore:
    """The TaxIdStore of core/storage/entry_port.py. `primary` is asked for the present primary before every use."""

    def __init__(self, *, primary: Callable[[], Primary]) -> None:
        self._primary = primary

    async def claim(self, tenant_key: int, tax_id: str, *, now_us: int) -> TaxIdRecord:
        """Claims an id; see the port."""
        sql = (
            "INSERT INTO tenant_tax_ids (tenant_key, tax_id, claimed_at_us) VALUES (%s, %s, %s)"
            " ON DUPLICATE KEY UPDATE tax_id = tax_id"
        )
        await self._primary().write(sql, (tenant_key, tax_id, now_us))
        return await self._one(tenant_key, tax_id)

    async def confirm(self, tenant_key: int, tax_id: str, *, now_us: int) -> TaxIdRecord:
        """Confirms a claim; see the port. Following goes first: a head too many does no harm, a missing one would."""
        if await self._primary().rows(_CLAIMED, (tenant_key, tax_id)):
            await self._primary().write(FOLLOW, (tax_id,))
        sql = (
            "UPDATE tenant_tax_ids SET confirmed_at_us = %s"
            " WHERE tenant_key = %s AND tax_id = %s AND confirmed_at_us IS NULL"
        )
        await self._primary().write(sql, (now_us, tenant_key, tax_id))
        return await self._one(tenant_key, tax_id)

    async def revoke(self, tenant_key: int, tax_id: str) -> None:
        """Takes a claim away; see the port."""
        sql = "DELETE FROM tenant_tax_ids WHERE tenant_key = %s AND tax_id = %s"
        await self._primary().write(sql, (tenant_key, tax_id))

    async def tax_ids(self, tenant_key: int, *, after: str, items_max: int) -> list[TaxIdRecord]:
        """Lists claims; see the port."""
        sql = (
            f"SELECT {_COLUMNS} FROM tenant_tax_ids"  # noqa: S608 (a constant)
            " WHERE tenant_key = %s AND tax_id > %s ORDER BY tax_id LIMIT %s"
        )
        found = await read(self._primary().node, sql, (tenant_key, after, items_max))
        return [TaxIdRecord(*row) for row in found]

    async def is_proven(self, tenant_key: int, tax_id: str) -> bool:
        """Tells whether a claim is confirmed; see the port."""
        sql = "SELECT 1 FROM tenant_tax_ids WHERE tenant_key = %s AND tax_id = %s AND confirmed_at_us IS NOT NULL"
        return bool(await read(self._primary().node, sql, (tenant_key, tax_id)))

    async def _one(self, tenant_key: int, tax_id: str) -> TaxIdRecord:
        """Reads a claim."""
        sql = f"SELECT {_COLUMNS} FROM tenant_tax_ids WHERE tenant_key = %s AND tax_id = %s"  # noqa: S608 (a constant)
        found = await read(self._primary().node, sql, (tenant_key, tax_id))
        if not found:
            raise tax_id_not_proven(tax_id)
        return TaxIdRecord(*found[0])

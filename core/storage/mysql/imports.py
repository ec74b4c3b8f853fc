# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""Imported invoices on MySQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Final

import pymysql

from core.storage.import_port import Import
from core.storage.mysql.pool import DUPLICATE_KEY, Primary, read

NAMES: Final = tuple(field.name for field in fields(Import))

_COLUMNS = ", ".join(NAMES)
_ADD = f"INSERT INTO imported_invoices ({', '.join(NAMES[1:])}) VALUES ({','.join(['%s'] * (len(NAMES) - 1))})"
_FIND = (
    f"SELECT {_COLUMNS} FROM imported_invoices FORCE INDEX (by_number)"
    " WHERE tenant_key = %s AND code = %s AND number = %s"
)
_LIST = (
    f"SELECT {_COLUMNS} FROM imported_invoices FORCE INDEX (by_tenant)"
    " WHERE tenant_key = %s AND import_id > %s ORDER BY import_id LIMIT %s"
)


class MySQLImportStore:
    """The ImportStore of core/storage/import_port.py. `primary` is asked for the present primary before every use."""

    def __init__(self, *, primary: Callable[[], Primary]) -> None:
        self._primary = primary

    async def add(self, wanted: Import) -> tuple[Import, bool]:
        """Adds an import; see the port."""
        added = True
        try:
            await self._primary().write(_ADD, tuple(getattr(wanted, name) for name in NAMES[1:]))
        except pymysql.err.IntegrityError as error:
            if error.args[0] != DUPLICATE_KEY:
                raise
            added = False
        found = await self.find(wanted.tenant_key, wanted.code, wanted.number)
        if found is None:
            raise RuntimeError(f"import of {wanted.number} was added and is not there")
        return found, added

    async def find(self, tenant_key: int, code: str, number: str) -> Import | None:
        """Finds an import; see the port."""
        found = await read(self._primary().node, _FIND, (tenant_key, code, number))
        return _import(found[0]) if found else None

    async def imports(self, tenant_key: int, *, after: int, items_max: int) -> list[Import]:
        """Lists imports; see the port."""
        return [_import(row) for row in await read(self._primary().node, _LIST, (tenant_key, after, items_max))]


def _import(row: Sequence[Any]) -> Import:
    values = dict(zip(NAMES, row, strict=True))
    return Import(**{**values, "verified": bool(values["verified"]), "sha256": bytes(values["sha256"])})

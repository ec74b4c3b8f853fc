"""Import: every imported invoice's document is there, locked, and the bytes that were imported; none is there twice."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Final

from admin.audit.check import Check, Sources
from core import limits
from core.storage.pieces import pieces
from core.storage.ports import ObjectMissing

PAGE_ROWS: Final = 200
READS_AT_ONCE: Final = 8

ROWS: Final = (
    "SELECT import_id, tenant_key, number, sha256, size_bytes, object_key FROM imported_invoices"
    " WHERE import_id > %s ORDER BY import_id LIMIT %s"
)
REPEATED: Final = (
    "SELECT tenant_key, code, number, COUNT(*) FROM imported_invoices GROUP BY tenant_key, code, number"
    " HAVING COUNT(*) > 1 ORDER BY 1, 2, 3"
)
UNPROVEN: Final = (
    "SELECT i.import_id FROM imported_invoices i LEFT JOIN invoices v ON v.number = i.number"
    " WHERE i.verified = 1 AND (v.number IS NULL OR v.gross_total_minor <> i.gross_total_minor) ORDER BY 1"
)


class ImportsCheck(Check):
    """Reads every imported document: 2 round trips to the object store each, READS_AT_ONCE at a time."""

    name = "imported invoices have their documents"
    promise = "P6"

    async def finish(self, sources: Sources) -> None:
        """Walks the rows, then compares on the server."""
        after = 0
        while found := await sources.snapshot.rows(ROWS, (after, PAGE_ROWS)):
            after = found[-1][0]
            self.report.examined += len(found)
            for some in pieces(found, READS_AT_ONCE):
                await asyncio.gather(*(self._look(sources, row) for row in some))
        for tenant_key, code, number, count in await sources.snapshot.rows(REPEATED):
            self.report.add(f"invoice {code}{number}", f"was imported {count} times by tenant {tenant_key}")
        for (import_id,) in await sources.snapshot.rows(UNPROVEN):
            self.report.add(f"import {import_id}", "is called verified, and no such invoice was issued")

    async def _look(self, sources: Sources, row: tuple[Any, ...]) -> None:
        import_id, tenant_key, _, sha256, size_bytes, key = row
        if not str(key).startswith(f"imports/{tenant_key}/{bytes(sha256).hex()}."):
            self.report.add(f"import {import_id}", "has an object of another tenant or digest")
            return
        try:
            content = await sources.objects.read(key, start=0, length=limits.INSPECT_BYTES_MAX + 1)
            locked = await sources.objects.retained_until_us(key)
        except ObjectMissing:
            self.report.add(f"import {import_id}", "has no document in the object store")
            return
        if len(content) != size_bytes or hashlib.sha256(content).digest() != bytes(sha256):
            self.report.add(f"import {import_id}", "has another document than was imported")
        if not locked:
            self.report.add(f"import {import_id}", "has a document without a retention lock")

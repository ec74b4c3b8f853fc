"""Imported invoices in memory: the twin of core/storage/mysql/imports.py."""

from __future__ import annotations

from dataclasses import replace

from core.domain.kinds import InvoiceColor
from core.storage.import_port import Import


class MemoryImportStore:
    """The ImportStore of core/storage/import_port.py."""

    def __init__(self) -> None:
        self._imports: dict[tuple[int, str, str], Import] = {}

    async def add(self, wanted: Import) -> tuple[Import, bool]:
        """Adds an import; see the port."""
        key = (wanted.tenant_key, wanted.code, wanted.number)
        if key in self._imports:
            return self._imports[key], False
        self._imports[key] = replace(wanted, import_id=len(self._imports) + 1)
        return self._imports[key], True

    async def find(self, tenant_key: int, code: str, number: str) -> Import | None:
        """Finds an import; see the port."""
        return self._imports.get((tenant_key, code, number))

    async def imports(self, tenant_key: int, *, after: int, items_max: int) -> list[Import]:
        """Lists imports; see the port."""
        own = [item for item in self._imports.values() if item.tenant_key == tenant_key and item.import_id > after]
        return sorted(own, key=lambda item: item.import_id)[:items_max]

    def red_total_minor(self, blue: Import) -> int:
        """The sum of the imported reds of an import, each once: what MemoryEntryStore asks."""
        reds: dict[tuple[str, str], int] = {}
        sides = (blue.buyer_tax_id, blue.seller_tax_id)
        for item in self._imports.values():
            is_red = item.color == InvoiceColor.RED and item.blue_number == blue.number and not blue.code
            if is_red and (item.buyer_tax_id, item.seller_tax_id) == sides:
                name = (item.code, item.number)
                reds[name] = min(reds.get(name, 0), item.gross_total_minor)
        return sum(reds.values())

"""The port to imported invoices. Errors as in ports.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """An imported invoice. The bytes of its document are the object `object_key`, whose SHA-256 is `sha256`.

    `import_id` is 0 before it is stored. `signature` and `document_kind` have the values of billow.inspection.v1.
    """

    import_id: int = 0
    tenant_key: int
    code: str
    number: str
    kind: int
    color: int
    blue_number: str
    issued_at_us: int
    seller_tax_id: str
    seller_name: str
    buyer_tax_id: str
    net_total_minor: int
    tax_total_minor: int
    gross_total_minor: int
    verified: bool
    signature: int
    document_kind: int
    sha256: bytes
    size_bytes: int
    object_key: str
    imported_at_us: int


class ImportStore(Protocol):
    """Keeps imported invoices; the primary's. Its rows are added and never changed."""

    async def add(self, wanted: Import) -> tuple[Import, bool]:
        """Adds an import unless the tenant has one of the same code and number; returns what there is then.

        True: it was added now. Two at once: one is added, both get that one. 2 round trips.
        """
        ...

    async def find(self, tenant_key: int, code: str, number: str) -> Import | None:
        """Finds a tenant's import; 1 round trip."""
        ...

    async def imports(self, tenant_key: int, *, after: int, items_max: int) -> list[Import]:
        """Lists a tenant's imports by id; 1 round trip."""
        ...

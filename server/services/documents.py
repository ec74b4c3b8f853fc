"""Documents of issued invoices: rendered when first asked for, then kept and read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from core.documents.renderer import DocumentFormat
from core.domain.errors import Violation
from core.storage.ports import InvoiceRow, ObjectStore
from press.kept import KeptDocuments, Press
from server.services.auth import Caller
from server.services.registry_rules import refuse


class Invoices(Protocol):
    """What is needed of `server.services.received.EitherSide`: who asks decides what is there (P8)."""

    async def find_invoice(self, caller: Caller, number: str) -> tuple[InvoiceRow, str]:
        """Finds an invoice that the caller's tenant may read; raises INVALID_REQUEST, INVOICE_NOT_FOUND."""
        ...

    async def read_body(self, row: InvoiceRow) -> bytes:
        """Reads its canonical body, checked against the digest."""
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """A rendered invoice."""

    format: DocumentFormat
    file_name: str
    content: bytes
    sha256: bytes


class DocumentService:
    """Gives out documents of the invoices that the caller's tenant issued, or received (P8).

    An issued invoice never changes (P4) and rendering is deterministic, so a document has one content for ever and
    two renderings at once do no harm. The object store is not needed: while it is away (or slower than 2 s) documents
    are rendered every time; only a body that has been archived cannot be read then. `retention_days` is for how long
    the kept documents are locked.
    """

    def __init__(
        self,
        *,
        invoices: Invoices,
        press: Press,
        objects: ObjectStore,
        formats: Mapping[str, DocumentFormat],
        retention_days: int,
        now_us: Callable[[], int],
    ) -> None:
        self._invoices = invoices
        self._kept = KeptDocuments(press=press, objects=objects, retention_days=retention_days, now_us=now_us)
        self._formats = formats

    async def get_document(
        self, caller: Caller, *, number: str, format_name: str, must_be_kept: bool = False
    ) -> Document:
        """Reads or renders a document; with `must_be_kept` one that is in the object store now.

        Raises INVALID_REQUEST, INVOICE_NOT_FOUND, OVERLOADED, DOCUMENT_NOT_RENDERABLE, STORAGE_UNAVAILABLE when the
        body cannot be had, or the document not be kept though it must. 1 round trip to a replica and 1 to the object
        store for a document that is kept; else the trips of the body and 2 more to the object store.
        """
        made = self._formats.get(format_name)
        if made is None:
            words = f"must be one of {', '.join(sorted(self._formats))}"
            refuse([Violation("format", "FORMAT_UNKNOWN" if format_name else "REQUIRED", words)])
            raise AssertionError("refuse raises")
        row, _ = await self._invoices.find_invoice(caller, number)
        content = await self._kept.content(
            made, number, lambda: self._invoices.read_body(row), must_be_kept=must_be_kept
        )
        return Document(made, f"{number}.{made.extension}", content, hashlib.sha256(content).digest())

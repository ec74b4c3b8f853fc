"""The documents that go with a message: the same bytes as DocumentService gives out, under the same kept keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.documents.renderer import DocumentFormat
from core.domain.errors import BillowError, Reason
from core.storage.bodies import Bodies
from core.storage.ports import InvoiceReader, InvoiceRow
from press.kept import KeptDocuments


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One file."""

    format_name: str
    file_name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Attached:
    """The files that go, and the names of the formats that do not, each with the reason in words."""

    files: tuple[Attachment, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


class AttachmentSource(Protocol):
    """Where documents come from. Never blocks the loop; as slow as rendering."""

    async def of(self, number: str, formats: Sequence[str]) -> Attached:
        """Returns the documents of an invoice in the order of `formats`.

        Raises BillowError when one that there should be cannot be had now (STORAGE_UNAVAILABLE, OVERLOADED).
        """
        ...


class InvoiceDocuments:
    """Reads or renders documents, bounded in their total size.

    A document that a format cannot express, and one that does not fit any more, is left out: neither would come by
    waiting. 1 round trip to the database, and those of KeptDocuments for each document.
    """

    def __init__(
        self,
        *,
        invoices: InvoiceReader,
        bodies: Bodies,
        kept: KeptDocuments,
        formats: Mapping[str, DocumentFormat],
        bytes_max: int,
    ) -> None:
        self._invoices = invoices
        self._bodies = bodies
        self._kept = kept
        self._formats = formats
        self._bytes_max = bytes_max

    async def of(self, number: str, formats: Sequence[str]) -> Attached:
        """Returns the documents of an invoice; see AttachmentSource."""
        if not formats:
            return Attached()
        row = (await self._invoices.by_number((number,))).get(number)
        if row is None:
            raise BillowError(Reason.STORAGE_UNAVAILABLE, f"invoice {number} is not on the primary")
        files: list[Attachment] = []
        left_out: list[tuple[str, str]] = []
        free = self._bytes_max
        for name in formats:
            made = self._formats[name]
            try:
                content = await self._kept.content(made, number, self._body_of(row))
            except BillowError as error:
                if error.reason is not Reason.DOCUMENT_NOT_RENDERABLE:
                    raise
                left_out.append((name, "本格式无法表示该发票 this format cannot express the invoice"))
                continue
            if len(content) > free:
                left_out.append((name, "文件过大 too large for an e-mail"))
                continue
            free -= len(content)
            file_name = f"发票_{number}.{made.extension}"
            files.append(Attachment(format_name=name, file_name=file_name, media_type=made.media_type, content=content))
        return Attached(tuple(files), tuple(left_out))

    def _body_of(self, row: InvoiceRow) -> Callable[[], Awaitable[bytes]]:
        """Reads the body when it is needed."""
        return lambda: self._bodies.read(row)

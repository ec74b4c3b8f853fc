"""Inspection of documents: is a file the invoice it says it is? docs/adr/0021 says who is told what, and why."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from core import limits
from core.documents.findings import Comparison, Difference, Kind, SignatureState, recognized
from core.documents.formats import OFD, PDF, XML
from core.documents.read_invoice import Refusal, Unreadable
from core.documents.renderer import DocumentFormat
from core.domain import verification
from core.domain.errors import BillowError, Reason
from core.domain.kinds import InvoiceState, state_of
from core.domain.verification import NUMBER_FORM
from core.storage.ports import InvoiceRow, SellerRecord, VerificationEntry
from server.services.auth import Caller

FORMAT_OF: Final = {Kind.XML: XML, Kind.OFD: OFD, Kind.PDF: PDF}


class Verdict(enum.IntEnum):
    """What an inspection found; the values are those of billow.inspection.v1.InspectionOutcome."""

    GENUINE = 1
    DATA_GENUINE = 2
    ALTERED = 3
    UNKNOWN = 4
    UNRECOGNIZED = 5
    UNREADABLE = 6
    TOO_MANY_CHECKS = 7
    TOO_OLD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDocument:
    """What a document says, true or not. `whole_file`: a valid signature covers all of it."""

    signature: SignatureState
    whole_file: bool
    number: str
    issued_at_us: int
    gross_total_minor: int
    invoice: bytes  # a serialised billow.types.v1.Invoice


class DocumentReader(Protocol):
    """Reads what anybody may have made, outside the event loop, in bounded time and memory.

    Every method raises Unreadable; OVERLOADED when too much waits, earlier with `public`.
    """

    async def read(self, content: bytes, *, public: bool) -> ReadDocument:
        """Reads a document and checks its signature."""
        ...

    async def compare(self, content: bytes, body: bytes, *, public: bool) -> Comparison:
        """Compares a document with the canonical body of the invoice of its number."""
        ...

    async def same_signature(self, content: bytes, genuine_xml: bytes, *, public: bool) -> bool:
        """Tells whether the document has the signature value of the genuine XML."""
        ...


class Checks(Protocol):
    """What is needed of VerificationService."""

    async def find(self, number: str) -> VerificationEntry | None:
        """Finds an invoice; None on the primary's word only (P7)."""
        ...

    async def may_check_publicly(self, number: str) -> bool:
        """Counts a check without a key; False: too many today."""
        ...


class Issued(Protocol):
    """What is needed of ReadingService."""

    async def invoice_of_any(self, number: str) -> tuple[InvoiceRow, SellerRecord] | None:
        """Finds an invoice of any tenant."""
        ...

    async def read_body(self, row: InvoiceRow) -> bytes:
        """Reads its canonical body, checked against the digest."""
        ...


class Kept(Protocol):
    """What is needed of press.kept.KeptDocuments."""

    async def content(self, made: DocumentFormat, number: str, body: Callable[[], Awaitable[bytes]]) -> bytes:
        """The document as we give it out; raises OVERLOADED, DOCUMENT_NOT_RENDERABLE."""
        ...

    async def is_kept(self, made: DocumentFormat, number: str, content: bytes) -> bool:
        """Tells whether these bytes are kept under this format and version."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an inspection found; the fields are those of billow.inspection.v1.VerifyDocumentResponse."""

    verdict: Verdict
    kind: Kind | None = None
    refusal: Refusal | None = None
    detail: str = ""
    read: ReadDocument | None = None
    byte_identical: bool | None = None
    state: InvoiceState | None = None
    red_total_minor: int = 0
    differences: tuple[Difference, ...] = ()
    difference_count: int = 0
    withheld: bool = False


class InspectionService:
    """Compares documents with the invoices of any tenant. `today` is the date where they are issued, yyyymmdd.

    Who has no key may inspect each invoice as often a day as it may be verified, all together, and is told the fields
    that differ only for a document that shows it holds the genuine one (P8).
    """

    def __init__(
        self, *, reader: DocumentReader, checks: Checks, invoices: Issued, kept: Kept, today: Callable[[], int]
    ) -> None:
        self._reader = reader
        self._checks = checks
        self._invoices = invoices
        self._kept = kept
        self._today = today

    async def inspect(self, caller: Caller | None, content: bytes) -> Inspection:
        """Inspects a document; `caller` is None without a key.

        Raises OVERLOADED, STORAGE_UNAVAILABLE: what cannot be asked is never answered as "unknown" (P7). Round trips:
        none for what cannot be read; else those of VerificationService.find, 1 for the count without a key, those of
        ReadingService.get_invoice, and 1 or 2 a version of the format to the object store.
        """
        kind = recognized(content)
        if kind is None:
            return Inspection(verdict=Verdict.UNRECOGNIZED, detail="the content is no XML, OFD or PDF")
        try:
            return await self._inspect(caller, kind, content)
        except Unreadable as error:
            return Inspection(verdict=Verdict.UNREADABLE, kind=kind, refusal=error.refusal, detail=error.message)

    async def _inspect(self, caller: Caller | None, kind: Kind, content: bytes) -> Inspection:
        public = caller is None
        read = await self._reader.read(content, public=public)
        found = Inspection(verdict=Verdict.UNKNOWN, kind=kind, read=read)
        if not NUMBER_FORM.fullmatch(read.number):
            return found
        oldest = self._today() - limits.VERIFICATION_YEARS_MAX * 10_000
        if verification.date_of(read.issued_at_us) < oldest:
            return replace(found, verdict=Verdict.TOO_OLD)
        entry = await self._checks.find(read.number)
        if entry is None:
            return found
        if public and not await self._checks.may_check_publicly(read.number):
            return replace(found, verdict=Verdict.TOO_MANY_CHECKS)
        row, seller = await self._row(read.number)
        body = await self._invoices.read_body(row)
        comparison = await self._reader.compare(content, body, public=public)
        if comparison.difference_count or read.signature is SignatureState.BROKEN:
            altered = await self._altered(found, entry, content, body, comparison, public=public)
            return altered if _owns(caller, seller) else _without_issued(altered)
        whole = read.whole_file or (kind is Kind.XML and comparison.same_file)
        identical = await self._identical(kind, content, read.number, body, needed=not whole)
        return replace(
            found,
            verdict=Verdict.GENUINE if whole or identical else Verdict.DATA_GENUINE,
            byte_identical=identical,
            state=state_of(entry.gross_total_minor, entry.red_total_minor),
            red_total_minor=entry.red_total_minor,
        )

    async def _row(self, number: str) -> tuple[InvoiceRow, SellerRecord]:
        found = await self._invoices.invoice_of_any(number)
        if found is None:  # its entry was just read
            raise RuntimeError(f"invoice {number} has an entry and no row")
        return found

    async def _altered(
        self,
        found: Inspection,
        entry: VerificationEntry,
        content: bytes,
        body: bytes,
        comparison: Comparison,
        *,
        public: bool,
    ) -> Inspection:
        """The answer for a document that says something else than was issued."""
        altered = replace(found, verdict=Verdict.ALTERED, byte_identical=False)
        if public and not await self._is_holder(found, entry, content, body):
            return replace(altered, withheld=True)
        if not comparison.difference_count:
            return replace(altered, differences=(Difference("document", "", ""),), difference_count=1)
        return replace(altered, differences=comparison.differences, difference_count=comparison.difference_count)

    async def _is_holder(self, found: Inspection, entry: VerificationEntry, content: bytes, body: bytes) -> bool:
        """Tells whether the document could not have been made without the genuine one, or what it says on its face."""
        read = found.read
        if read is None or found.kind is None:
            return False
        same_date = verification.date_of(read.issued_at_us) == verification.date_of(entry.issued_at_us)
        if same_date and read.gross_total_minor == entry.gross_total_minor:
            return True
        if read.signature is SignatureState.UNSIGNED:
            return False
        try:
            genuine = await self._kept.content(XML, read.number, lambda: _given(body))
        except BillowError as error:
            if error.reason is not Reason.DOCUMENT_NOT_RENDERABLE:
                raise
            return False
        return await self._reader.same_signature(content, genuine, public=True)

    async def _identical(self, kind: Kind, content: bytes, number: str, body: bytes, *, needed: bool) -> bool | None:
        """Tells whether these are the bytes that we give out or gave out; None: not known, and not `needed`."""
        made = FORMAT_OF[kind]
        try:
            if await self._kept.content(made, number, lambda: _given(body)) == content:
                return True
            for version in range(made.version - 1, 0, -1):
                if await self._kept.is_kept(replace(made, version=version), number, content):
                    return True
        except BillowError as error:
            if error.reason is Reason.DOCUMENT_NOT_RENDERABLE:
                return False
            if needed:
                raise
            return None
        return False


def _owns(caller: Caller | None, seller: SellerRecord) -> bool:
    """Tells whether the caller may read the invoice itself."""
    return caller is not None and caller.tenant_key == seller.tenant_key and "read" in caller.scopes


def _without_issued(found: Inspection) -> Inspection:
    """Takes the true values out of an answer (P8)."""
    return replace(found, differences=tuple(replace(difference, issued="") for difference in found.differences))


async def _given(body: bytes) -> bytes:
    return body

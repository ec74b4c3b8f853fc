"""Import of invoices that the tenant received elsewhere, from their documents (docs/adr/0025)."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from core.documents.findings import Kind, SignatureState
from core.documents.read_invoice import Refusal, Unreadable
from core.domain.errors import Violation
from core.storage.entry_port import TaxIdStore
from core.storage.import_port import Import, ImportStore
from core.storage.ports import ObjectStore
from server.services import paging
from server.services.auth import Caller
from server.services.inspection import Inspection, Verdict
from server.services.patience import Patience
from server.services.registry_rules import refuse

PREFIX: Final = "imports"
DAY_US: Final = 86_400 * 1_000_000
ID_MAX: Final = 2**63 - 1
EXTENSIONS: Final = {Kind.XML: "xml", Kind.OFD: "ofd", Kind.PDF: "pdf"}
SIGNATURES: Final = {
    SignatureState.UNSIGNED: 1,
    SignatureState.VALID: 2,
    SignatureState.BROKEN: 3,
    SignatureState.UNKNOWN: 4,
}
"""The values of billow.inspection.v1.SignatureResult; a test keeps them in step."""


class Outcome(enum.IntEnum):
    """What became of an import; the values are those of billow.collection.v1.ImportOutcome."""

    IMPORTED = 1
    ALREADY_IMPORTED = 2
    CONFLICT = 3
    UNREADABLE = 4
    ALTERED = 5
    RULES_BROKEN = 6
    BUYER_NOT_PROVEN = 7
    TOO_OLD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFacts:
    """What a document says, as far as importing needs it. With faults only these, the time and the signature count."""

    number: str = ""
    kind: int = 0
    color: int = 0
    blue_number: str = ""
    issued_at_us: int
    seller_tax_id: str
    seller_name: str
    buyer_tax_id: str
    net_total_minor: int = 0
    tax_total_minor: int = 0
    gross_total_minor: int = 0
    signature: SignatureState
    faults: tuple[Violation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What became of an import; the fields are those of billow.collection.v1.ImportInvoiceResponse."""

    outcome: Outcome
    imported: Import | None = None
    refusal: Refusal | None = None
    detail: str = ""
    altered_fields: tuple[str, ...] = ()
    faults: tuple[Violation, ...] = ()


class FactReader(Protocol):
    """Reads documents outside the event loop, in bounded time and memory."""

    async def facts(self, content: bytes) -> DocumentFacts:
        """Reads a document and checks the rules that can be checked. Raises Unreadable, OVERLOADED."""
        ...


class Inspector(Protocol):
    """What is needed of InspectionService."""

    async def inspect(self, caller: Caller | None, content: bytes) -> Inspection:
        """Compares a document with the invoice of its number, if it was issued here."""
        ...


class ImportService:
    """Imports for the caller's tenant (P8). `retention_days` is for how long the documents are locked.

    The document is put into the object store before the row is written: a row's object is always there. While the
    object store is away nothing is imported, the call fails with STORAGE_UNAVAILABLE and is repeated; an object whose
    row was never written harms nobody and is used by the repeat.
    """

    def __init__(
        self,
        *,
        reader: FactReader,
        inspector: Inspector,
        tax_ids: TaxIdStore,
        store: ImportStore,
        objects: ObjectStore,
        retention_days: int,
        now_us: Callable[[], int],
        wait_max_ms: int,
    ) -> None:
        self._reader = reader
        self._inspector = inspector
        self._tax_ids = tax_ids
        self._store = store
        self._objects = objects
        self._retention_us = retention_days * DAY_US
        self._now_us = now_us
        self._patiently = Patience(wait_max_ms=wait_max_ms)

    async def import_invoice(self, caller: Caller, content: bytes) -> ImportResult:
        """Imports a document; the same bytes again get the first import.

        Raises OVERLOADED, STORAGE_UNAVAILABLE. Round trips: those of InspectionService.inspect, 2 to the primary, and
        for a new one 2 to the object store and 2 to the primary.
        """
        inspection = await self._inspector.inspect(caller, content)
        refused = _refused(inspection)
        if refused is not None:
            return refused
        try:
            facts = await self._reader.facts(content)
        except Unreadable as error:
            return ImportResult(outcome=Outcome.UNREADABLE, refusal=error.refusal, detail=error.message)
        faults = facts.faults
        if not faults and facts.issued_at_us > self._now_us() + DAY_US:
            faults = (Violation("issue_time", "FUTURE", "is in the future"),)
        if faults:
            words = "its own figures or digits cannot be right"
            return ImportResult(outcome=Outcome.RULES_BROKEN, faults=faults, detail=words)
        tenant_key, buyer = caller.tenant_key, facts.buyer_tax_id
        if not await self._patiently(lambda: self._tax_ids.is_proven(tenant_key, buyer)):
            words = "the tenant has not proved the buyer's taxpayer id"
            return ImportResult(outcome=Outcome.BUYER_NOT_PROVEN, detail=words)
        wanted = self._import(caller, inspection, facts, content)
        found = await self._patiently(lambda: self._store.find(tenant_key, wanted.code, wanted.number))
        if found is None:
            retain_until_us = wanted.imported_at_us + self._retention_us
            await self._objects.put(wanted.object_key, content, retain_until_us=retain_until_us)
            kept, added = await self._patiently(lambda: self._store.add(wanted))
            if added:
                return ImportResult(outcome=Outcome.IMPORTED, imported=kept)
            found = kept
        if found.sha256 == wanted.sha256:
            return ImportResult(outcome=Outcome.ALREADY_IMPORTED, imported=found)
        words = "another document of this invoice was imported before"
        return ImportResult(outcome=Outcome.CONFLICT, imported=found, detail=words)

    async def list_imports(self, caller: Caller, *, after: int, page_size: int) -> list[Import]:
        """Lists imports after an id; 1 round trip. Raises INVALID_REQUEST."""
        if not 0 <= after <= ID_MAX:
            refuse([Violation("after_import_id", "POSITION", "must not be negative")])
        items_max = paging.size_of(page_size)
        return await self._patiently(lambda: self._store.imports(caller.tenant_key, after=after, items_max=items_max))

    def _import(self, caller: Caller, inspection: Inspection, facts: DocumentFacts, content: bytes) -> Import:
        """The import as it is to be stored."""
        kind = inspection.kind or Kind.XML
        digest = hashlib.sha256(content)
        return Import(
            tenant_key=caller.tenant_key,
            code="",  # the older invoices that have one come in no format that is read here
            number=facts.number,
            kind=facts.kind,
            color=facts.color,
            blue_number=facts.blue_number,
            issued_at_us=facts.issued_at_us,
            seller_tax_id=facts.seller_tax_id,
            seller_name=facts.seller_name,
            buyer_tax_id=facts.buyer_tax_id,
            net_total_minor=facts.net_total_minor,
            tax_total_minor=facts.tax_total_minor,
            gross_total_minor=facts.gross_total_minor,
            verified=inspection.verdict in (Verdict.GENUINE, Verdict.DATA_GENUINE),
            signature=SIGNATURES[facts.signature],
            document_kind=int(kind),
            sha256=digest.digest(),
            size_bytes=len(content),
            object_key=f"{PREFIX}/{caller.tenant_key}/{digest.hexdigest()}.{EXTENSIONS[kind]}",
            imported_at_us=self._now_us(),
        )


def _refused(inspection: Inspection) -> ImportResult | None:
    """The result for a document that inspection leaves no doubt about."""
    if inspection.verdict in (Verdict.UNREADABLE, Verdict.UNRECOGNIZED):
        return ImportResult(outcome=Outcome.UNREADABLE, refusal=inspection.refusal, detail=inspection.detail)
    if inspection.verdict is Verdict.ALTERED:
        paths = tuple(difference.path for difference in inspection.differences)
        words = "the invoice was issued here, and the document says something else"
        return ImportResult(outcome=Outcome.ALTERED, altered_fields=paths, detail=words)
    if inspection.verdict is Verdict.TOO_OLD:
        return ImportResult(outcome=Outcome.TOO_OLD, detail="issued longer ago than checks are answered for")
    return None

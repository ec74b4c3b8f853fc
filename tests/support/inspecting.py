"""What an inspection needs, around the real reading processes: invoices, checks and kept documents in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from billow.types.v1 import invoice_pb2
from core.documents.load_keys import load_checker
from core.documents.renderer import Renderer
from core.documents.renderers import make_renderers
from core.domain.verification import date_of
from core.settings import SigningSettings
from core.storage.memory.objects import MemoryObjectStore
from core.storage.ports import InvoiceRow, Issued, SellerRecord, VerificationEntry
from press.kept import KeptDocuments
from press.processes import Answer
from server import document_reader_process
from server.document_reader import ProcessReader
from server.services.auth import Caller
from server.services.inspection import Inspection, InspectionService
from tests.support.documents import FONT, issued_invoice
from tests.support.signing_keys import key_pair, ring, write_pair

OWNER = Caller(1, "owner", frozenset({"verify", "read"}), "k1")
STRANGER = Caller(2, "stranger", frozenset({"verify", "read"}), "k2")


class OwnPress:
    """Renders in this process."""

    def __init__(self, renderers: dict[str, Renderer]) -> None:
        self._renderers = renderers
        self.rendered: list[str] = []

    async def render(self, format_name: str, body: bytes) -> bytes:
        self.rendered.append(format_name)
        return self._renderers[format_name].render(invoice_pb2.Invoice.FromString(body))


@dataclass(slots=True)
class KnownInvoices:
    """The Checks and Issued of server/services/inspection.py over one invoice."""

    invoice: invoice_pb2.Invoice
    red_total_minor: int = 0
    checks_left: int = 5
    asked: list[str] = field(default_factory=list)

    async def find(self, number: str) -> VerificationEntry | None:
        self.asked.append(number)
        if number != self.invoice.number:
            return None
        return VerificationEntry(
            number,
            self.invoice.issue_time.seconds * 1_000_000,
            self.invoice.kind,
            self.invoice.net_total_minor,
            self.invoice.gross_total_minor,
            self.red_total_minor,
            self.invoice.seller.tax_id,
            self.invoice.buyer.tax_id,
        )

    async def may_check_publicly(self, number: str) -> bool:
        self.checks_left -= 1
        return self.checks_left >= 0

    async def invoice_of_any(self, number: str) -> tuple[InvoiceRow, SellerRecord] | None:
        invoice = self.invoice
        issued = Issued(
            number=number,
            seller_key=1,
            request_id="r",
            request_sha256=b"",
            kind=invoice.kind,
            color=1,
            issued_at_us=invoice.issue_time.seconds * 1_000_000,
            net_total_minor=invoice.net_total_minor,
            tax_total_minor=invoice.tax_total_minor,
            gross_total_minor=invoice.gross_total_minor,
            buyer_tax_id=invoice.buyer.tax_id,
            body_sha256=b"",
        )
        seller = SellerRecord(1, OWNER.tenant_key, "acme", "cn", None, 0)  # type: ignore[arg-type]
        return InvoiceRow(issued, 1, 0, self.red_total_minor), seller

    async def read_body(self, row: InvoiceRow) -> bytes:
        return self.invoice.SerializeToString(deterministic=True)


@dataclass(slots=True, kw_only=True)
class Inspecting:
    """A service and what is around it."""

    service: InspectionService
    reader: ProcessReader
    known: KnownInvoices
    objects: MemoryObjectStore
    press: OwnPress
    renderers: dict[str, Renderer]

    async def inspect(self, content: bytes, caller: Caller | None = STRANGER) -> Inspection:
        return await self.service.inspect(caller, content)

    def document(self, format_name: str, change: Callable[[invoice_pb2.Invoice], None] | None = None) -> bytes:
        """The document of the invoice, or of a changed one, signed by the platform's key."""
        return render(self.renderers[format_name], self.known.invoice, change)


def render(
    renderer: Renderer, invoice: invoice_pb2.Invoice, change: Callable[[invoice_pb2.Invoice], None] | None = None
) -> bytes:
    """A document of a copy of the invoice, changed."""
    copy = invoice_pb2.Invoice()
    copy.CopyFrom(invoice)
    if change is not None:
        change(copy)
    return renderer.render(copy)


class OwnProcesses:
    """Reads in this process: what the processes themselves are like, test_document_reader.py tells."""

    def __init__(self, signing: SigningSettings) -> None:
        self._checker = load_checker(signing)

    async def answer(self, name: str, *parts: bytes, waiting_max: int | None = None) -> Answer:
        return document_reader_process.answer(name, b"".join(parts), self._checker)


def inspecting(folder: Path) -> Inspecting:
    """Makes an invoice of three lines and a service that knows it."""
    key, certificate = key_pair()
    _, certificate_path = write_pair(folder, "platform", key, certificate)
    renderers = make_renderers(font=FONT, keys=ring(key, certificate))
    signing = SigningSettings(certificate=str(certificate_path))
    reader = ProcessReader(signing=signing)
    reader._processes = OwnProcesses(signing)  # type: ignore[assignment]
    known = KnownInvoices(issued_invoice(3))
    known.invoice.currency = "CNY"
    known.invoice.color = invoice_pb2.INVOICE_COLOR_BLUE
    objects, press = MemoryObjectStore(), OwnPress(renderers)
    service = InspectionService(
        reader=reader,
        checks=known,
        invoices=known,
        kept=KeptDocuments(press=press, objects=objects, retention_days=1, now_us=lambda: 0),
        today=lambda: date_of(known.invoice.issue_time.seconds * 1_000_000),
    )
    return Inspecting(service=service, reader=reader, known=known, objects=objects, press=press, renderers=renderers)

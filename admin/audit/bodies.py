"""P4: no issued invoice has changed: every body has the digest its row remembers and says what its row says."""

from __future__ import annotations

import hashlib

from google.protobuf.message import DecodeError

from admin.audit.check import Check, Sources
from admin.audit.snapshot import Row
from admin.audit.walk import BatchView, Page
from billow.types.v1.invoice_pb2 import Invoice
from core.domain.kinds import InvoiceColor

TAX_ID_SQL = "SELECT seller_key, tax_id FROM sellers WHERE seller_key > %s ORDER BY seller_key LIMIT 10000"


class BodiesCheck(Check):
    """Recomputes the SHA-256 of bodies from blocks and segments, parses them and compares every searchable field.

    With a sample of N it takes about every (invoices / N)-th invoice.
    """

    name = "bodies are as issued"
    promise = "P4"

    def __init__(self) -> None:
        super().__init__()
        self._tax_ids: dict[int, str] = {}
        self._step = 1
        self._until_next = 0

    async def start(self, sources: Sources) -> None:
        """Learns the sellers' tax ids, and how many invoices to leave out."""
        after = 0
        while found := await sources.snapshot.rows(TAX_ID_SQL, (after,)):
            self._tax_ids |= dict(found)
            after = found[-1][0]
        if sources.sample:
            invoices = int(await sources.snapshot.value("SELECT COUNT(*) FROM invoices"))
            self._step = max(1, invoices // sources.sample)

    def page(self, page: Page) -> None:
        """Compares the bodies of a page with their rows."""
        for view in page.views:
            if view.problem:
                self.report.add(f"batch {view.batch.batch_id}", view.problem)
            elif len(view.bodies) != len(view.rows):
                self.report.add(
                    f"batch {view.batch.batch_id}", f"has {len(view.bodies)} bodies for {len(view.rows)} rows"
                )
            else:
                self._look(view)

    def _look(self, view: BatchView) -> None:
        """Compares one batch."""
        for row, body, request_id in zip(view.rows, view.bodies, view.request_ids, strict=True):
            if row is None:
                continue  # the batches check says so
            if self._until_next:
                self._until_next -= 1
                continue
            self._until_next = self._step - 1
            self.report.examined += 1
            subject = f"invoice {row.number}"
            if hashlib.sha256(body).digest() != row.body_sha256:
                self.report.add(subject, "the SHA-256 of its body is not the one its row remembers")
                continue
            if request_id != row.request_id:
                self.report.add(subject, f"is stored under request id {request_id!r}, its row has {row.request_id!r}")
            wrong = self._differences(row, body)
            if wrong:
                self.report.add(subject, f"body and row differ in {', '.join(wrong)}")

    def _differences(self, row: Row, body: bytes) -> list[str]:
        """Names the fields in which body and row differ."""
        try:
            invoice = Invoice.FromString(body)
        except DecodeError:
            return ["everything: the body is no invoice"]
        said = (
            invoice.number,
            self._tax_ids.get(row.seller_key),
            invoice.kind,
            invoice.color or int(InvoiceColor.BLUE),
            invoice.issue_time.seconds * 1_000_000 + invoice.issue_time.nanos // 1_000,
            invoice.net_total_minor,
            invoice.tax_total_minor,
            invoice.gross_total_minor,
            invoice.buyer.tax_id,
            invoice.blue_number,
        )
        stored = (
            row.number,
            invoice.seller.tax_id,
            row.kind,
            row.color,
            row.issued_at_us,
            row.net_total_minor,
            row.tax_total_minor,
            row.gross_total_minor,
            row.buyer_tax_id,
            row.blue_number,
        )
        if said == stored:
            return []
        return [name for name, one, other in zip(FIELDS, said, stored, strict=True) if one != other]


FIELDS = (
    *("number", "seller", "kind", "color", "issue time", "net total", "tax total", "gross total"),
    *("buyer tax id", "blue number"),
)

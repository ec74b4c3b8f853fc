"""Invoices for the inspection page: issued before the browser starts, which leaves no asyncio loop to its thread."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from billow.document.v1 import document_pb2, document_pb2_grpc
from billow.redletter.v1 import redletter_pb2, redletter_pb2_grpc
from billow.registry.v1 import registry_pb2
from billow.types.v1 import invoice_pb2
from core.domain.decimals import minor_text
from core.domain.kinds import InvoiceKind
from core.domain.qr_text import qr_text
from stack import Stack
from tests.support.invoices import good_invoice
from tests.support.platform import Tenant, _serials, new_tenant, request_of

Found = TypeVar("Found")

CHINA = dt.timezone(dt.timedelta(hours=8))


@dataclass(frozen=True)
class Held:
    """An issued invoice as its holder sees it."""

    number: str
    day: dt.date
    gross_total_minor: int

    @property
    def date(self) -> str:
        """As 2026-11-18."""
        return self.day.isoformat()

    @property
    def total(self) -> str:
        """As 339.00."""
        return minor_text(self.gross_total_minor)

    @property
    def spaced(self) -> str:
        """The number as the page shows it."""
        return " ".join(self.number[start : start + 5] for start in range(0, 20, 5))

    @property
    def code(self) -> str:
        """The text of its QR code."""
        return qr_text(
            kind=InvoiceKind.GENERAL,
            number=self.number,
            gross_total_minor=self.gross_total_minor,
            issue_date=int(self.day.strftime("%Y%m%d")),
        )


async def hold(tenant: Tenant, name: str, lines: int = 3) -> Held:
    """Issues an invoice of the tenant's first seller."""
    issued = await tenant.issue(request_of(tenant.sellers[0], name, good_invoice(lines)))
    day = dt.datetime.fromtimestamp(issued.issue_time.seconds, CHINA).date()
    return Held(issued.number, day, issued.gross_total_minor)


async def red_letter(tenant: Tenant, held: Held, *, lines: tuple[int, ...] = ()) -> None:
    """Red-letters the whole invoice, or these lines of it."""
    stub = redletter_pb2_grpc.RedLetterServiceStub(tenant.channel)  # type: ignore[no-untyped-call,unused-ignore]
    extent = redletter_pb2.RED_EXTENT_LINES if lines else redletter_pb2.RED_EXTENT_WHOLE
    selection = redletter_pb2.RedSelection(
        blue_number=held.number,
        reason=redletter_pb2.RED_REASON_GOODS_RETURNED,
        extent=extent,
        lines=[redletter_pb2.RedLine(line=line, quantity="2") for line in lines],
    )
    request = redletter_pb2.IssueRedInvoiceRequest(
        seller_id=tenant.sellers[0], request_id=f"red-{held.number}", selection=selection
    )
    await stub.IssueRedInvoice(request, metadata=tenant.metadata, timeout=30)


async def document(tenant: Tenant, held: Held, format_name: str) -> bytes:
    """The document of an invoice as it is given to its parties."""
    stub = document_pb2_grpc.DocumentServiceStub(tenant.channel)  # type: ignore[no-untyped-call,unused-ignore]
    request = document_pb2.GetDocumentRequest(number=held.number, format=format_name)
    content: bytes = (await stub.GetDocument(request, metadata=tenant.metadata, timeout=60)).content
    return content


def prepared(stack: Stack, prepare: Callable[[Tenant], Coroutine[Any, Any, Found]]) -> Found:
    """Runs `prepare` with a tenant that has a seller with ranges for blue and red invoices, in a loop of its own."""

    async def run() -> Found:
        async with new_tenant(stack) as tenant:
            seller_id = await tenant.seller()
            first = (26 * 10**9 + next(_serials)) * 10**9
            request = registry_pb2.AddNumberRangeRequest(
                seller_id=seller_id,
                kind=invoice_pb2.INVOICE_KIND_GENERAL,
                color=invoice_pb2.INVOICE_COLOR_RED,
                first_number=f"{first:020d}",
                last_number=f"{first + 99:020d}",
            )
            await tenant.registry.AddNumberRange(request, metadata=tenant.metadata)
            return await prepare(tenant)

    return asyncio.run(run())

"""Reading issued invoices back: one with its body, and pages of many."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from core import limits
from core.domain import taxpayer_id
from core.domain.errors import BillowError, Reason, Violation
from core.domain.verification import NUMBER_FORM
from core.storage.bodies import Bodies
from core.storage.ports import InvoiceReader, InvoiceRow, Issued, ListFilter, ObjectMissing, Segment, SellerRecord
from server.services import paging
from server.services.auth import Caller
from server.services.paging import Page
from server.services.patience import Patience
from server.services.registry_rules import refuse
from server.services.sellers import SellerDirectory

LOG = logging.getLogger(__name__)

MISSING_RETRY_MS: Final = 1_000
TIME_MAX_US: Final = 253_402_300_800 * 1_000_000  # the year 10,000
SETTLED_US: Final = 5_000_000  # what is so old is on every replica that is fresh enough to be asked
REQUEST_ID_FORM: Final = re.compile(rf"[\x20-\x7e]{{1,{limits.REQUEST_ID_CHARS_MAX}}}")

Found = TypeVar("Found")


class SegmentBodies(Protocol):
    """Reads bodies out of archive segments."""

    async def read_body(self, segment: Segment, row: int) -> bytes:
        """Returns the canonical body in a row; raises STORAGE_UNAVAILABLE, ObjectMissing, SegmentCorrupt."""
        ...


async def _archived(segments: SegmentBodies, segment: Segment, place: int) -> bytes:
    """Reads a body out of a segment that the database knows: a store that does not know it is not all there yet.

    An object store that has just started may deny what it has (P10). One that has lost it is found by the audit (P6).
    """
    try:
        return await segments.read_body(segment, place)
    except ObjectMissing as error:
        LOG.error("a recorded segment is not in the object store", extra={"object_key": segment.object_key})
        words = "the object store does not have the invoice's segment now"
        raise BillowError(Reason.STORAGE_UNAVAILABLE, words, retry_delay_ms=MISSING_RETRY_MS) from error


@dataclass(frozen=True, slots=True)
class InvoiceWithBody:
    """An invoice as issued and what has become of it."""

    row: InvoiceRow
    seller_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """An invoice of a listing."""

    issued: Issued
    seller_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to list, as the caller said it; empty texts are absent."""

    seller_id: str
    buyer_tax_id: str
    request_id: str
    issued_from_us: int = 0
    issued_before_us: int = TIME_MAX_US
    page_size: int
    page_token: str


class ReadingService:
    """Reads invoices of the caller's tenant (P8): from a fresh replica, and from the primary what is not there.

    `now_us` is the wall clock. While a store is away a call waits for up to `wait_max_ms` (P10).
    """

    def __init__(
        self,
        *,
        primary: InvoiceReader,
        replicas: InvoiceReader,
        segments: SegmentBodies,
        sellers: SellerDirectory,
        now_us: Callable[[], int],
        wait_max_ms: int,
    ) -> None:
        self._primary = primary
        self._replicas = replicas
        self._bodies = Bodies(
            batch=lambda batch_id: self._either(lambda reader: reader.batch(batch_id)),
            segment=lambda segment_id: self._either(lambda reader: reader.segment(segment_id)),
            archived=lambda segment, place: self._patiently(lambda: _archived(segments, segment, place)),
        )
        self._sellers = sellers
        self._now_us = now_us
        self._patiently = Patience(wait_max_ms=wait_max_ms)

    async def get_invoice(self, caller: Caller, number: str) -> InvoiceWithBody:
        """Reads one invoice with its body, checked against its digest.

        Raises INVALID_REQUEST, INVOICE_NOT_FOUND, BodyCorrupt. The round trips of find_invoice and read_body.
        """
        row, seller_id = await self.find_invoice(caller, number)
        return InvoiceWithBody(row, seller_id, await self.read_body(row))

    async def find_invoice(self, caller: Caller, number: str) -> tuple[InvoiceRow, str]:
        """Finds one invoice without its body; returns it with its seller's id.

        Raises INVALID_REQUEST, INVOICE_NOT_FOUND. 1 round trip to a replica, 1 more to the primary when it has not
        got the invoice yet, 1 more for a seller not seen lately.
        """
        require_number(number)
        found = await self.invoice_of_any(number)
        if found is None or found[1].tenant_key != caller.tenant_key:
            raise invoice_not_found(number)
        return found[0], found[1].seller_id

    async def invoice_of_any(self, number: str) -> tuple[InvoiceRow, SellerRecord] | None:
        """Finds an invoice of any tenant with its seller: who asks decides who may see it (P8). As find_invoice."""
        row = await self._either(lambda reader: _one(reader, number))
        if row is None:
            return None
        seller = (await self._sellers.by_key((row.issued.seller_key,))).get(row.issued.seller_key)
        return None if seller is None else (row, seller)

    async def list_invoices(self, caller: Caller, wanted: Wanted) -> Page[Listed]:
        """Lists invoices, oldest first, by (issue time, number).

        An invoice under way while a page is read may be missing in it although a newer one is there: a listing is not
        a feed. Raises INVALID_REQUEST, INVALID_PAGE_TOKEN, SELLER_NOT_FOUND. 1 round trip to a replica, 2 by seller
        alone, for a page that reaches into the last seconds as many to the primary besides, and 1 for sellers not
        seen lately.
        """
        refuse(_faults(wanted))
        items_max = paging.size_of(wanted.page_size)
        seller: SellerRecord | None = None
        if wanted.seller_id:
            seller = await self._sellers.one(caller.tenant_key, wanted.seller_id)
        listing = (
            *("invoices", caller.tenant_key, wanted.seller_id, wanted.buyer_tax_id, wanted.request_id),
            *(wanted.issued_from_us, wanted.issued_before_us),
        )
        after = _position(paging.decode(listing, wanted.page_token))
        if seller is not None and wanted.request_id:
            return await self._list_request(seller, wanted)
        query = ListFilter(
            tenant_key=caller.tenant_key,
            seller_key=None if seller is None else seller.seller_key,
            buyer_tax_id=wanted.buyer_tax_id or None,
            issued_from_us=wanted.issued_from_us,
            issued_before_us=wanted.issued_before_us,
            after=after,
            items_max=items_max + 1,
        )
        found = await self._list(query)
        sellers = await self._sellers.by_key({issued.seller_key for issued in found})
        listed = [Listed(issued, sellers[issued.seller_key].seller_id) for issued in found]
        return paging.page_of(
            listed, items_max, listing, lambda item: f"{item.issued.issued_at_us}:{item.issued.number}"
        )

    async def _list_request(self, seller: SellerRecord, wanted: Wanted) -> Page[Listed]:
        """Lists the one invoice of a request id."""
        request_id = wanted.request_id

        async def find(reader: InvoiceReader) -> Issued | None:
            return (await reader.by_request(seller.seller_key, (request_id,))).get(request_id)

        issued = await self._either(find)
        fits = (
            issued is not None
            and wanted.issued_from_us <= issued.issued_at_us < wanted.issued_before_us
            and wanted.buyer_tax_id in ("", issued.buyer_tax_id)
        )
        return Page([Listed(issued, seller.seller_id)] if issued is not None and fits else [], "")

    async def _list(self, query: ListFilter) -> list[Issued]:
        """Lists from a replica what is settled, else from the primary."""
        settled_us = self._now_us() - SETTLED_US
        try:
            found = await self._replicas.list(query)
            if query.issued_before_us <= settled_us:
                return found
            if len(found) == query.items_max and found[-1].issued_at_us < settled_us:
                return found
        except BillowError as error:
            if error.reason is not Reason.STORAGE_UNAVAILABLE:
                raise
        return await self._patiently(lambda: self._primary.list(query))

    async def _either(self, find: Callable[[InvoiceReader], Awaitable[Found | None]]) -> Found | None:
        """Finds something on a replica, else on the primary, whose word counts."""
        try:
            found = await find(self._replicas)
            if found is not None:
                return found
        except BillowError as error:
            if error.reason is not Reason.STORAGE_UNAVAILABLE:
                raise
        return await self._patiently(lambda: find(self._primary))

    async def read_body(self, row: InvoiceRow) -> bytes:
        """Reads the body from its block, or from its segment when it has been archived, and checks its digest.

        Raises BodyCorrupt. 1 round trip to a replica or the primary, for an archived body 1 more and 1 or 2 to the
        object store.
        """
        return await self._bodies.read(row)


def require_number(number: str) -> None:
    """Raises INVALID_REQUEST for what is no invoice number."""
    if not NUMBER_FORM.fullmatch(number):
        words = f"must be {limits.NUMBER_CHARS} digits"
        refuse([Violation("number", "NUMBER_FORM" if number else "REQUIRED", words)])


def invoice_not_found(number: str) -> BillowError:
    """The error for an invoice the tenant does not have; another tenant's looks the same (P8)."""
    return BillowError(Reason.INVOICE_NOT_FOUND, f"there is no invoice {number}", metadata={"number": number})


async def _one(reader: InvoiceReader, number: str) -> InvoiceRow | None:
    return (await reader.by_number((number,))).get(number)


def _faults(wanted: Wanted) -> list[Violation]:
    """Checks what a listing asks for."""
    faults = []
    if not wanted.seller_id and not wanted.buyer_tax_id:
        faults.append(Violation("seller_id", "REQUIRED", "seller_id or buyer_tax_id is required"))
    code = taxpayer_id.check(wanted.buyer_tax_id) if wanted.buyer_tax_id else None
    if code is not None:
        faults.append(Violation("buyer_tax_id", code, "is not a taxpayer id"))
    if wanted.request_id:
        if not wanted.seller_id:
            faults.append(Violation("seller_id", "REQUIRED", "is required with request_id"))
        if not REQUEST_ID_FORM.fullmatch(wanted.request_id):
            words = f"must be 1 to {limits.REQUEST_ID_CHARS_MAX} printable ASCII characters"
            faults.append(Violation("request_id", "REQUEST_ID_FORM", words))
    return faults


def _position(key: str) -> tuple[int, str] | None:
    """Reads the key of a page token."""
    if not key:
        return None
    at_us, separator, number = key.partition(":")
    if not (separator and at_us.isdigit() and NUMBER_FORM.fullmatch(number)):
        raise paging.invalid_token()
    return int(at_us), number

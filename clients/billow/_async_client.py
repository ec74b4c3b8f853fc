"""The async client: issuing, reading and verifying invoices."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2
from grpc import aio

from ._call import Caller, wrong_answer
from ._channel import open_channel
from ._config import Keepalive, RetryPolicy, Target, Timeouts
from ._delivery import AsyncDeliveries
from ._documents import AsyncDocuments
from ._entry import AsyncEntries, AsyncTaxIds
from ._frames import ItemFramer
from ._inbox import AsyncInbox
from ._inspection import AsyncInspection
from ._red_letter import AsyncRedLetter
from ._registry import AsyncRegistry
from ._streams import BatchStreams, Result, Wire
from .issuance.v1 import issuance_pb2, issuance_pb2_grpc
from .types.v1 import invoice_pb2
from .verification.v1 import verification_pb2, verification_pb2_grpc

BATCH_ITEMS_MAX = 1_000
"""Most items of one batch; the server refuses more."""
BATCH_BYTES_MAX = 8 * 1024 * 1024
"""Most bytes of a batch that the stream methods put together; half of what a message may have."""

_ISSUANCE = "/billow.issuance.v1.IssuanceService/"
_VERIFICATION = "/billow.verification.v1.VerificationService/"

Item = TypeVar("Item")


class AsyncClient:
    """A client for one event loop; use it as ``async with AsyncClient("host:port", api_key=…) as client``.

    One client serves any number of tasks at once. Every call has a deadline (``Timeouts``), and is made again
    (``RetryPolicy``) while the error is a passing one and a repeat is safe: reads and verification change nothing,
    and issuing happens once per request id. All methods raise ``BillowError`` and its subclasses.
    """

    def __init__(
        self,
        target: str | Target,
        *,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        keepalive: Keepalive | None = None,
    ) -> None:
        """``target``: "host:port" for a plaintext connection with ``api_key``, or a Target, which has its own key."""
        if isinstance(target, str):
            target = Target(address=target, api_key=api_key)
        elif api_key is not None:
            raise ValueError("api_key stands in the Target")
        self._timeouts = timeouts or Timeouts()
        self._caller = Caller(target=target, policy=retry or RetryPolicy())
        self._channel = open_channel(target, keepalive or Keepalive())
        self._issuance = issuance_pb2_grpc.IssuanceServiceStub(self._channel)
        self._verification = verification_pb2_grpc.VerificationServiceStub(self._channel)
        # requests of the batch methods are put together as bytes, see _frames
        self._batch_issue: aio.UnaryUnaryMultiCallable[bytes, issuance_pb2.BatchIssueInvoicesResponse] = (
            self._channel.unary_unary(
                _ISSUANCE + "BatchIssueInvoices", None, issuance_pb2.BatchIssueInvoicesResponse.FromString
            )
        )
        self._batch_verify: aio.UnaryUnaryMultiCallable[bytes, verification_pb2.BatchVerifyInvoicesResponse] = (
            self._channel.unary_unary(
                _VERIFICATION + "BatchVerifyInvoices", None, verification_pb2.BatchVerifyInvoicesResponse.FromString
            )
        )
        self._issue_wire: Wire[issuance_pb2.IssueResult] = Wire(
            open=self._channel.stream_stream(
                _ISSUANCE + "StreamIssueInvoices", None, issuance_pb2.StreamIssueInvoicesResponse.FromString
            ),
            framer=ItemFramer(field=2),
            results=lambda answer: answer.results,
            message_refusal=lambda answer: answer.error if answer.HasField("error") else None,
            item_refusals=_refused_items,
            refused=lambda status: issuance_pb2.IssueResult(error=status),
        )
        self._verify_wire: Wire[verification_pb2.VerificationResult] = Wire(
            open=self._channel.stream_stream(
                _VERIFICATION + "StreamVerifyInvoices", None, verification_pb2.StreamVerifyInvoicesResponse.FromString
            ),
            framer=ItemFramer(field=2),
            results=lambda answer: answer.results,
            message_refusal=_never_refused,
            item_refusals=None,
            refused=None,
        )
        self._registry = AsyncRegistry(channel=self._channel, caller=self._caller, timeout_s=self._timeouts.call_s)
        self._entries = AsyncEntries(channel=self._channel, caller=self._caller, timeout_s=self._timeouts.batch_s)
        self._documents = AsyncDocuments(channel=self._channel, caller=self._caller, timeout_s=self._timeouts.call_s)
        self._deliveries = AsyncDeliveries(channel=self._channel, caller=self._caller, timeout_s=self._timeouts.call_s)
        self._inbox = AsyncInbox(channel=self._channel, caller=self._caller, timeout_s=self._timeouts.batch_s)
        self._inspection = AsyncInspection(channel=self._channel, caller=self._caller, timeout_s=self._timeouts.call_s)
        self._red_letter = AsyncRedLetter(
            channel=self._channel, caller=self._caller, call_s=self._timeouts.call_s, batch_s=self._timeouts.batch_s
        )
        self._tax_ids = AsyncTaxIds(channel=self._channel, caller=self._caller, timeout_s=self._timeouts.call_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends every call under way (they raise Unavailable) and the connection. Closing again does nothing."""
        await self._channel.close()

    @property
    def registry(self) -> AsyncRegistry:
        """Tenants, API keys, sellers and number ranges."""
        return self._registry

    @property
    def entries(self) -> AsyncEntries:
        """Account entry of received invoices."""
        return self._entries

    @property
    def documents(self) -> AsyncDocuments:
        """Invoices as documents: PDF, XML, OFD, UBL."""
        return self._documents

    @property
    def inspection(self) -> AsyncInspection:
        """Whether a file is the invoice it says it is."""
        return self._inspection

    @property
    def deliveries(self) -> AsyncDeliveries:
        """Endpoints, deliveries and the pull queue."""
        return self._deliveries

    @property
    def inbox(self) -> AsyncInbox:
        """Received invoices."""
        return self._inbox

    @property
    def red_letter(self) -> AsyncRedLetter:
        """Red invoices and confirmation forms."""
        return self._red_letter

    @property
    def tax_ids(self) -> AsyncTaxIds:
        """Proofs of taxpayer ids."""
        return self._tax_ids

    # --- issuing --------------------------------------------------------------------------------------------------

    async def issue(
        self, request: issuance_pb2.IssueInvoiceRequest, *, timeout_s: float | None = None
    ) -> invoice_pb2.IssuedInvoice:
        """Issues one invoice, once per (seller_id, request_id) however often it is called. One round trip.

        Raises InvalidInvoice with every faulty field, RequestIdReused, SellerNotFound, NumbersUnavailable,
        CreditQuotaExceeded, Overloaded, Unavailable; DeadlineExceeded when ``timeout_s`` seconds (default
        ``Timeouts.call_s``) were not enough: then it may have been issued, and the same request gives the answer.
        """
        response = await self._caller.unary(
            self._issuance.IssueInvoice, request, timeout_s=timeout_s or self._timeouts.call_s
        )
        return response.issued

    async def issue_batch(
        self, requests: Sequence[issuance_pb2.IssueInvoiceRequest], *, timeout_s: float | None = None
    ) -> Sequence[issuance_pb2.IssueResult]:
        """Issues 1 to 1,000 invoices; not atomic: one result a request, in order. One round trip.

        A result has either ``issued`` or ``error``; ``billow.error_of(result)`` makes an exception of the latter.
        Raises BillowError when the whole batch was refused. ``timeout_s`` defaults to ``Timeouts.batch_s``.
        """
        frame = ItemFramer(field=1).frame([request.SerializeToString() for request in requests])
        response = await self._caller.unary(self._batch_issue, frame, timeout_s=timeout_s or self._timeouts.batch_s)
        return _aligned(response.results, len(requests))

    async def issue_batches(
        self,
        batches: AsyncIterable[Sequence[issuance_pb2.IssueInvoiceRequest]]
        | Iterable[Sequence[issuance_pb2.IssueInvoiceRequest]],
        *,
        in_flight: int = 8,
        streams: int = 2,
    ) -> AsyncGenerator[Sequence[issuance_pb2.IssueResult], None]:
        """Issues any number of batches of 0 to 1,000; yields the results of each, in the order of ``batches``.

        At most ``in_flight`` batches (1 to 64) are taken from the source and not yet yielded, besides the one being
        prepared: a slow consumer slows the source. They are spread over ``streams`` connections' streams, so numbers
        are not given in the order of the source. A broken stream is opened anew and what was not answered is sent
        again; items refused for a passing reason are sent again after the wait the server asks for, and come back as
        errors only when ``RetryPolicy.stream_attempts_max`` did not help. Raises BillowError when no stream can be
        had; the results yielded until then are good.

        Leave it early only with ``contextlib.aclosing``, so that the streams are closed at once.
        """
        source = _each(batches)
        frames = ([request.SerializeToString() for request in batch] async for batch in source)
        async with aclosing(self._run(self._issue_wire, frames, in_flight=in_flight, streams=streams)) as results:
            async for result in results:
                yield result

    async def issue_stream(
        self,
        requests: AsyncIterable[issuance_pb2.IssueInvoiceRequest] | Iterable[issuance_pb2.IssueInvoiceRequest],
        *,
        batch_items: int = 500,
        in_flight: int = 8,
        streams: int = 2,
    ) -> AsyncGenerator[issuance_pb2.IssueResult, None]:
        """Issues any number of invoices; yields one result a request, in order. As issue_batches, item by item.

        Requests are gathered into batches of ``batch_items`` (1 to 1,000) or 8 MiB, whichever is first; a source that
        trickles waits for its batch to fill, or to end.
        """
        source = _serialized_batches(requests, items_max=batch_items)
        async with aclosing(self._run(self._issue_wire, source, in_flight=in_flight, streams=streams)) as batches:
            async for results in batches:
                for result in results:
                    yield result

    # --- reading ----------------------------------------------------------------------------------------------------

    async def get(self, number: str, *, timeout_s: float | None = None) -> issuance_pb2.GetInvoiceResponse:
        """Reads one invoice by its 20 digits: body, state, sum of its reds. Raises InvoiceNotFound."""
        return await self._caller.unary(
            self._issuance.GetInvoice,
            issuance_pb2.GetInvoiceRequest(number=number),
            timeout_s=timeout_s or self._timeouts.call_s,
        )

    def list(
        self,
        *,
        seller_id: str = "",
        buyer_tax_id: str = "",
        request_id: str = "",
        issued_from: datetime | None = None,
        issued_before: datetime | None = None,
        page_size: int = 500,
    ) -> AsyncIterator[issuance_pb2.InvoiceSummary]:
        """Yields the invoices of a seller or a buyer (one must be given), oldest first; one round trip a page.

        ``request_id`` needs ``seller_id``. Times must know their zone; the first is included, the second is not.
        """
        request = issuance_pb2.ListInvoicesRequest(
            seller_id=seller_id, buyer_tax_id=buyer_tax_id, request_id=request_id, page_size=page_size
        )
        if issued_from is not None:
            request.issued_from.CopyFrom(_timestamp(issued_from, "issued_from"))
        if issued_before is not None:
            request.issued_before.CopyFrom(_timestamp(issued_before, "issued_before"))
        return self._caller.pages(
            self._issuance.ListInvoices, request, lambda page: page.invoices, timeout_s=self._timeouts.call_s
        )

    # --- verifying --------------------------------------------------------------------------------------------------

    async def verify(
        self, check: verification_pb2.InvoiceCheck, *, timeout_s: float | None = None
    ) -> verification_pb2.VerificationResult:
        """Tells whether one invoice is real. A mismatch is a result, not an error. Works without an API key, too."""
        response = await self._caller.unary(
            self._verification.VerifyInvoice,
            verification_pb2.VerifyInvoiceRequest(check=check),
            timeout_s=timeout_s or self._timeouts.call_s,
        )
        return response.result

    async def verify_batch(
        self, checks: Sequence[verification_pb2.InvoiceCheck], *, timeout_s: float | None = None
    ) -> Sequence[verification_pb2.VerificationResult]:
        """Verifies 1 to 1,000 invoices: one result a check, in order. One round trip. Needs a key."""
        frame = ItemFramer(field=1).frame([check.SerializeToString() for check in checks])
        response = await self._caller.unary(self._batch_verify, frame, timeout_s=timeout_s or self._timeouts.batch_s)
        return _aligned(response.results, len(checks))

    async def verify_batches(
        self,
        batches: AsyncIterable[Sequence[verification_pb2.InvoiceCheck]]
        | Iterable[Sequence[verification_pb2.InvoiceCheck]],
        *,
        in_flight: int = 8,
        streams: int = 2,
    ) -> AsyncGenerator[Sequence[verification_pb2.VerificationResult], None]:
        """Verifies any number of batches of 0 to 1,000; yields the results of each, in order. See issue_batches."""
        source = _each(batches)
        frames = ([check.SerializeToString() for check in batch] async for batch in source)
        async with aclosing(self._run(self._verify_wire, frames, in_flight=in_flight, streams=streams)) as results:
            async for result in results:
                yield result

    async def verify_stream(
        self,
        checks: AsyncIterable[verification_pb2.InvoiceCheck] | Iterable[verification_pb2.InvoiceCheck],
        *,
        batch_items: int = 500,
        in_flight: int = 8,
        streams: int = 2,
    ) -> AsyncGenerator[verification_pb2.VerificationResult, None]:
        """Verifies any number of invoices; yields one result a check, in order. See issue_stream."""
        source = _serialized_batches(checks, items_max=batch_items)
        async with aclosing(self._run(self._verify_wire, source, in_flight=in_flight, streams=streams)) as batches:
            async for results in batches:
                for result in results:
                    yield result

    def _run(
        self, wire: Wire[Result], source: AsyncIterator[Sequence[bytes]], *, in_flight: int, streams: int
    ) -> AsyncGenerator[Sequence[Result], None]:
        return BatchStreams(
            caller=self._caller,
            wire=wire,
            in_flight=in_flight,
            streams=min(streams, in_flight),
            answer_s=self._timeouts.answer_s,
            items_max=BATCH_ITEMS_MAX,
        ).run(source)


def _refused_items(results: Sequence[issuance_pb2.IssueResult]) -> list[tuple[int, status_pb2.Status]]:
    return [(index, result.error) for index, result in enumerate(results) if result.HasField("error")]


def _never_refused(_: object) -> status_pb2.Status | None:
    return None


def _timestamp(moment: datetime, name: str) -> Timestamp:
    if moment.tzinfo is None:
        raise ValueError(f"{name} must know its time zone")
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _aligned(results: Sequence[Item], count: int) -> Sequence[Item]:
    if len(results) != count:
        raise wrong_answer(f"{len(results)} results for {count} items")
    return results


async def _each(source: AsyncIterable[Item] | Iterable[Item]) -> AsyncIterator[Item]:
    """``source``, letting other tasks run between the items of a plain iterable."""
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
        return
    for item in source:
        yield item
        await asyncio.sleep(0)


async def _serialized_batches(
    source: AsyncIterable[Message] | Iterable[Message], *, items_max: int
) -> AsyncIterator[Sequence[bytes]]:
    """Gathers serialised items into batches bounded by count and bytes."""
    if not 1 <= items_max <= BATCH_ITEMS_MAX:
        raise ValueError(f"batch_items must be 1 to {BATCH_ITEMS_MAX}")
    items: list[bytes] = []
    size = 0
    iterator = source if isinstance(source, AsyncIterable) else _plain(source)
    async for message in iterator:
        item = message.SerializeToString()
        if items and size + len(item) > BATCH_BYTES_MAX:
            yield items
            items, size = [], 0
        items.append(item)
        size += len(item)
        if len(items) == items_max:
            yield items
            items, size = [], 0
            await asyncio.sleep(0)  # a source that never waits must not starve the connection
    if items:
        yield items


async def _plain(source: Iterable[Item]) -> AsyncIterator[Item]:
    for item in source:
        yield item

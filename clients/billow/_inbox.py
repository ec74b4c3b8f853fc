"""Received invoices: in pages, and as they come."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from grpc import aio

from ._call import Caller, closed_error, ended_early_error, error_of_rpc, silence_error
from ._drain import drain
from ._errors import BillowError
from ._loop_thread import LoopThread
from .collection.v1 import collection_pb2, collection_pb2_grpc, imports_pb2, imports_pb2_grpc

SILENCE_S = 30.0  # the server gives a sign of life every ten


class AsyncInbox:
    """What others, or the tenant itself, issued to the taxpayer ids that the tenant has proved. Scope "read"."""

    def __init__(self, *, channel: aio.Channel, caller: Caller, timeout_s: float) -> None:
        self._stub = collection_pb2_grpc.CollectionServiceStub(channel)
        self._imports = imports_pb2_grpc.ImportServiceStub(channel)
        self._caller = caller
        self._timeout_s = timeout_s

    async def list(
        self, buyer_tax_id: str, *, after: int = 0, page_size: int = 500
    ) -> AsyncIterator[collection_pb2.ReceivedInvoice]:
        """Yields the invoices after position ``after`` until there are no more at present; one round trip a page.

        Positions are 1, 2, 3 … for each taxpayer id, without a gap: whoever keeps the last one misses nothing. Raises
        TaxIdNotProven, InvalidRequest.
        """
        while True:
            request = collection_pb2.ListReceivedInvoicesRequest(
                buyer_tax_id=buyer_tax_id, after_position=after, page_size=page_size
            )
            page = await self._caller.unary(self._stub.ListReceivedInvoices, request, timeout_s=self._timeout_s)
            for item in page.received_invoices:
                yield item
            if len(page.received_invoices) < page_size:
                return
            after = page.last_position

    async def get(self, number: str) -> collection_pb2.GetReceivedInvoiceResponse:
        """The whole of one received invoice: ``invoice``, ``state``, ``red_total_minor``, ``entry_state``.

        It is there at once after it was issued. Raises InvoiceNotFound, also for an invoice that was issued to a
        taxpayer id the tenant has not proved; InvalidRequest.
        """
        request = collection_pb2.GetReceivedInvoiceRequest(number=number)
        return await self._caller.unary(self._stub.GetReceivedInvoice, request, timeout_s=self._timeout_s)

    async def import_document(self, content: bytes, *, file_name: str = "") -> imports_pb2.ImportInvoiceResponse:
        """Imports an invoice from elsewhere out of its XML, OFD or PDF of at most 10 MiB: look at ``outcome``.

        That it is refused is an outcome, not an error. The same bytes again get the first import, so repeating is
        safe. Raises InvalidRequest, Overloaded, StorageUnavailable. Scope "book".
        """
        request = imports_pb2.ImportInvoiceRequest(content=content, file_name=file_name)
        return await self._caller.unary(self._imports.ImportInvoice, request, timeout_s=self._timeout_s)

    async def imported(self, *, after: int = 0, page_size: int = 500) -> AsyncIterator[imports_pb2.ImportedInvoice]:
        """Yields the tenant's imported invoices after ``import_id`` ``after``; one round trip a page."""
        while True:
            request = imports_pb2.ListImportedInvoicesRequest(after_import_id=after, page_size=page_size)
            page = await self._caller.unary(self._imports.ListImportedInvoices, request, timeout_s=self._timeout_s)
            for item in page.imported_invoices:
                yield item
            if len(page.imported_invoices) < page_size:
                return
            after = page.last_import_id

    async def follow(
        self, buyer_tax_id: str, *, after: int = 0
    ) -> AsyncGenerator[collection_pb2.ReceivedInvoice, None]:
        """Yields the invoices after position ``after``, and then each new one as it comes, without end.

        A broken stream, or one silent for 30 seconds, is opened anew where it was. Raises BillowError when that does
        not help ``RetryPolicy.attempts_max`` times in a row; then go on after the last position you have. Leave it
        early only with ``contextlib.aclosing``.
        """
        failures = 0
        while True:
            request = collection_pb2.StreamReceivedInvoicesRequest(buyer_tax_id=buyer_tax_id, after_position=after)
            call = self._stub.StreamReceivedInvoices(request, metadata=self._caller.metadata)
            try:
                while True:
                    message = await _read(call)
                    failures = 0
                    for item in message.received_invoices:
                        yield item
                        after = item.position
            except BillowError as error:
                failures += 1
                if not error.retryable or failures >= self._caller.policy.attempts_max:
                    raise
                wait_s = self._caller.backoff_s(attempt=failures, retry_delay_ms=error.retry_delay_ms)
            finally:
                call.cancel()
            await asyncio.sleep(wait_s)


async def _read(
    call: "aio.UnaryStreamCall[collection_pb2.StreamReceivedInvoicesRequest,"
    " collection_pb2.StreamReceivedInvoicesResponse]",
) -> collection_pb2.StreamReceivedInvoicesResponse:
    """The next message; raises BillowError, retryable ones when the stream may be opened anew."""
    try:
        async with asyncio.timeout(SILENCE_S):
            message = await call.read()
    except TimeoutError:
        error = silence_error(SILENCE_S)
        error.retryable = True  # reading changes nothing
        raise error from None
    except aio.AioRpcError as failure:
        raise error_of_rpc(failure) from None
    except aio.UsageError as failure:
        raise closed_error() from failure
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise closed_error() from None  # the channel was closed under the call
    if not isinstance(message, collection_pb2.StreamReceivedInvoicesResponse):
        raise ended_early_error()
    return message


class Inbox:
    """AsyncInbox for code without asyncio."""

    def __init__(self, *, core: AsyncInbox, thread: LoopThread) -> None:
        self._core = core
        self._thread = thread

    def list(
        self, buyer_tax_id: str, *, after: int = 0, page_size: int = 500
    ) -> Iterator[collection_pb2.ReceivedInvoice]:
        """See AsyncInbox.list."""
        return drain(self._thread, self._core.list(buyer_tax_id, after=after, page_size=page_size))

    def get(self, number: str) -> collection_pb2.GetReceivedInvoiceResponse:
        """See AsyncInbox.get."""
        return self._thread.run(self._core.get(number))

    def import_document(self, content: bytes, *, file_name: str = "") -> imports_pb2.ImportInvoiceResponse:
        """See AsyncInbox.import_document."""
        return self._thread.run(self._core.import_document(content, file_name=file_name))

    def imported(self, *, after: int = 0, page_size: int = 500) -> Iterator[imports_pb2.ImportedInvoice]:
        """See AsyncInbox.imported."""
        return drain(self._thread, self._core.imported(after=after, page_size=page_size))

    def follow(self, buyer_tax_id: str, *, after: int = 0) -> Iterator[collection_pb2.ReceivedInvoice]:
        """See AsyncInbox.follow."""
        return drain(self._thread, self._core.follow(buyer_tax_id, after=after))

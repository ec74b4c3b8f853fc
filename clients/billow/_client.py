"""The sync client: the async client on a private event-loop thread, nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from . import _loop_thread
from ._async_client import AsyncClient
from ._config import Keepalive, RetryPolicy, Target, Timeouts
from ._delivery import Deliveries
from ._documents import Documents
from ._drain import close, drain, next_of
from ._entry import Entries, TaxIds
from ._inbox import Inbox
from ._inspection import Inspection
from ._loop_thread import LoopThread
from ._red_letter import RedLetter
from ._registry import AsyncRegistry
from .issuance.v1 import issuance_pb2
from .registry.v1 import registry_pb2
from .types.v1 import invoice_pb2
from .verification.v1 import verification_pb2

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Client:
    """AsyncClient for code without asyncio; every method does and raises what its namesake there does.

    Use it as ``with Client("host:port", api_key=…) as client``. It may be used by several threads at once. Not from
    inside a running event loop: there it would block it, and AsyncClient is the one to take.
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
        """See AsyncClient."""
        self._closed = False
        self._thread = _loop_thread.acquire()

        async def build() -> AsyncClient:
            return AsyncClient(target, api_key=api_key, timeouts=timeouts, retry=retry, keepalive=keepalive)

        try:
            self._core = self._thread.run(build())
        except BaseException:
            _loop_thread.release(self._thread)
            raise
        self._registry = Registry(core=self._core.registry, thread=self._thread)
        self._entries = Entries(core=self._core.entries, thread=self._thread)
        self._documents = Documents(core=self._core.documents, thread=self._thread)
        self._deliveries = Deliveries(core=self._core.deliveries, thread=self._thread)
        self._inspection = Inspection(core=self._core.inspection, thread=self._thread)
        self._inbox = Inbox(core=self._core.inbox, thread=self._thread)
        self._red_letter = RedLetter(core=self._core.red_letter, thread=self._thread)
        self._tax_ids = TaxIds(core=self._core.tax_ids, thread=self._thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection. Closing again does nothing."""
        if not self._closed:
            self._closed = True
            try:
                self._thread.run(self._core.close())
            finally:
                _loop_thread.release(self._thread)

    @property
    def registry(self) -> "Registry":
        """Tenants, API keys, sellers and number ranges."""
        return self._registry

    @property
    def entries(self) -> Entries:
        """Account entry of received invoices."""
        return self._entries

    @property
    def documents(self) -> Documents:
        """Invoices as documents: PDF, XML, OFD, UBL."""
        return self._documents

    @property
    def inspection(self) -> Inspection:
        """Whether a file is the invoice it says it is."""
        return self._inspection

    @property
    def deliveries(self) -> Deliveries:
        """Endpoints, deliveries and the pull queue."""
        return self._deliveries

    @property
    def inbox(self) -> Inbox:
        """Received invoices."""
        return self._inbox

    @property
    def red_letter(self) -> RedLetter:
        """Red invoices and confirmation forms."""
        return self._red_letter

    @property
    def tax_ids(self) -> TaxIds:
        """Proofs of taxpayer ids."""
        return self._tax_ids

    def issue(
        self, request: issuance_pb2.IssueInvoiceRequest, *, timeout_s: float | None = None
    ) -> invoice_pb2.IssuedInvoice:
        """See AsyncClient.issue."""
        return self._thread.run(self._core.issue(request, timeout_s=timeout_s))

    def issue_batch(
        self, requests: Sequence[issuance_pb2.IssueInvoiceRequest], *, timeout_s: float | None = None
    ) -> Sequence[issuance_pb2.IssueResult]:
        """See AsyncClient.issue_batch."""
        return self._thread.run(self._core.issue_batch(requests, timeout_s=timeout_s))

    def issue_batches(
        self,
        batches: Iterable[Sequence[issuance_pb2.IssueInvoiceRequest]],
        *,
        in_flight: int = 8,
        streams: int = 2,
    ) -> Iterator[Sequence[issuance_pb2.IssueResult]]:
        """See AsyncClient.issue_batches. ``batches`` is read in the caller's thread."""
        return _pump(
            self._thread,
            batches,
            lambda source: self._core.issue_batches(source, in_flight=in_flight, streams=streams),
            ahead=in_flight,
        )

    def issue_stream(
        self,
        requests: Iterable[issuance_pb2.IssueInvoiceRequest],
        *,
        batch_items: int = 500,
        in_flight: int = 8,
        streams: int = 2,
    ) -> Iterator[issuance_pb2.IssueResult]:
        """See AsyncClient.issue_stream. ``requests`` is read in the caller's thread."""
        batches = _batches(requests, batch_items)
        for results in self.issue_batches(batches, in_flight=in_flight, streams=streams):
            yield from results

    def get(self, number: str, *, timeout_s: float | None = None) -> issuance_pb2.GetInvoiceResponse:
        """See AsyncClient.get."""
        return self._thread.run(self._core.get(number, timeout_s=timeout_s))

    def list(
        self,
        *,
        seller_id: str = "",
        buyer_tax_id: str = "",
        request_id: str = "",
        issued_from: datetime | None = None,
        issued_before: datetime | None = None,
        page_size: int = 500,
    ) -> Iterator[issuance_pb2.InvoiceSummary]:
        """See AsyncClient.list."""
        return drain(
            self._thread,
            self._core.list(
                seller_id=seller_id,
                buyer_tax_id=buyer_tax_id,
                request_id=request_id,
                issued_from=issued_from,
                issued_before=issued_before,
                page_size=page_size,
            ),
        )

    def verify(
        self, check: verification_pb2.InvoiceCheck, *, timeout_s: float | None = None
    ) -> verification_pb2.VerificationResult:
        """See AsyncClient.verify."""
        return self._thread.run(self._core.verify(check, timeout_s=timeout_s))

    def verify_batch(
        self, checks: Sequence[verification_pb2.InvoiceCheck], *, timeout_s: float | None = None
    ) -> Sequence[verification_pb2.VerificationResult]:
        """See AsyncClient.verify_batch."""
        return self._thread.run(self._core.verify_batch(checks, timeout_s=timeout_s))

    def verify_batches(
        self,
        batches: Iterable[Sequence[verification_pb2.InvoiceCheck]],
        *,
        in_flight: int = 8,
        streams: int = 2,
    ) -> Iterator[Sequence[verification_pb2.VerificationResult]]:
        """See AsyncClient.verify_batches. ``batches`` is read in the caller's thread."""
        return _pump(
            self._thread,
            batches,
            lambda source: self._core.verify_batches(source, in_flight=in_flight, streams=streams),
            ahead=in_flight,
        )

    def verify_stream(
        self,
        checks: Iterable[verification_pb2.InvoiceCheck],
        *,
        batch_items: int = 500,
        in_flight: int = 8,
        streams: int = 2,
    ) -> Iterator[verification_pb2.VerificationResult]:
        """See AsyncClient.verify_stream. ``checks`` is read in the caller's thread."""
        batches = _batches(checks, batch_items)
        for results in self.verify_batches(batches, in_flight=in_flight, streams=streams):
            yield from results


class Registry:
    """AsyncRegistry for code without asyncio."""

    def __init__(self, *, core: AsyncRegistry, thread: LoopThread) -> None:
        self._core = core
        self._thread = thread

    def create_tenant(self, tenant_id: str, *, display_name: str = "") -> registry_pb2.Tenant:
        """See AsyncRegistry.create_tenant."""
        return self._thread.run(self._core.create_tenant(tenant_id, display_name=display_name))

    def list_tenants(self) -> Iterator[registry_pb2.Tenant]:
        """See AsyncRegistry.list_tenants."""
        return drain(self._thread, self._core.list_tenants())

    def create_api_key(
        self, scopes: Sequence[str], *, tenant_id: str = "", display_name: str = ""
    ) -> registry_pb2.CreateApiKeyResponse:
        """See AsyncRegistry.create_api_key."""
        return self._thread.run(self._core.create_api_key(scopes, tenant_id=tenant_id, display_name=display_name))

    def list_api_keys(self) -> Iterator[registry_pb2.ApiKey]:
        """See AsyncRegistry.list_api_keys."""
        return drain(self._thread, self._core.list_api_keys())

    def revoke_api_key(self, key_id: str) -> registry_pb2.ApiKey:
        """See AsyncRegistry.revoke_api_key."""
        return self._thread.run(self._core.revoke_api_key(key_id))

    def create_seller(self, seller_id: str, party: invoice_pb2.Party, *, profile: str = "") -> registry_pb2.Seller:
        """See AsyncRegistry.create_seller."""
        return self._thread.run(self._core.create_seller(seller_id, party, profile=profile))

    def get_seller(self, seller_id: str) -> registry_pb2.Seller:
        """See AsyncRegistry.get_seller."""
        return self._thread.run(self._core.get_seller(seller_id))

    def list_sellers(self) -> Iterator[registry_pb2.Seller]:
        """See AsyncRegistry.list_sellers."""
        return drain(self._thread, self._core.list_sellers())

    def add_number_range(
        self,
        seller_id: str,
        *,
        kind: invoice_pb2.InvoiceKind.ValueType,
        first_number: str,
        last_number: str,
        color: invoice_pb2.InvoiceColor.ValueType = invoice_pb2.INVOICE_COLOR_BLUE,
    ) -> registry_pb2.NumberRange:
        """See AsyncRegistry.add_number_range."""
        return self._thread.run(
            self._core.add_number_range(
                seller_id, kind=kind, first_number=first_number, last_number=last_number, color=color
            )
        )

    def list_number_ranges(self, seller_id: str) -> Iterator[registry_pb2.NumberRange]:
        """See AsyncRegistry.list_number_ranges."""
        return drain(self._thread, self._core.list_number_ranges(seller_id))

    def set_credit_quota(self, seller_id: str, quota_minor: int) -> registry_pb2.CreditQuota:
        """See AsyncRegistry.set_credit_quota."""
        return self._thread.run(self._core.set_credit_quota(seller_id, quota_minor))

    def clear_credit_quota(self, seller_id: str) -> registry_pb2.CreditQuota:
        """See AsyncRegistry.clear_credit_quota."""
        return self._thread.run(self._core.clear_credit_quota(seller_id))

    def get_credit_quota(self, seller_id: str) -> registry_pb2.CreditQuota:
        """See AsyncRegistry.get_credit_quota."""
        return self._thread.run(self._core.get_credit_quota(seller_id))


def _batches(items: Iterable[Item], size: int) -> Iterator[Sequence[Item]]:
    if size < 1:
        raise ValueError("batch_items must be at least 1")
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _pump(
    thread: LoopThread,
    source: Iterable[Item],
    start: Callable[[AsyncIterator[Item]], AsyncIterator[Outcome]],
    *,
    ahead: int,
) -> Iterator[Outcome]:
    """Reads ``source`` in this thread, at most ``ahead + 1`` items before their outcomes, and yields the outcomes."""
    feed: asyncio.Queue[tuple[Item] | None] = asyncio.Queue()

    async def fed() -> AsyncIterator[Item]:
        while (packed := await feed.get()) is not None:
            yield packed[0]

    outcomes = start(fed())
    items = iter(source)
    open_count = 0
    exhausted = False
    source_error: Exception | None = None
    try:
        while True:
            while not exhausted and open_count <= ahead:
                try:
                    item = next(items)
                except Exception as error:  # noqa: BLE001 - raised after the answers that are due
                    exhausted = True
                    source_error = None if isinstance(error, StopIteration) else error
                    thread.loop.call_soon_threadsafe(feed.put_nowait, None)
                else:
                    open_count += 1
                    thread.loop.call_soon_threadsafe(feed.put_nowait, (item,))
            more, outcome = thread.run(next_of(outcomes))
            if not more:
                if source_error is not None:
                    raise source_error
                return
            open_count -= 1
            yield outcome  # type: ignore[misc]  # None only when there is no more
    finally:
        thread.run(close(outcomes))

"""Account entry and proofs of taxpayer ids."""

from collections.abc import AsyncIterator, Iterator, Sequence

from grpc import aio

from ._call import Caller, wrong_answer
from ._drain import drain
from ._loop_thread import LoopThread
from .entry.v1 import entry_pb2, entry_pb2_grpc
from .registry.v1 import tax_ids_pb2, tax_ids_pb2_grpc

_PAGE_ITEMS = 500


class AsyncEntries:
    """The books of the taxpayers that the tenant has proved to be. One round trip a method.

    Every change carries a request id of yours: the same one makes no second change and gets the first answer, so
    calls are repeated while the error is a passing one.
    """

    def __init__(self, *, channel: aio.Channel, caller: Caller, timeout_s: float) -> None:
        self._stub = entry_pb2_grpc.EntryServiceStub(channel)
        self._caller = caller
        self._timeout_s = timeout_s

    async def enter(self, entries: Sequence[entry_pb2.EnterInvoiceRequest]) -> Sequence[entry_pb2.EntryResult]:
        """Enters 1 to 1,000 invoices; not atomic: one result an entry, in order. Scope "book".

        Invoices issued here, and those that the tenant imported, both by number; older ones by code and number.
        A result has either ``entry`` or ``error``; ``billow.error_of(result)`` makes an exception of the latter:
        AlreadyEntered, AlreadyFullyRed, InvoiceNotFound, InvalidRequest, RequestIdReused.
        """
        request = entry_pb2.EnterInvoicesRequest(entries=entries)
        response = await self._caller.unary(self._stub.EnterInvoices, request, timeout_s=self._timeout_s)
        return _aligned(response.results, len(entries))

    async def withdraw(self, withdrawals: Sequence[entry_pb2.WithdrawEntryRequest]) -> Sequence[entry_pb2.EntryResult]:
        """Takes 1 to 1,000 invoices out of the books, as enter does. A result's error may be NotEntered."""
        request = entry_pb2.WithdrawEntriesRequest(withdrawals=withdrawals)
        response = await self._caller.unary(self._stub.WithdrawEntries, request, timeout_s=self._timeout_s)
        return _aligned(response.results, len(withdrawals))

    async def get(self, number: str, *, code: str = "") -> entry_pb2.GetEntryResponse:
        """Reads the entry of an invoice with its whole history. Raises InvoiceNotFound. Scope "read"."""
        request = entry_pb2.GetEntryRequest(number=number, code=code)
        return await self._caller.unary(self._stub.GetEntry, request, timeout_s=self._timeout_s)


class AsyncTaxIds:
    """Taxpayer ids that tenants claim and the platform confirms. One round trip a method, or a page."""

    def __init__(self, *, channel: aio.Channel, caller: Caller, timeout_s: float) -> None:
        self._stub = tax_ids_pb2_grpc.TaxIdServiceStub(channel)
        self._caller = caller
        self._timeout_s = timeout_s

    async def claim(self, tax_id: str) -> tax_ids_pb2.TaxId:
        """Claims an id for the tenant; it opens nothing until it is confirmed. Raises InvalidRequest."""
        request = tax_ids_pb2.ClaimTaxIdRequest(tax_id=tax_id)
        return (await self._caller.unary(self._stub.ClaimTaxId, request, timeout_s=self._timeout_s)).tax_id

    async def confirm(self, tenant_id: str, tax_id: str) -> tax_ids_pb2.TaxId:
        """Confirms a tenant's claim. Scope "platform". Raises TenantNotFound, TaxIdNotProven without a claim."""
        request = tax_ids_pb2.ConfirmTaxIdRequest(tenant_id=tenant_id, tax_id=tax_id)
        return (await self._caller.unary(self._stub.ConfirmTaxId, request, timeout_s=self._timeout_s)).tax_id

    async def revoke(self, tenant_id: str, tax_id: str) -> None:
        """Takes a tenant's claim away, confirmed or not. Scope "platform". Raises TenantNotFound."""
        request = tax_ids_pb2.RevokeTaxIdRequest(tenant_id=tenant_id, tax_id=tax_id)
        await self._caller.unary(self._stub.RevokeTaxId, request, timeout_s=self._timeout_s)

    def list(self, tenant_id: str = "") -> AsyncIterator[tax_ids_pb2.TaxId]:
        """Yields the claims of the tenant by id, or, with the scope "platform", those of another."""
        request = tax_ids_pb2.ListTaxIdsRequest(tenant_id=tenant_id, page_size=_PAGE_ITEMS)
        return self._caller.pages(self._stub.ListTaxIds, request, lambda page: page.tax_ids, timeout_s=self._timeout_s)


class Entries:
    """AsyncEntries for code without asyncio."""

    def __init__(self, *, core: AsyncEntries, thread: LoopThread) -> None:
        self._core = core
        self._thread = thread

    def enter(self, entries: Sequence[entry_pb2.EnterInvoiceRequest]) -> Sequence[entry_pb2.EntryResult]:
        """See AsyncEntries.enter."""
        return self._thread.run(self._core.enter(entries))

    def withdraw(self, withdrawals: Sequence[entry_pb2.WithdrawEntryRequest]) -> Sequence[entry_pb2.EntryResult]:
        """See AsyncEntries.withdraw."""
        return self._thread.run(self._core.withdraw(withdrawals))

    def get(self, number: str, *, code: str = "") -> entry_pb2.GetEntryResponse:
        """See AsyncEntries.get."""
        return self._thread.run(self._core.get(number, code=code))


class TaxIds:
    """AsyncTaxIds for code without asyncio."""

    def __init__(self, *, core: AsyncTaxIds, thread: LoopThread) -> None:
        self._core = core
        self._thread = thread

    def claim(self, tax_id: str) -> tax_ids_pb2.TaxId:
        """See AsyncTaxIds.claim."""
        return self._thread.run(self._core.claim(tax_id))

    def confirm(self, tenant_id: str, tax_id: str) -> tax_ids_pb2.TaxId:
        """See AsyncTaxIds.confirm."""
        return self._thread.run(self._core.confirm(tenant_id, tax_id))

    def revoke(self, tenant_id: str, tax_id: str) -> None:
        """See AsyncTaxIds.revoke."""
        self._thread.run(self._core.revoke(tenant_id, tax_id))

    def list(self, tenant_id: str = "") -> Iterator[tax_ids_pb2.TaxId]:
        """See AsyncTaxIds.list."""
        return drain(self._thread, self._core.list(tenant_id))


def _aligned(results: Sequence[entry_pb2.EntryResult], count: int) -> Sequence[entry_pb2.EntryResult]:
    if len(results) != count:
        raise wrong_answer(f"{len(results)} results for {count} items")
    return results

"""Red invoices and their confirmation forms."""

from collections.abc import AsyncIterator, Iterator, Sequence

from grpc import aio

from ._call import Caller, wrong_answer
from ._drain import drain
from ._loop_thread import LoopThread
from .redletter.v1 import redletter_pb2, redletter_pb2_grpc

_PAGE_ITEMS = 500


class AsyncRedLetter:
    """Corrects issued invoices. Everything may be repeated: red invoices and forms have request ids."""

    def __init__(self, *, channel: aio.Channel, caller: Caller, call_s: float, batch_s: float) -> None:
        self._stub = redletter_pb2_grpc.RedLetterServiceStub(channel)
        self._caller = caller
        self._call_s = call_s
        self._batch_s = batch_s

    async def issue(self, request: redletter_pb2.IssueRedInvoiceRequest) -> redletter_pb2.IssuedRedInvoice:
        """Issues one red invoice, once per (seller_id, request_id). Scope "issue".

        Raises RedExceedsRemainder with what is left in its metadata, AlreadyFullyRed, ConfirmationRequired,
        ConfirmationNotUsable, InvoiceNotFound, RequestIdReused, NumbersUnavailable, InvalidRequest.
        """
        return (await self._caller.unary(self._stub.IssueRedInvoice, request, timeout_s=self._call_s)).red

    async def issue_batch(
        self, requests: Sequence[redletter_pb2.IssueRedInvoiceRequest]
    ) -> Sequence[redletter_pb2.RedResult]:
        """Issues 1 to 1,000 red invoices; not atomic: one result a request, in order, either ``red`` or ``error``."""
        request = redletter_pb2.BatchIssueRedInvoicesRequest(requests=requests)
        response = await self._caller.unary(self._stub.BatchIssueRedInvoices, request, timeout_s=self._batch_s)
        if len(response.results) != len(requests):
            raise wrong_answer(f"{len(response.results)} results for {len(requests)} requests")
        return response.results

    async def create_confirmation(
        self, request_id: str, selection: redletter_pb2.RedSelection, *, as_buyer: bool = False
    ) -> redletter_pb2.Confirmation:
        """Makes a confirmation form, as the seller or as the buyer of the invoice. Scope "issue"."""
        request = redletter_pb2.CreateConfirmationRequest(request_id=request_id, selection=selection, as_buyer=as_buyer)
        response = await self._caller.unary(self._stub.CreateConfirmation, request, timeout_s=self._call_s)
        return response.confirmation

    async def confirm(self, confirmation_id: str) -> redletter_pb2.Confirmation:
        """Confirms a form that waits for the caller's side. Raises ConfirmationNotUsable, ConfirmationNotFound."""
        request = redletter_pb2.ConfirmConfirmationRequest(confirmation_id=confirmation_id)
        response = await self._caller.unary(self._stub.ConfirmConfirmation, request, timeout_s=self._call_s)
        return response.confirmation

    async def refuse(self, confirmation_id: str) -> redletter_pb2.Confirmation:
        """Refuses a form that waits for the caller's side. Raises as confirm."""
        request = redletter_pb2.RefuseConfirmationRequest(confirmation_id=confirmation_id)
        response = await self._caller.unary(self._stub.RefuseConfirmation, request, timeout_s=self._call_s)
        return response.confirmation

    async def withdraw(self, confirmation_id: str) -> redletter_pb2.Confirmation:
        """Withdraws a form of the caller's side that no red invoice has used. Raises as confirm."""
        request = redletter_pb2.WithdrawConfirmationRequest(confirmation_id=confirmation_id)
        response = await self._caller.unary(self._stub.WithdrawConfirmation, request, timeout_s=self._call_s)
        return response.confirmation

    async def get_confirmation(self, confirmation_id: str) -> redletter_pb2.Confirmation:
        """Reads a form that the tenant is a side of. Scope "read". Raises ConfirmationNotFound."""
        request = redletter_pb2.GetConfirmationRequest(confirmation_id=confirmation_id)
        return (await self._caller.unary(self._stub.GetConfirmation, request, timeout_s=self._call_s)).confirmation

    def list_confirmations(
        self,
        *,
        seller_id: str = "",
        buyer_tax_id: str = "",
        state: redletter_pb2.ConfirmationState.ValueType = redletter_pb2.CONFIRMATION_STATE_UNSPECIFIED,
    ) -> AsyncIterator[redletter_pb2.Confirmation]:
        """Yields the forms of a seller, or to a buyer the tenant is proved to be, oldest first. Scope "read"."""
        request = redletter_pb2.ListConfirmationsRequest(
            seller_id=seller_id, buyer_tax_id=buyer_tax_id, state=state, page_size=_PAGE_ITEMS
        )
        return self._caller.pages(
            self._stub.ListConfirmations, request, lambda page: page.confirmations, timeout_s=self._call_s
        )


class RedLetter:
    """AsyncRedLetter for code without asyncio."""

    def __init__(self, *, core: AsyncRedLetter, thread: LoopThread) -> None:
        self._core = core
        self._thread = thread

    def issue(self, request: redletter_pb2.IssueRedInvoiceRequest) -> redletter_pb2.IssuedRedInvoice:
        """See AsyncRedLetter.issue."""
        return self._thread.run(self._core.issue(request))

    def issue_batch(
        self, requests: Sequence[redletter_pb2.IssueRedInvoiceRequest]
    ) -> Sequence[redletter_pb2.RedResult]:
        """See AsyncRedLetter.issue_batch."""
        return self._thread.run(self._core.issue_batch(requests))

    def create_confirmation(
        self, request_id: str, selection: redletter_pb2.RedSelection, *, as_buyer: bool = False
    ) -> redletter_pb2.Confirmation:
        """See AsyncRedLetter.create_confirmation."""
        return self._thread.run(self._core.create_confirmation(request_id, selection, as_buyer=as_buyer))

    def confirm(self, confirmation_id: str) -> redletter_pb2.Confirmation:
        """See AsyncRedLetter.confirm."""
        return self._thread.run(self._core.confirm(confirmation_id))

    def refuse(self, confirmation_id: str) -> redletter_pb2.Confirmation:
        """See AsyncRedLetter.refuse."""
        return self._thread.run(self._core.refuse(confirmation_id))

    def withdraw(self, confirmation_id: str) -> redletter_pb2.Confirmation:
        """See AsyncRedLetter.withdraw."""
        return self._thread.run(self._core.withdraw(confirmation_id))

    def get_confirmation(self, confirmation_id: str) -> redletter_pb2.Confirmation:
        """See AsyncRedLetter.get_confirmation."""
        return self._thread.run(self._core.get_confirmation(confirmation_id))

    def list_confirmations(
        self,
        *,
        seller_id: str = "",
        buyer_tax_id: str = "",
        state: redletter_pb2.ConfirmationState.ValueType = redletter_pb2.CONFIRMATION_STATE_UNSPECIFIED,
    ) -> Iterator[redletter_pb2.Confirmation]:
        """See AsyncRedLetter.list_confirmations."""
        found = self._core.list_confirmations(seller_id=seller_id, buyer_tax_id=buyer_tax_id, state=state)
        return drain(self._thread, found)

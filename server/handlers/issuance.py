"""IssuanceService: issuing one, a batch, a stream. Reading back is in server/handlers/reading.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from functools import partial
from typing import TypeVar

from billow.issuance.v1 import issuance_pb2
from core.domain.errors import BillowError, Reason, Violation
from core.limits import BATCH_ITEMS_MAX, STREAM_BATCHES_MAX
from core.storage.ports import Draft, SellerRecord
from server.convert import errors, issuance
from server.fair_queue import FairTurn
from server.handlers.ordered import ordered
from server.handlers.reading import ReadingHandlers
from server.interceptors import Access, Call
from server.services.issuing import IssuingService
from server.services.reading import ReadingService
from server.services.sellers import SellerDirectory

SERVICE = issuance_pb2.DESCRIPTOR.services_by_name["IssuanceService"]
ACCESS = {
    "IssueInvoice": Access("issue"),
    "BatchIssueInvoices": Access("issue"),
    "StreamIssueInvoices": Access("issue"),
    "GetInvoice": Access("read"),
    "ListInvoices": Access("read"),
}
SLICE_ITEMS = 50  # drafts made between two turns of the event loop: about 1 ms
RESULTS_SLICE_ITEMS = 250  # results written between two turns: about 1 ms
RESULTS_CHEAPER = 10  # times: a result written, against a draft made

_Batch = issuance_pb2.BatchIssueInvoicesRequest | issuance_pb2.StreamIssueInvoicesRequest
_Results = TypeVar("_Results", issuance_pb2.BatchIssueInvoicesResponse, issuance_pb2.StreamIssueInvoicesResponse)


class IssuanceHandlers(ReadingHandlers):
    """The methods of billow.issuance.v1.IssuanceService."""

    def __init__(self, *, issuing: IssuingService, sellers: SellerDirectory, reading: ReadingService) -> None:
        super().__init__(reading=reading)
        self._issuing = issuing
        self._sellers = sellers
        # one batch at a time: with many streams the loop would do a slice of each of them in every turn, and a single
        # call, which needs a dozen turns, would wait for seconds. The tenants' batches in turn: validation is most of
        # the work, so a greedy tenant's would keep the others waiting here
        self._turn = FairTurn(quantum=BATCH_ITEMS_MAX)
        # parsing is a fifth of what it costs a server to refuse a batch of 100 (docs/adr/0045)
        self.before_parsing = {"BatchIssueInvoices": self._require_room}

    async def IssueInvoice(  # noqa: N802 (the contract's name)
        self, request: issuance_pb2.IssueInvoiceRequest, call: Call
    ) -> issuance_pb2.IssueInvoiceResponse:
        """Issues one invoice. Round trips: 2 cache, 2 primary; 1 more to the primary for a seller not seen lately."""
        tenant_key, seller_id = call.caller.tenant_key, request.seller_id
        with self._issuing.room_for_one(tenant_key=tenant_key, deadline_s=call.deadline_s) as place:
            seller = self._sellers.remembered(tenant_key, seller_id)
            if seller is None:
                seller = (await self._find_sellers((request,), call)).get(seller_id)
            try:
                make = partial(issuance.draft, request, seller)
                issued = await self._issuing.issue_one(make, place, lines=len(request.invoice.lines))
            except BillowError as error:
                raise issuance.about(error, seller_id) from error
        response = issuance_pb2.IssueInvoiceResponse()
        issuance.fill_issued(response.issued, issued, seller_id)
        return response

    def BatchIssueInvoices(  # noqa: N802 (the contract's name)
        self, request: issuance_pb2.BatchIssueInvoicesRequest, call: Call
    ) -> Awaitable[issuance_pb2.BatchIssueInvoicesResponse]:
        """Issues a batch. Round trips: 1 cache, 2 primary for the whole batch while nothing is queued."""
        return self._issue(request, issuance_pb2.BatchIssueInvoicesResponse(), call)

    async def StreamIssueInvoices(  # noqa: N802 (the contract's name)
        self, requests: AsyncIterator[issuance_pb2.StreamIssueInvoicesRequest], call: Call
    ) -> AsyncIterator[issuance_pb2.StreamIssueInvoicesResponse]:
        """Issues batch after batch; up to STREAM_BATCHES_MAX messages are under way at once, answers keep order.

        Round trips: 1 cache, 2 primary a message while nothing is queued.
        """

        async def answer(
            request: issuance_pb2.StreamIssueInvoicesRequest,
        ) -> issuance_pb2.StreamIssueInvoicesResponse:
            response = issuance_pb2.StreamIssueInvoicesResponse(sequence=request.sequence)
            issuing = self._issue(request, response, call)
            del request  # it is let go of there
            try:
                await issuing
            except BillowError as error:
                response.error.CopyFrom(errors.status(error, call.request_id))
            return response

        async for response in ordered(requests, answer, under_way_max=STREAM_BATCHES_MAX):
            yield response

    async def _issue(self, message: _Batch, response: _Results, call: Call) -> _Results:
        """Issues the requests of one message and writes their results.

        The message is let go of once its drafts are made, and nobody else keeps it: it takes 1.3 KB an invoice, as
        much as the draft, and at three times what can be done 20,000 of them wait here.
        """
        items, tenant_key = len(message.requests), call.caller.tenant_key
        check_batch(items, "requests")
        with self._issuing.room_for_batch(items, tenant_key=tenant_key, deadline_s=call.deadline_s) as place:
            seller_ids, drafts = await self._drafts(message.requests, call)
            del message
            answers = await self._issuing.issue_batch(drafts, place)
        results = response.results
        async with self._turn.of(tenant_key, items // RESULTS_CHEAPER):
            for position, (seller_id, answer) in enumerate(zip(seller_ids, answers, strict=True)):
                if position % RESULTS_SLICE_ITEMS == RESULTS_SLICE_ITEMS - 1:
                    await asyncio.sleep(0)
                issuance.fill_result(results.add(), answer, seller_id, call.request_id)
        return response

    async def _drafts(
        self, requests: Sequence[issuance_pb2.IssueInvoiceRequest], call: Call
    ) -> tuple[list[str], list[Draft | BillowError]]:
        """Makes the drafts of a batch when its turn has come; returns its sellers' ids as well."""
        sellers = await self._find_sellers(requests, call)
        seller_ids: list[str] = []
        drafts: list[Draft | BillowError] = []
        async with self._turn.of(call.caller.tenant_key, len(requests)):
            for position, request in enumerate(requests):
                if position % SLICE_ITEMS == SLICE_ITEMS - 1:
                    await asyncio.sleep(0)
                seller_id = request.seller_id
                seller_ids.append(seller_id)
                drafts.append(issuance.draft(request, sellers.get(seller_id)))
        return seller_ids, drafts

    def _require_room(self, call: Call, raw: bytes) -> None:
        """Raises OVERLOADED or SHUTTING_DOWN when no batch of this caller would be taken, however small."""
        self._issuing.require_room_for_batch(
            tenant_key=call.caller.tenant_key,
            deadline_s=call.deadline_s,
            count=lambda: issuance.count_requests(raw),
        )

    async def _find_sellers(
        self, requests: Sequence[issuance_pb2.IssueInvoiceRequest], call: Call
    ) -> dict[str, SellerRecord]:
        wanted = {request.seller_id for request in requests if request.seller_id}
        return await self._sellers.find(call.caller.tenant_key, wanted)


def check_batch(items: int, field: str) -> None:
    """Raises BATCH_TOO_LARGE or INVALID_REQUEST unless a message holds 1 to BATCH_ITEMS_MAX items."""
    if items > BATCH_ITEMS_MAX:
        metadata = {"items": str(items), "items_max": str(BATCH_ITEMS_MAX)}
        words = f"{items} items are more than the {BATCH_ITEMS_MAX} of a batch"
        raise BillowError(Reason.BATCH_TOO_LARGE, words, metadata=metadata)
    if not items:
        missing = Violation(field, "REQUIRED", "must hold at least one item")
        raise BillowError(Reason.INVALID_REQUEST, "the request breaks a rule", violations=[missing])

"""RedLetterService: red invoices. Confirmation forms are in server/handlers/red_forms.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from billow.redletter.v1 import redletter_pb2
from core.domain.errors import BillowError
from core.storage.ports import Answer, SellerRecord
from core.storage.red_letter_port import RedDraft
from server.convert import red_letter
from server.handlers.issuance import check_batch
from server.handlers.red_forms import RedFormHandlers
from server.interceptors import Access, Call
from server.services.reading import invoice_not_found
from server.services.red_forms import RedFormService
from server.services.red_letter import Blue, RedLetterService
from server.services.registry_rules import refuse
from server.services.sellers import SellerDirectory, seller_not_found

SERVICE = redletter_pb2.DESCRIPTOR.services_by_name["RedLetterService"]
ACCESS = {
    "IssueRedInvoice": Access("issue"),
    "BatchIssueRedInvoices": Access("issue"),
    "CreateConfirmation": Access("issue"),
    "ConfirmConfirmation": Access("issue"),
    "RefuseConfirmation": Access("issue"),
    "WithdrawConfirmation": Access("issue"),
    "GetConfirmation": Access("read"),
    "ListConfirmations": Access("read"),
}


class RedLetterHandlers(RedFormHandlers):
    """The methods of billow.redletter.v1.RedLetterService."""

    def __init__(self, *, reds: RedLetterService, forms: RedFormService, sellers: SellerDirectory) -> None:
        super().__init__(forms=forms, reds=reds)
        self._sellers = sellers

    async def IssueRedInvoice(  # noqa: N802 (the contract's name)
        self, request: redletter_pb2.IssueRedInvoiceRequest, call: Call
    ) -> redletter_pb2.IssueRedInvoiceResponse:
        """Issues one red invoice. Round trips: 2 cache, 9 primary, 2 replica."""
        (answer,) = await self._answers((request,), call)
        if isinstance(answer, BillowError):
            raise red_letter.about(answer, request)
        response = redletter_pb2.IssueRedInvoiceResponse()
        red_letter.fill_red(response.red, answer, request)
        return response

    async def BatchIssueRedInvoices(  # noqa: N802 (the contract's name)
        self, request: redletter_pb2.BatchIssueRedInvoicesRequest, call: Call
    ) -> redletter_pb2.BatchIssueRedInvoicesResponse:
        """Issues a batch; each of its requests has an answer of its own. Round trips: 2 cache, 9 primary, 2 replica."""
        check_batch(len(request.requests), "requests")
        response = redletter_pb2.BatchIssueRedInvoicesResponse()
        answers = await self._answers(request.requests, call)
        for one, answer in zip(request.requests, answers, strict=True):
            red_letter.fill_result(response.results.add(), answer, one, call.request_id)
        return response

    async def _answers(self, requests: Sequence[redletter_pb2.IssueRedInvoiceRequest], call: Call) -> list[Answer]:
        """Answers each request, in order."""
        sellers = await self._sellers.find(call.caller.tenant_key, {one.seller_id for one in requests})
        good = [one.selection.blue_number for one in requests if not red_letter.request_faults(one)]
        blues = await self._reds.blues(call.caller, good)
        return await self._reds.issue([_draft(one, sellers, blues) for one in requests])


def _draft(
    request: redletter_pb2.IssueRedInvoiceRequest, sellers: Mapping[str, SellerRecord], blues: Mapping[str, Blue]
) -> RedDraft | BillowError:
    """Makes the draft of a request, or returns why not."""
    try:
        refuse(red_letter.request_faults(request))
        seller, blue = sellers.get(request.seller_id), blues.get(request.selection.blue_number)
        if seller is None:
            raise seller_not_found(request.seller_id)
        if blue is None or blue.issued.seller_key != seller.seller_key:
            raise invoice_not_found(request.selection.blue_number)
        maker = red_letter.RedMaker(blue, request.selection)
        refuse(maker.faults())
        return maker.draft(request, seller)
    except BillowError as error:
        return error

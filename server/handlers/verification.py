"""VerificationService: one check, a batch, a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator

from billow.verification.v1 import verification_pb2
from core.domain.errors import BillowError, Reason, Violation
from core.limits import VERIFY_STREAM_BATCHES_MAX
from server.convert import verification
from server.handlers.issuance import check_batch
from server.handlers.ordered import ordered
from server.interceptors import Access, Call
from server.services.verification import VerificationService

SERVICE = verification_pb2.DESCRIPTOR.services_by_name["VerificationService"]
ACCESS = {
    "VerifyInvoice": Access("verify", key_optional=True),
    "BatchVerifyInvoices": Access("verify"),
    "StreamVerifyInvoices": Access("verify"),
}


class VerificationHandlers:
    """The methods of billow.verification.v1.VerificationService."""

    def __init__(self, *, verification: VerificationService) -> None:
        self._verification = verification

    async def VerifyInvoice(  # noqa: N802 (the contract's name)
        self, request: verification_pb2.VerifyInvoiceRequest, call: Call
    ) -> verification_pb2.VerifyInvoiceResponse:
        """Checks one invoice.

        Round trips: 1 cache; after a miss 1 to a replica, then 1 to the primary, shared with all that arrive at once; 1
        to the cache without a key.
        """
        if not request.HasField("check"):
            missing = Violation("check", "REQUIRED", "is required")
            raise BillowError(Reason.INVALID_REQUEST, "the request breaks a rule", violations=[missing])
        if call.key is None:
            result = await self._verification.verify_publicly(request.check)
        else:
            result = await self._verification.verify(request.check)
        return verification.one_response(result)

    async def BatchVerifyInvoices(  # noqa: N802 (the contract's name)
        self,
        request: verification_pb2.BatchVerifyInvoicesRequest,
        call: Call,  # noqa: ARG002 (every method gets it)
    ) -> verification_pb2.BatchVerifyInvoicesResponse:
        """Checks a batch. Round trips: 1 cache for the whole batch; after a miss as VerifyInvoice."""
        check_batch(len(request.checks), "checks")
        return verification.batch_response(await self._verification.verify_batch(request.checks))

    async def StreamVerifyInvoices(  # noqa: N802 (the contract's name)
        self,
        requests: AsyncIterator[verification_pb2.StreamVerifyInvoicesRequest],
        call: Call,  # noqa: ARG002 (every method gets it)
    ) -> AsyncIterator[verification_pb2.StreamVerifyInvoicesResponse]:
        """Checks batch after batch, several at once; answers keep their order. A message that is refused ends it.

        Round trips: 1 cache a message; after a miss as VerifyInvoice.
        """

        async def answer(
            request: verification_pb2.StreamVerifyInvoicesRequest,
        ) -> verification_pb2.StreamVerifyInvoicesResponse:
            check_batch(len(request.checks), "checks")
            results = await self._verification.verify_batch(request.checks)
            return verification.stream_response(request.sequence, results)

        async for response in ordered(requests, answer, under_way_max=VERIFY_STREAM_BATCHES_MAX):
            yield response

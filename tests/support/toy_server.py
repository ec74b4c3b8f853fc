"""A toy of the issuance and verification services on a loopback port: real gRPC, scripted faults, no storage.

For what a real server does only by accident: streams that break at a given answer, refusals in a given order, answers
without details. It keeps P2, so that tests can count what a client sent twice.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import ServerCredentials, StatusCode, aio
from grpc_status import rpc_status

from billow.issuance.v1 import issuance_pb2, issuance_pb2_grpc
from billow.reasons import DOMAIN, REASONS
from billow.types.v1 import invoice_pb2
from billow.verification.v1 import verification_pb2, verification_pb2_grpc


def status_of(reason: str, message: str = "scripted", *, retry_ms: int = 0, **metadata: str) -> status_pb2.Status:
    """A status as the real server sends it."""
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)]
    if retry_ms:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=retry_ms * 1_000_000)))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=REASONS[reason].code.value[0], message=message, details=packed)


Context = aio.ServicerContext[Any, Any]
Fault = Callable[[Context], Awaitable[bool | None]]


def refuse(reason: str, *, retry_ms: int = 0, **metadata: str) -> Fault:
    """Ends the call as the real server does."""

    async def fault(context: Context) -> None:
        await context.abort_with_status(rpc_status.to_status(status_of(reason, retry_ms=retry_ms, **metadata)))

    return fault


def bare(code: StatusCode, message: str) -> Fault:
    """Ends the call without details, as proxies do."""

    async def fault(context: Context) -> None:
        await context.abort(code, message)

    return fault


async def silence(context: Context) -> None:
    """Says nothing until the caller gives up."""
    await asyncio.Event().wait()


async def end_early(context: Context) -> bool:
    """Ends a stream with OK though answers are due."""
    return True


@dataclass
class Toy(issuance_pb2_grpc.IssuanceServiceServicer, verification_pb2_grpc.VerificationServiceServicer):
    """What it was told to do and what it saw."""

    call_faults: list[Fault] = field(default_factory=list)  # taken one a unary call, before any work
    lost_answers: list[Fault] = field(default_factory=list)  # taken one a unary call, after the work
    stream_faults: dict[int, Fault] = field(default_factory=dict)  # before the n-th message received (1…) is worked on
    answer_faults: dict[int, Fault] = field(
        default_factory=dict
    )  # after the n-th message's work, instead of its answer
    message_refusals: list[status_pb2.Status] = field(default_factory=list)  # taken one a stream message
    item_refusals: dict[str, list[status_pb2.Status]] = field(default_factory=dict)  # by request id, taken one a try
    issued: dict[tuple[str, str], invoice_pb2.IssuedInvoice] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)  # how often a request id came in
    calls: int = 0
    streams: int = 0
    messages: int = 0
    metadata: list[dict[str, Any]] = field(default_factory=list)
    reached: asyncio.Event = field(default_factory=asyncio.Event)  # a call or a stream's message came in
    open_now: int = 0
    open_most: int = 0
    hold: asyncio.Event | None = None  # stream answers wait for it

    def _issue(self, request: issuance_pb2.IssueInvoiceRequest) -> issuance_pb2.IssueResult:
        self.seen[request.request_id] += 1
        refusals = self.item_refusals.get(request.request_id)
        if refusals:
            return issuance_pb2.IssueResult(error=refusals.pop(0))
        key = (request.seller_id, request.request_id)
        if key not in self.issued:
            self.issued[key] = invoice_pb2.IssuedInvoice(
                number=f"26310000{len(self.issued) + 1:012d}",
                gross_total_minor=request.invoice.gross_total_minor,
                seller_id=request.seller_id,
                request_id=request.request_id,
            )
            self.issued[key].issue_time.FromSeconds(1_790_000_000)
        return issuance_pb2.IssueResult(issued=self.issued[key])

    async def _begin(self, context: Context) -> None:
        self.calls += 1
        self.reached.set()
        self.metadata.append(dict(context.invocation_metadata() or ()))
        if self.call_faults:
            await self.call_faults.pop(0)(context)

    async def IssueInvoice(self, request: Any, context: Any) -> issuance_pb2.IssueInvoiceResponse:  # noqa: N802
        await self._begin(context)
        result = self._issue(request)
        if self.lost_answers:
            await self.lost_answers.pop(0)(context)
        if result.HasField("error"):
            await context.abort_with_status(rpc_status.to_status(result.error))
        return issuance_pb2.IssueInvoiceResponse(issued=result.issued)

    async def BatchIssueInvoices(self, request: Any, context: Any) -> issuance_pb2.BatchIssueInvoicesResponse:  # noqa: N802
        await self._begin(context)
        return issuance_pb2.BatchIssueInvoicesResponse(results=map(self._issue, request.requests))

    async def StreamIssueInvoices(self, messages: Any, context: Any) -> Any:  # noqa: N802
        self.streams += 1
        self.metadata.append(dict(context.invocation_metadata() or ()))
        async for message, number in self._received(messages, context):
            answer = issuance_pb2.StreamIssueInvoicesResponse(sequence=message.sequence)
            if self.message_refusals:
                answer.error.CopyFrom(self.message_refusals.pop(0))
            else:
                answer.results.extend(map(self._issue, message.requests))
            if number in self.answer_faults and await self.answer_faults.pop(number)(context):
                return
            yield answer

    async def _received(self, messages: AsyncIterator[Any], context: Any) -> AsyncIterator[tuple[Any, int]]:
        async for message in messages:
            self.messages += 1
            self.reached.set()
            number = self.messages
            self.open_now += 1
            self.open_most = max(self.open_most, self.open_now)
            if number in self.stream_faults:
                await self.stream_faults.pop(number)(context)
            if self.hold is not None:
                await self.hold.wait()
            yield message, number
            self.open_now -= 1

    async def GetInvoice(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._begin(context)
        await refuse("INVOICE_NOT_FOUND", number=request.number)(context)

    async def ListInvoices(self, request: Any, context: Any) -> issuance_pb2.ListInvoicesResponse:  # noqa: N802
        await self._begin(context)
        start = int(request.page_token or 0)
        chosen = [i for i in self.issued.values() if i.seller_id == request.seller_id]
        page = [issuance_pb2.InvoiceSummary(issued=i) for i in chosen[start : start + request.page_size]]
        end = start + len(page)
        return issuance_pb2.ListInvoicesResponse(invoices=page, next_page_token=str(end) if end < len(chosen) else "")

    def _verify(self, check: verification_pb2.InvoiceCheck) -> verification_pb2.VerificationResult:
        known = {issued.number: issued for issued in self.issued.values()}.get(check.number)
        if known is None:
            return verification_pb2.VerificationResult(outcome=verification_pb2.VERIFICATION_OUTCOME_NOT_FOUND)
        same = known.gross_total_minor == check.gross_total_minor
        outcome = (
            verification_pb2.VERIFICATION_OUTCOME_MATCH if same else verification_pb2.VERIFICATION_OUTCOME_MISMATCH
        )
        return verification_pb2.VerificationResult(outcome=outcome, state=invoice_pb2.INVOICE_STATE_NORMAL)

    async def VerifyInvoice(self, request: Any, context: Any) -> verification_pb2.VerifyInvoiceResponse:  # noqa: N802
        await self._begin(context)
        return verification_pb2.VerifyInvoiceResponse(result=self._verify(request.check))

    async def BatchVerifyInvoices(self, request: Any, context: Any) -> verification_pb2.BatchVerifyInvoicesResponse:  # noqa: N802
        await self._begin(context)
        return verification_pb2.BatchVerifyInvoicesResponse(results=map(self._verify, request.checks))

    async def StreamVerifyInvoices(self, messages: Any, context: Any) -> Any:  # noqa: N802
        self.streams += 1
        async for message, _ in self._received(messages, context):
            yield verification_pb2.StreamVerifyInvoicesResponse(
                sequence=message.sequence, results=map(self._verify, message.checks)
            )


@asynccontextmanager
async def serving(
    toy: Toy,
    *,
    port: int = 0,
    options: Iterable[tuple[str, Any]] = (),
    credentials: ServerCredentials | None = None,
) -> AsyncIterator[str]:
    """Serves ``toy`` on loopback, encrypted with ``credentials``; gives its address."""
    server = aio.server(options=list(options))
    issuance_pb2_grpc.add_IssuanceServiceServicer_to_server(toy, server)
    verification_pb2_grpc.add_VerificationServiceServicer_to_server(toy, server)
    if credentials is None:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        bound = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(grace=0)

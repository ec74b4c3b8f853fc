"""Streams pre-made messages at a server as fast as its answers allow, and counts what came back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from billow.issuance.v1 import issuance_pb2
from billow.types.v1 import invoice_pb2
from billow.verification.v1 import verification_pb2

ISSUE = "/billow.issuance.v1.IssuanceService/StreamIssueInvoices"
VERIFY = "/billow.verification.v1.VerificationService/StreamVerifyInvoices"
IN_FLIGHT = 4  # messages sent ahead of their answers
CALL_S = 300
UTC_OFFSET_S = 8 * 3600  # of the issue date in profile cn


@dataclass(slots=True)
class Outcome:
    """What a load came to."""

    items: int = 0
    failed: int = 0
    duration_s: float = 0.0
    issued: list[invoice_pb2.IssuedInvoice] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items / self.duration_s


async def stream_all(target: str, secret: str, method: str, loads: Sequence[Sequence[bytes]]) -> list[list[bytes]]:
    """Sends each load over a stream of its own, all at once; returns the answers of each."""
    async with grpc.aio.insecure_channel(
        target, options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    ) as channel:
        return list(await asyncio.gather(*(_stream(channel, secret, method, load) for load in loads)))


async def _stream(channel: grpc.aio.Channel, secret: str, method: str, load: Sequence[bytes]) -> list[bytes]:
    call: Any = channel.stream_stream(method)(metadata=(("authorization", f"Bearer {secret}"),), timeout=CALL_S)
    room = asyncio.Semaphore(IN_FLIGHT)

    async def send() -> None:
        for message in load:
            await room.acquire()
            await call.write(message)
        await call.done_writing()

    sender = asyncio.create_task(send())
    answers: list[bytes] = []
    async for answer in call:
        room.release()
        answers.append(answer)
    await sender
    return answers


async def issue(target: str, secret: str, loads: Sequence[Sequence[bytes]]) -> Outcome:
    """Issues; the time counted ends with the last answer, before the answers are read."""
    began = time.perf_counter()
    answers = await stream_all(target, secret, ISSUE, loads)
    outcome = Outcome(duration_s=time.perf_counter() - began)
    for raw in (raw for stream in answers for raw in stream):
        answer = issuance_pb2.StreamIssueInvoicesResponse.FromString(raw)
        outcome.failed += answer.HasField("error")
        for result in answer.results:
            if result.WhichOneof("result") == "issued":
                outcome.items += 1
                outcome.issued.append(result.issued)
            else:
                outcome.failed += 1
    return outcome


def check_of(item: invoice_pb2.IssuedInvoice) -> verification_pb2.InvoiceCheck:
    """Returns the check of an invoice as its holder would make it."""
    day = time.gmtime(item.issue_time.seconds + UTC_OFFSET_S)
    return verification_pb2.InvoiceCheck(
        number=item.number,
        issue_date=day.tm_year * 10_000 + day.tm_mon * 100 + day.tm_mday,
        gross_total_minor=item.gross_total_minor,
    )


def check_messages(issued: Sequence[invoice_pb2.IssuedInvoice], batch_items: int) -> list[bytes]:
    """Returns serialised StreamVerifyInvoicesRequest messages that check the invoices."""
    messages = []
    for start in range(0, len(issued), batch_items):
        request = verification_pb2.StreamVerifyInvoicesRequest(sequence=start)
        request.checks.extend(map(check_of, issued[start : start + batch_items]))
        messages.append(request.SerializeToString())
    return messages


async def verify(target: str, secret: str, loads: Sequence[Sequence[bytes]]) -> Outcome:
    """Verifies; a check that does not match counts as failed."""
    began = time.perf_counter()
    answers = await stream_all(target, secret, VERIFY, loads)
    outcome = Outcome(duration_s=time.perf_counter() - began)
    for raw in (raw for stream in answers for raw in stream):
        for result in verification_pb2.StreamVerifyInvoicesResponse.FromString(raw).results:
            matched = result.outcome == verification_pb2.VERIFICATION_OUTCOME_MATCH
            outcome.items += matched
            outcome.failed += not matched
    return outcome

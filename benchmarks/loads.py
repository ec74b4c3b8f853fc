"""Streams messages at a server, as fast as its answers allow or at a pace, and counts what came back."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from benchmarks.latency import Latencies
from benchmarks.trailers import RESOURCE_EXHAUSTED, has_retry_info
from billow.issuance.v1 import issuance_pb2
from billow.types.v1 import invoice_pb2
from billow.verification.v1 import verification_pb2

ISSUE = "/billow.issuance.v1.IssuanceService/StreamIssueInvoices"
VERIFY = "/billow.verification.v1.VerificationService/StreamVerifyInvoices"
IN_FLIGHT = 4  # messages sent ahead of their answers
PACED_IN_FLIGHT = 64  # … when they are sent at their time and not after an answer
CALL_S = 3_600
UTC_OFFSET_S = 8 * 3600  # of the issue date in profile cn

Messages = Sequence[Iterable[bytes]]  # of each stream


@dataclass(slots=True)
class Outcome:
    """What a load came to: items answered well, refused as overload should be (P9), and failed.

    `latencies` are those of messages: from sending, or from when a paced one was due, to the answer. `seconds` are
    items answered well by the second after the start.
    """

    items: int = 0
    refused: int = 0
    failed: int = 0
    duration_s: float = 0.0
    began: float = 0.0  # on the clock of time.perf_counter
    latencies: Latencies = field(default_factory=Latencies)
    seconds: Counter[int] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)  # why items failed
    issued: list[invoice_pb2.IssuedInvoice] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items / self.duration_s if self.duration_s else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a load is sent: for how long, and how many messages a second over all streams (None: as answers allow)."""

    duration_s: float | None = None  # None: until the messages end
    messages_per_s: float | None = None


@dataclass(slots=True)
class _Flow:
    """One load under way."""

    channel: grpc.aio.Channel
    secret: str
    method: str
    pace: Pace
    streams: int
    took: Callable[[bytes, float, float], None]  # an answer, when its message was sent or due, and when it came
    began: float = field(default_factory=time.perf_counter)

    async def stream(self, messages: Iterable[bytes], place: int) -> None:
        """Sends over one stream and hands on the answers, which come in the order of the messages."""
        metadata = (("authorization", f"Bearer {self.secret}"),)
        call: Any = self.channel.stream_stream(self.method)(metadata=metadata, timeout=CALL_S)
        room = asyncio.Semaphore(PACED_IN_FLIGHT if self.pace.messages_per_s else IN_FLIGHT)
        sent: deque[float] = deque()
        sender = asyncio.create_task(self._send(call, messages, room, sent, place))
        try:
            async for answer in call:
                room.release()
                self.took(answer, sent.popleft(), time.perf_counter())
            await sender
        finally:
            sender.cancel()

    async def _send(
        self, call: Any, messages: Iterable[bytes], room: asyncio.Semaphore, sent: deque[float], place: int
    ) -> None:
        duration_s = self.pace.duration_s or float("inf")
        for number, message in enumerate(messages):
            due = 0.0
            if self.pace.messages_per_s:
                due = self.began + (number * self.streams + place) / self.pace.messages_per_s
                if due - self.began >= duration_s:
                    break
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await room.acquire()
            now = time.perf_counter()
            if not due and number and now - self.began >= duration_s:
                break  # after at least one
            sent.append(due or now)
            await call.write(message)
        await call.done_writing()


async def stream_all(
    target: str,
    secret: str,
    method: str,
    loads: Messages,
    *,
    took: Callable[[bytes, float, float], None],
    pace: Pace | None = None,
) -> float:
    """Sends each load over a stream of its own, all at once; returns the seconds until the last answer."""
    sizes = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(target, options=sizes) as channel:
        flow = _Flow(channel, secret, method, pace or Pace(), len(loads), took)
        async with asyncio.TaskGroup() as group:
            for place, load in enumerate(loads):
                group.create_task(flow.stream(load, place))
        return time.perf_counter() - flow.began


async def issue(
    target: str, secret: str, loads: Messages, *, pace: Pace | None = None, keep_issued: bool = True
) -> Outcome:
    """Issues; the answers are read after the time counted, or as they come when they are not kept."""
    outcome = Outcome(began=time.perf_counter())
    kept: list[bytes] = []

    def took(raw: bytes, since: float, now: float) -> None:
        outcome.latencies.record(now - since)
        if keep_issued:
            kept.append(raw)
        else:
            outcome.seconds[int(now - outcome.began)] += _count(raw, outcome)

    outcome.duration_s = await stream_all(target, secret, ISSUE, loads, took=took, pace=pace)
    for raw in kept:
        _count(raw, outcome, outcome.issued)
    return outcome


def _count(raw: bytes, outcome: Outcome, issued: list[invoice_pb2.IssuedInvoice] | None = None) -> int:
    """Takes in one answer and returns how many invoices it issued. A refused message counts as one refusal."""
    answer = issuance_pb2.StreamIssueInvoicesResponse.FromString(raw)
    done = 0
    errors = [answer.error] if answer.HasField("error") else []
    for result in answer.results:
        if result.HasField("issued"):
            done += 1
            if issued is not None:
                issued.append(result.issued)
        else:
            errors.append(result.error)
    for error in errors:
        if error.code == RESOURCE_EXHAUSTED and has_retry_info(error):
            outcome.refused += 1
        else:
            outcome.failed += 1
            outcome.words[f"{error.code}: {error.message}"[:200]] += 1
    outcome.items += done
    return done


def check_of(item: invoice_pb2.IssuedInvoice) -> verification_pb2.InvoiceCheck:
    """Returns the check of an invoice as its holder would make it."""
    day = time.gmtime(item.issue_time.seconds + UTC_OFFSET_S)
    return verification_pb2.InvoiceCheck(
        number=item.number,
        issue_date=day.tm_year * 10_000 + day.tm_mon * 100 + day.tm_mday,
        gross_total_minor=item.gross_total_minor,
    )


def one_check_messages(checks: Iterable[verification_pb2.InvoiceCheck]) -> list[bytes]:
    """Returns serialised VerifyInvoiceRequest messages."""
    return [verification_pb2.VerifyInvoiceRequest(check=check).SerializeToString() for check in checks]


def check_messages(checks: Iterable[verification_pb2.InvoiceCheck], batch_items: int) -> list[bytes]:
    """Returns serialised StreamVerifyInvoicesRequest messages."""
    messages: list[bytes] = []
    left: Iterator[verification_pb2.InvoiceCheck] = iter(checks)
    while chunk := list(itertools.islice(left, batch_items)):
        request = verification_pb2.StreamVerifyInvoicesRequest(sequence=len(messages))
        request.checks.extend(chunk)
        messages.append(request.SerializeToString())
    return messages


async def verify(
    target: str,
    secret: str,
    loads: Messages,
    *,
    expected: int = verification_pb2.VERIFICATION_OUTCOME_MATCH,
) -> Outcome:
    """Verifies; a check with another outcome than `expected` counts as failed."""
    found = Outcome()
    kept: list[bytes] = []

    def took(raw: bytes, since: float, now: float) -> None:
        found.latencies.record(now - since)
        kept.append(raw)

    found.duration_s = await stream_all(target, secret, VERIFY, loads, took=took)
    for raw in kept:
        for result in verification_pb2.StreamVerifyInvoicesResponse.FromString(raw).results:
            right = int(result.outcome) == expected
            found.items += right
            found.failed += not right
    return found

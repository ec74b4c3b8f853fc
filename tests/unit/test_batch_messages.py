"""A batch's message is let go of while its invoices wait for their commit: many wait in an overload (P9)."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from billow.issuance.v1 import issuance_pb2
from core.storage.ports import Answer
from server import bootstrap, interceptors
from server.admission import Admission, Place
from server.handlers.issuance import ACCESS, SERVICE, IssuanceHandlers
from server.interceptors import Guard
from server.services.issuing import IssuingService
from tests.unit.test_guard import Context, Keys, Metrics

ITEMS = 3
LOOKS_AFTER = 20
Refs = list[weakref.ref[Any]]


class Requests(list[Any]):
    """The requests of a message, which can be watched; protobuf's own cannot."""


class Message:
    """A message that can be watched."""

    sequence = 7

    def __init__(self, message: Any) -> None:
        self.requests = Requests(message.requests)


class Lane:
    """Looks, when invoices begin to wait, which messages are there still."""

    def __init__(self, watched: Refs) -> None:
        self._watched = watched
        self._admission = Admission(lane="bulk")
        self.kept: list[list[Any]] = []

    def admit(self, items: int, *, tenant_key: int, deadline_s: float | None) -> Place:
        return self._admission.admit(items, tenant_key=tenant_key, deadline_s=deadline_s)

    def require_room(self, *, tenant_key: int, deadline_s: float | None, count: Callable[[], int]) -> None:
        pass

    async def issue(self, drafts: Sequence[Any], place: Place) -> list[Answer]:
        for _ in range(LOOKS_AFTER):  # a stream reads on
            await asyncio.sleep(0)
        self.kept.append([watched() for watched in self._watched if watched() is not None])
        return []

    async def issue_one(self, make: Any, place: Place, *, lines: int) -> Answer:
        raise AssertionError("only batches here")


class Sellers:
    """Knows no seller: every draft is an error, which waits as one does that is none."""

    async def find(self, tenant_key: int, seller_ids: set[str]) -> dict[str, Any]:
        return {}


async def stream(*raws: bytes) -> AsyncIterator[bytes]:
    """The messages of a stream."""
    for raw in raws:
        yield raw


async def sent(method: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Lane, Any]:
    """Sends messages of ITEMS requests, two in a stream; what the lane saw, and the last answer."""
    watched: Refs = []
    parsed = interceptors._parsed

    def watch(parse: Any, raw: bytes) -> Any:
        message = Message(parsed(parse, raw))
        watched.extend((weakref.ref(message), weakref.ref(message.requests)))
        return message

    monkeypatch.setattr(interceptors, "_parsed", watch)
    lane, sellers, reading = Lane(watched), Sellers(), None
    issuing = IssuingService(interactive=lane, bulk=lane, wait_max_ms=10_000)
    guard = Guard(authenticator=Keys(), metrics=Metrics())
    made: Any = IssuanceHandlers(issuing=issuing, sellers=sellers, reading=reading)  # type: ignore[arg-type]
    called: Any = bootstrap._Called(f"/{SERVICE.full_name}/{method}", ())
    found: Any = guard.handlers(SERVICE, made, ACCESS).service(called)
    requests = [issuance_pb2.IssueInvoiceRequest(seller_id="s", request_id=f"{place}") for place in range(ITEMS)]
    raw = issuance_pb2.BatchIssueInvoicesRequest(requests=requests).SerializeToString()
    if method == "BatchIssueInvoices":
        return lane, issuance_pb2.BatchIssueInvoicesResponse.FromString(await found.unary_unary(raw, Context()))
    raw = issuance_pb2.StreamIssueInvoicesRequest(sequence=7, requests=requests).SerializeToString()
    *_, answer = [one async for one in found.stream_stream(stream(raw, raw), Context())]
    return lane, issuance_pb2.StreamIssueInvoicesResponse.FromString(answer)


async def test_nothing_keeps_a_batch_while_its_invoices_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    lane, answer = await sent("BatchIssueInvoices", monkeypatch)
    assert lane.kept == [[]]
    assert [result.error.code for result in answer.results] == [5] * ITEMS


async def test_nothing_keeps_the_messages_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    lane, answer = await sent("StreamIssueInvoices", monkeypatch)
    assert lane.kept == [[], []]
    assert (answer.sequence, len(answer.results)) == (7, ITEMS)

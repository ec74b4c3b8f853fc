"""What stands before a method: refused before its message is looked at, and what the edge may repeat of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from billow.issuance.v1 import issuance_pb2
from core.domain.errors import BillowError, Reason
from server import bootstrap
from server.admission import Admission, Place
from server.convert.issuance import count_requests
from server.handlers import verification
from server.handlers.issuance import ACCESS, SERVICE, IssuanceHandlers
from server.interceptors import FULL, Guard
from server.services.auth import Caller
from server.services.issuing import IssuingService

KEY = "Bearer bk_known"
GARBLED = b"\xff\xff\xff"


class Lane:
    """A lane with room for so many items, or a closed one."""

    def __init__(self, *, room: int, closed: bool = False) -> None:
        self._admission = Admission(lane="bulk", items_max=room)
        self._closed = closed

    def admit(self, items: int, *, tenant_key: int, deadline_s: float | None) -> Place:
        return self._admission.admit(items, tenant_key=tenant_key, deadline_s=deadline_s)

    def require_room(self, *, tenant_key: int, deadline_s: float | None, count: Callable[[], int]) -> None:
        if self._closed:
            raise BillowError(Reason.SHUTTING_DOWN, "this server is stopping")
        self._admission.require_room(1, tenant_key=tenant_key, deadline_s=deadline_s, count=count)

    async def issue(self, drafts: Any, place: Place) -> list[Any]:
        raise AssertionError("nothing is issued here")

    async def issue_one(self, make: Any, place: Place, *, lines: int) -> Any:
        raise AssertionError("nothing is issued here")


class Keys:
    """Knows one key."""

    async def caller(self, authorization: str) -> Caller:
        if authorization != KEY:
            raise BillowError(Reason.API_KEY_INVALID, "no such key")
        return Caller(1, "tenant", frozenset({"issue"}), "key")


class Metrics:
    """Notes nothing."""

    def call(self, method: str) -> Any:
        return lambda code, duration_s: None


class Context:
    """A call that remembers how it ended."""

    def __init__(self, authorization: str = KEY) -> None:
        self._authorization = authorization
        self.code: grpc.StatusCode | None = None
        self.trailing: dict[str, Any] = {}

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return [("authorization", self._authorization)]

    def time_remaining(self) -> float:
        return 5.0

    async def abort(self, code: grpc.StatusCode, words: str, trailing: Any) -> None:
        self.code, self.trailing = code, dict(trailing)
        raise grpc.aio.AbortError


async def ended(lane: Lane, *, method: str = "BatchIssueInvoices", authorization: str = KEY) -> Context:
    """Sends a message that cannot be parsed; how the call ended."""
    issuing = IssuingService(interactive=lane, bulk=lane, wait_max_ms=10_000)
    guard = Guard(authenticator=Keys(), metrics=Metrics())
    nothing: Any = None
    handlers = guard.handlers(SERVICE, IssuanceHandlers(issuing=issuing, sellers=nothing, reading=nothing), ACCESS)
    called: Any = bootstrap._Called(f"/{SERVICE.full_name}/{method}", ())
    found: Any = handlers.service(called)
    context = Context(authorization)
    with pytest.raises(grpc.aio.AbortError):
        await found.unary_unary(GARBLED, context)
    return context


async def test_a_batch_without_room_is_refused_before_it_is_parsed_and_the_edge_is_told() -> None:
    call = await ended(Lane(room=0))
    assert (call.code, call.trailing[FULL]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "1")


async def test_with_room_it_is_parsed() -> None:
    call = await ended(Lane(room=1_000))
    assert call.code is grpc.StatusCode.INVALID_ARGUMENT
    assert FULL not in call.trailing


async def test_the_edge_is_not_told_of_what_another_server_may_do() -> None:
    call = await ended(Lane(room=0, closed=True))
    assert call.code is grpc.StatusCode.UNAVAILABLE
    assert FULL not in call.trailing


async def test_who_is_not_known_learns_nothing_of_the_room() -> None:
    call = await ended(Lane(room=0), authorization="Bearer bk_other")
    assert call.code is grpc.StatusCode.UNAUTHENTICATED
    assert FULL not in call.trailing


async def test_single_calls_are_parsed_first() -> None:
    call = await ended(Lane(room=0), method="IssueInvoice")
    assert call.code is grpc.StatusCode.INVALID_ARGUMENT


class Server:
    """Notes for which methods it is to keep a line."""

    def __init__(self) -> None:
        self.lines: dict[str, Any] = {}

    def add_registered_method_handlers(self, service: str, methods: dict[str, Any]) -> None:
        self.lines.update({f"/{service}/{method}": handler for method, handler in methods.items()})


def test_the_hot_methods_have_lines_of_their_own() -> None:
    guard, nothing, server = Guard(authenticator=Keys(), metrics=Metrics()), None, Server()
    made: Any = (IssuanceHandlers(issuing=nothing, sellers=nothing, reading=nothing), nothing)  # type: ignore[arg-type]
    handlers = [
        guard.handlers(SERVICE, made[0], ACCESS),
        guard.handlers(
            verification.SERVICE,
            verification.VerificationHandlers(verification=nothing),  # type: ignore[arg-type]
            verification.ACCESS,
        ),
    ]
    as_server: Any = server
    bootstrap._give_lines(as_server, handlers)
    assert server.lines.keys() == set(bootstrap.OWN_LINES)
    assert all(handler.unary_unary is not None for handler in server.lines.values())
    with pytest.raises(ValueError):  # noqa: PT011
        bootstrap._give_lines(as_server, handlers[1:])


@pytest.mark.parametrize("items", [1, 2, 100, 1_000])
def test_what_is_refused_unparsed_is_counted(items: int) -> None:
    batch = issuance_pb2.BatchIssueInvoicesRequest()
    for place in range(items):
        batch.requests.add(request_id="r" * (place % 300))  # of lengths with one and with two bytes
    assert count_requests(batch.SerializeToString()) == items


def test_counting_ends_whatever_the_bytes_say() -> None:
    assert count_requests(b"") == count_requests(GARBLED) == 1
    assert count_requests(b"\x0a" + b"\xff" * 1_000_000) == 1
    assert count_requests(b"\x0a\x00" * 3 + b"\x0a\xff\xff") == 4

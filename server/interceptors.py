"""What stands before every RPC method: the key, the parsing, the errors, the measures.

Built once a method, not once a call: `Guard.handlers` turns the methods of a service into gRPC handlers that take and
give raw bytes. So a garbled message is answered with a reason like any other fault, and this is the one place that
touches status codes. An unknown error becomes INTERNAL with a request id and tells the caller nothing of the inside.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Protocol

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from core.domain.errors import BillowError, Reason
from server.convert import errors
from server.services.auth import Caller, scope_missing
from server.tenant_rates import TenantRate

LOG = logging.getLogger(__name__)

AUTHORIZATION = "authorization"
REQUEST_ID = "x-request-id"  # set by Envoy
# set by Envoy when it verified a token; callers' own are removed there
EDGE_SECRET, EDGE_TENANT, EDGE_SCOPES = "x-billow-edge", "x-billow-tenant", "x-billow-scopes"
FULL = "x-billow-full"  # on the refusal of a call that any other like it would get, too: the edge may repeat it
STATUS_DETAILS = "grpc-status-details-bin"
REQUEST_ID_CHARS_MAX = 64

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Access:
    """What a method asks of its caller. `scope` None: nothing; `key_optional`: the scope counts only with a key.

    A key with `or_scope` instead of `scope` will do, too.
    """

    scope: str | None
    key_optional: bool = False
    or_scope: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What a method knows of the call around its request. `key` is None only where the key is optional.

    `deadline_s`: when the caller stops waiting, on the clock of time.monotonic; None when it does not say.
    """

    request_id: str
    key: Caller | None
    deadline_s: float | None = None

    @property
    def caller(self) -> Caller:
        """The authenticated caller."""
        if self.key is None:
            raise BillowError(Reason.API_KEY_MISSING, "this needs an API key")
        return self.key


class Authenticator(Protocol):
    """Finds out who calls."""

    async def caller(self, authorization: str) -> Caller:
        """Returns whom the header names; raises API_KEY_INVALID, or STORAGE_UNAVAILABLE."""
        ...


class Identities(Protocol):
    """Believes the edge's word about a caller, or does not."""

    async def caller(self, *, secret: str, tenant_id: str, scopes: str) -> Caller:
        """Returns the caller; raises API_KEY_INVALID, or STORAGE_UNAVAILABLE."""
        ...


class CallMetrics(Protocol):
    """What is measured of a method's calls."""

    def call(self, method: str) -> Callable[[str, float], None]:
        """Returns what notes one call of the method: its gRPC code and duration in seconds."""
        ...


class Guard:
    """Wraps methods. `methods` of `handlers` may be coroutines (unary) or async generators (streams).

    `refusal_ms` is asked first of all: not 0 means that the process is too busy for another call, and when to come
    back (server/loop_lag.py). `rates`, by scope, bound what a tenant may ask (server/tenant_rates.py): calls beyond are
    refused, streams wait. `identities` makes callers of what the edge says; without it only keys count.
    """

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        metrics: CallMetrics,
        refusal_ms: Callable[[], int] = lambda: 0,
        rates: Mapping[str, TenantRate] | None = None,
        identities: Identities | None = None,
    ) -> None:
        self._identities = identities
        self._rates = rates or {}
        self._authenticator = authenticator
        self._metrics = metrics
        self._refusal_ms = refusal_ms

    def handlers(
        self, service: ServiceDescriptor, implementation: object, access: Mapping[str, Access]
    ) -> grpc.GenericRpcHandler:
        """Returns the handler of a service; every method needs an entry in `access` (KeyError without).

        The implementation's `before_parsing`, where it has one, says by the name of a unary method what may raise once
        the caller is known, so that a message that is refused anyway is not parsed; it is given the message's bytes.
        """
        before: Mapping[str, Callable[[Call, bytes], None]] = getattr(implementation, "before_parsing", {})
        built: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for method in service.methods:
            target = getattr(implementation, method.name)
            if method.client_streaming:
                built[method.name] = grpc.stream_stream_rpc_method_handler(
                    self._stream(method, target, access[method.name])
                )
            elif method.server_streaming:
                built[method.name] = grpc.unary_stream_rpc_method_handler(
                    self._subscription(method, target, access[method.name])
                )
            else:
                built[method.name] = grpc.unary_unary_rpc_method_handler(
                    self._unary(method, target, access[method.name], before.get(method.name))
                )
        return grpc.method_handlers_generic_handler(service.full_name, built)

    def _unary(
        self,
        method: MethodDescriptor,
        target: Callable[[Any, Call], Awaitable[Message]],
        access: Access,
        before_parsing: Callable[[Call, bytes], None] | None,
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        parse = message_factory.GetMessageClass(method.input_type).FromString
        note = self._metrics.call(method.full_name)
        call_of = self._call_of
        rate = self._rates.get(access.scope or "")

        def request(raw: bytes, key: Caller | None) -> Message:
            message = _parsed(parse, raw)
            if rate is not None and key is not None:
                rate.take(key.tenant_key, _items(message))
            return message

        async def handle(raw: bytes, context: Any) -> bytes:
            began = time.perf_counter()
            call = None
            parsing = False
            try:
                call = await call_of(context, access)
                if before_parsing is not None:
                    before_parsing(call, raw)
                parsing = True
                # without a name here: a method may let go of its message while it waits
                response = (await target(request(raw, call.key), call)).SerializeToString()
            except Exception as error:  # noqa: BLE001 (the border: every error becomes a status)
                await _fail(error, call, context, _Running(method.full_name, note, began), unparsed=not parsing)
            note("OK", time.perf_counter() - began)
            return response

        return handle

    def _stream(
        self, method: MethodDescriptor, target: Callable[[Any, Call], AsyncIterator[Message]], access: Access
    ) -> Callable[[Any, Any], AsyncIterator[bytes]]:
        parse = message_factory.GetMessageClass(method.input_type).FromString
        note = self._metrics.call(method.full_name)
        call_of = self._call_of
        rate = self._rates.get(access.scope or "")

        async def parsed(raws: AsyncIterator[bytes], key: Caller | None) -> AsyncIterator[Message]:
            async for raw in raws:
                request = _parsed(parse, raw)
                while rate is not None and key is not None:
                    wait_s = rate.wait_s(key.tenant_key, _items(request))
                    if wait_s <= 0:
                        break
                    await asyncio.sleep(wait_s)
                yield request

        async def handle(raws: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            began = time.perf_counter()
            call = None
            try:
                call = await call_of(context, access)
                async for response in target(parsed(raws, call.key), call):
                    yield response.SerializeToString()
            except Exception as error:  # noqa: BLE001 (the border: every error becomes a status)
                await _fail(error, call, context, _Running(method.full_name, note, began))
            note("OK", time.perf_counter() - began)

        return handle

    def _subscription(
        self, method: MethodDescriptor, target: Callable[[Any, Call], AsyncGenerator[Message, None]], access: Access
    ) -> Callable[[bytes, Any], AsyncIterator[bytes]]:
        """Wraps a method that takes one message and gives many."""
        parse = message_factory.GetMessageClass(method.input_type).FromString
        note = self._metrics.call(method.full_name)
        call_of = self._call_of
        rate = self._rates.get(access.scope or "")

        async def handle(raw: bytes, context: Any) -> AsyncIterator[bytes]:
            began = time.perf_counter()
            call = None
            try:
                call = await call_of(context, access)
                if rate is not None:
                    rate.take(call.caller.tenant_key, 1)
                async with aclosing(target(_parsed(parse, raw), call)) as responses:
                    async for response in responses:
                        yield response.SerializeToString()
            except Exception as error:  # noqa: BLE001 (the border: every error becomes a status)
                await _fail(error, call, context, _Running(method.full_name, note, began))
            note("OK", time.perf_counter() - began)

        return handle

    async def _call_of(self, context: Any, access: Access) -> Call:
        """Reads the metadata and authenticates; raises OVERLOADED before either."""
        if delay_ms := self._refusal_ms():
            words = "this server is behind with its work"
            raise BillowError(Reason.OVERLOADED, words, metadata={"lane": "loop"}, retry_delay_ms=delay_ms)
        authorization = request_id = ""
        for key, value in context.invocation_metadata() or ():
            if key == AUTHORIZATION:
                authorization = value
            elif key == REQUEST_ID:
                request_id = value[:REQUEST_ID_CHARS_MAX]
        caller = None
        if access.scope is not None:
            if authorization:
                caller = await self._authenticator.caller(authorization)
            elif self._identities is not None:
                caller = await _named_by_edge(self._identities, context)
            if caller is None:
                if not access.key_optional:
                    words = 'send an API key as "authorization: Bearer bk_…"'
                    raise BillowError(Reason.API_KEY_MISSING, words)
            elif access.scope not in caller.scopes and access.or_scope not in caller.scopes:
                raise scope_missing(access.scope)
        left_s = context.time_remaining()
        return Call(request_id or uuid.uuid4().hex, caller, None if left_s is None else time.monotonic() + left_s)


async def _named_by_edge(identities: Identities, context: Any) -> Caller | None:
    """The caller that the edge names; None when it names none."""
    said = {key: value for key, value in context.invocation_metadata() or () if key.startswith("x-billow-")}
    tenant_id = said.get(EDGE_TENANT, "")
    if not tenant_id:
        return None
    scopes = said.get(EDGE_SCOPES, "")
    return await identities.caller(secret=said.get(EDGE_SECRET, ""), tenant_id=tenant_id, scopes=scopes)


def _parsed(parse: Callable[[bytes], Message], raw: bytes) -> Message:
    try:
        return parse(raw)
    except DecodeError as error:
        raise BillowError(Reason.MALFORMED_MESSAGE, "the bytes are not a message of this method") from error


def _items(request: Any) -> int:
    """How many things a message asks for: the checks of a batch, else 1."""
    return len(getattr(request, "checks", ())) or 1


class _Running(NamedTuple):
    """A call under way: its method, what notes its end, and when it began."""

    method: str
    note: Callable[[str, float], None]
    began: float


async def _fail(
    error: Exception, call: Call | None, context: Any, running: _Running, *, unparsed: bool = False
) -> NoReturn:
    """Ends a call with the status of an error; `unparsed`: whatever its message says, its caller would get the same."""
    request_id = call.request_id if call is not None else uuid.uuid4().hex
    if isinstance(error, TimeoutError):
        words = "the work did not end in time; it may have been done: repeat it with the same request id"
        error = BillowError(Reason.DEADLINE_EXCEEDED, words)
    elif not isinstance(error, BillowError):
        if isinstance(error, grpc.aio.AbortError | asyncio.CancelledError):
            raise error
        LOG.error("call failed", extra={"method": running.method, "request_id": request_id}, exc_info=error)
        error = BillowError(Reason.INTERNAL, "a fault inside Billow")
    status = errors.status(error, request_id)
    code = _STATUS_CODES[status.code]
    running.note(code.name, time.perf_counter() - running.began)
    trailing: list[tuple[str, str | bytes]] = [
        (STATUS_DETAILS, status.SerializeToString()),
        (REQUEST_ID, request_id),
    ]
    if unparsed and call is not None and error.reason is Reason.OVERLOADED:
        trailing.append((FULL, "1"))
    await context.abort(code, status.message, tuple(trailing))
    raise AssertionError("abort returned")

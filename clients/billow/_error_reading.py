"""Errors read out of gRPC answers: with Billow's details where they came, bearing answers without them."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from ._errors import (
    BY_REASON,
    AlreadyExists,
    BillowError,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    MessageTooLarge,
    NotAllowed,
    NotFound,
    Overloaded,
    Unavailable,
    Violation,
)
from .reasons import DOMAIN, REASONS

_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "x-request-id"
_RETRY_AFTER_KEY = "retry-after"
_CODES: Mapping[int, StatusCode] = MappingProxyType({code.value[0]: code for code in StatusCode})

# Answers without ErrorInfo, and reasons newer than this client: only the code tells.
_BY_CODE: Mapping[StatusCode, type[BillowError]] = MappingProxyType(
    {
        StatusCode.INVALID_ARGUMENT: InvalidRequest,
        StatusCode.OUT_OF_RANGE: InvalidRequest,
        StatusCode.UNAUTHENTICATED: NotAllowed,
        StatusCode.PERMISSION_DENIED: NotAllowed,
        StatusCode.NOT_FOUND: NotFound,
        StatusCode.ALREADY_EXISTS: AlreadyExists,
        StatusCode.RESOURCE_EXHAUSTED: Overloaded,
        StatusCode.UNAVAILABLE: Unavailable,
        StatusCode.CANCELLED: Unavailable,
        StatusCode.ABORTED: Unavailable,
        StatusCode.UNKNOWN: Unavailable,  # what grpc makes of a proxy's HTTP status that is none of gRPC's
        StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    }
)

# Without ErrorInfo these come from proxies and from connections that broke: whoever may repeat, should.
# (UNKNOWN: Envoy's 507 "exceeded request buffer limit while retrying upstream", when a server dies under a stream.)
_PASSING = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.CANCELLED,
        StatusCode.ABORTED,
        StatusCode.UNKNOWN,
    }
)
_RETRY_AFTER_S_MAX = 3_600
MASKED_STATUS = "Internal error from Core"
"""What grpc.aio says when a write meets a stream that has just ended."""
_BROKEN_STREAM_MARKS = (
    "RST_STREAM",
    "GOAWAY",
    "onnection reset",
    "Stream removed",
    "transport",
    MASKED_STATUS,
)


def error_of_status(status: status_pb2.Status, *, request_id: str = "") -> BillowError:
    """The error a ``google.rpc.Status`` tells of: the status of a call or of one item of a batch.

    Details that are unknown or cannot be read are passed over: a bad detail must not hide the error itself.
    """
    reason = ""
    metadata: dict[str, str] = {}
    violations: tuple[Violation, ...] = ()
    retry_delay_ms = 0
    for detail in status.details:
        try:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
                if info.domain == DOMAIN:
                    reason, metadata = info.reason, dict(info.metadata)
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                faults = error_details_pb2.BadRequest.FromString(detail.value).field_violations
                violations = tuple(Violation(f.field, f.reason, f.description) for f in faults)
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                retry_delay_ms = max(0, delay.seconds * 1_000 + delay.nanos // 1_000_000)
            elif detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
                request_id = error_details_pb2.RequestInfo.FromString(detail.value).request_id
        except DecodeError:
            continue
    code = _CODES.get(status.code, StatusCode.UNKNOWN)
    if reason == "INTERNAL":
        request_id = metadata.get("request_id", request_id)
    kind = BY_REASON.get(reason) or _BY_CODE.get(code, InternalError)
    if not reason and _is_message_too_large(code, status.message):
        kind = MessageTooLarge
    return kind(
        status.message,
        code=code,
        reason=reason,
        violations=violations,
        metadata=metadata,
        retry_delay_ms=retry_delay_ms,
        retryable=_retryable(reason, code, status.message, asked_to=retry_delay_ms > 0),
        request_id=request_id,
    )


def error_of_call(
    code: StatusCode, details: str | None, trailing: Iterable[tuple[str, str | bytes]] | None
) -> BillowError:
    """The error a failed RPC tells of: with Billow's details where they came, bearing answers without them."""
    status = status_pb2.Status(code=code.value[0], message=details or "")
    request_id = ""
    retry_after_ms = 0
    for key, value in trailing or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                told = status_pb2.Status.FromString(value)
            except DecodeError:
                continue
            if told.code == status.code:  # a status that speaks of something else is not believed
                status = told
        elif key == _REQUEST_ID_KEY:
            request_id = value.decode("ascii", "replace") if isinstance(value, bytes) else value
        elif key == _RETRY_AFTER_KEY and isinstance(value, str) and value.isascii() and value.isdigit():
            retry_after_ms = min(int(value[:5]), _RETRY_AFTER_S_MAX) * 1_000
    if retry_after_ms and not status.details:  # of an edge that refuses by itself: RetryInfo is for those who know it
        delay = error_details_pb2.RetryInfo()
        delay.retry_delay.FromMilliseconds(retry_after_ms)
        status.details.add().Pack(delay)
    return error_of_status(status, request_id=request_id)


def _is_message_too_large(code: StatusCode, message: str) -> bool:
    return code is StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message


def _retryable(reason: str, code: StatusCode, message: str, *, asked_to: bool) -> bool:
    if reason in REASONS:
        return REASONS[reason].retryable
    if reason:  # newer than this client: believe the code and what the server asks for
        return asked_to or code is StatusCode.UNAVAILABLE
    if code in _PASSING:
        return not _is_message_too_large(code, message)
    return code is StatusCode.INTERNAL and any(mark in message for mark in _BROKEN_STREAM_MARKS)

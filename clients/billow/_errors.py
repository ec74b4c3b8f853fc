"""The errors a caller meets: one class a reason, in families a caller can act on.

::

    BillowError
    ├── InvalidRequest            the request breaks a rule; see violations
    │   ├── InvalidInvoice
    │   ├── BatchTooLarge
    │   ├── MessageTooLarge
    │   ├── MalformedMessage
    │   └── InvalidPageToken
    ├── NotAllowed
    │   ├── ApiKeyMissing
    │   ├── ApiKeyInvalid
    │   └── ScopeMissing
    ├── NotFound
    │   ├── SellerNotFound, InvoiceNotFound, TenantNotFound, ApiKeyNotFound, ConfirmationNotFound
    ├── AlreadyExists
    │   ├── RequestIdReused, TenantExists, SellerExists, NumberRangeOverlaps
    ├── NumbersUnavailable
    │   ├── NoNumberRange, NumberRangeExhausted
    ├── NotRedLettered
    │   ├── RedExceedsRemainder, AlreadyFullyRed, ConfirmationRequired, ConfirmationNotUsable
    ├── Overloaded                come back after retry_delay_ms
    │   └── QuotaExceeded
    ├── Unavailable               nobody could be reached, or a part that is needed is away
    │   ├── StorageUnavailable, ShuttingDown
    ├── DeadlineExceeded          it may have been done: repeat with the same request id
    └── InternalError             a fault inside Billow, or an answer that is none of Billow's
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from .reasons import DOMAIN, REASONS

_DETAILS_KEY = "grpc-status-details-bin"
_REQUEST_ID_KEY = "x-request-id"
_CODES: Mapping[int, StatusCode] = MappingProxyType({code.value[0]: code for code in StatusCode})


@dataclass(frozen=True, slots=True)
class Violation:
    """One faulty field: its full path in the request, the rule's code, and the rule in words."""

    field: str
    rule: str
    description: str


class BillowError(Exception):
    """A call, or one item of a batch, was refused or failed.

    ``reason``: name in ``billow.errors.v1.Reason`` without its prefix; "" when the answer came from somebody else
    (a proxy, grpc itself) and told none. A reason newer than this client is kept as it came.
    ``code``: the gRPC status code. ``message``: for people; do not parse it.
    ``violations``: every faulty field, in the server's order. ``metadata``: of the reason, see ``billow.reasons``.
    ``retry_delay_ms``: how long the server asks to wait before a repeat; 0 when it does not say.
    ``retryable``: the identical call may be made again and may then succeed.
    ``request_id``: under which the server logged the call, for support; "" when unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        code: StatusCode,
        reason: str = "",
        violations: tuple[Violation, ...] = (),
        metadata: Mapping[str, str] | None = None,
        retry_delay_ms: int = 0,
        retryable: bool = False,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.violations = violations
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        self.retry_delay_ms = retry_delay_ms
        self.retryable = retryable
        self.request_id = request_id

    def __str__(self) -> str:
        faults = "".join(f"; {v.field}: {v.description} [{v.rule}]" for v in self.violations)
        return f"{self.reason or self.code.name}: {self.message}{faults}"


class InvalidRequest(BillowError):
    """The request breaks a rule; ``violations`` names every field."""


class InvalidInvoice(InvalidRequest):
    """The invoice breaks a rule of its profile."""


class BatchTooLarge(InvalidRequest):
    """More items than a batch may hold."""


class MessageTooLarge(InvalidRequest):
    """The message has more bytes than one side takes."""


class MalformedMessage(InvalidRequest):
    """The bytes are not a message of the method."""


class InvalidPageToken(InvalidRequest):
    """The page token is not one of this listing."""


class NotAllowed(BillowError):
    """The API key is missing, unknown, or lacks a scope."""


class ApiKeyMissing(NotAllowed):
    """The method needs an API key and none was sent."""


class ApiKeyInvalid(NotAllowed):
    """The API key is unknown or revoked."""


class ScopeMissing(NotAllowed):
    """The API key lacks the scope that ``metadata["scope"]`` names."""


class TaxIdNotProven(NotAllowed):
    """The taxpayer id is not one confirmed to be this tenant's."""


class NotFound(BillowError):
    """No such thing for this tenant."""


class SellerNotFound(NotFound):
    """No such seller for this tenant."""


class InvoiceNotFound(NotFound):
    """No such invoice for this tenant."""


class TenantNotFound(NotFound):
    """No such tenant."""


class ApiKeyNotFound(NotFound):
    """No such API key."""


class AlreadyExists(BillowError):
    """It exists already; nothing was changed."""


class RequestIdReused(AlreadyExists):
    """The request id was used with another body; nothing was changed."""


class TenantExists(AlreadyExists):
    """The tenant exists already."""


class SellerExists(AlreadyExists):
    """The seller exists already."""


class NumberRangeOverlaps(AlreadyExists):
    """The number range overlaps one that exists."""


class AlreadyEntered(AlreadyExists):
    """The invoice stands in the books already; ``metadata`` has its state and period."""


class NotEntered(BillowError):
    """The invoice does not stand in the books."""


class NumbersUnavailable(BillowError):
    """The seller has no free number of this kind; add a number range."""


class NoNumberRange(NumbersUnavailable):
    """The seller has no number range for this kind."""


class NumberRangeExhausted(NumbersUnavailable):
    """All number ranges of the seller for this kind are used up."""


class NotRedLettered(BillowError):
    """The red invoice cannot be issued as things are; nothing was changed."""


class RedExceedsRemainder(NotRedLettered):
    """More than what is left of the blue invoice, or of one of its lines; ``metadata["remaining_minor"]`` is left."""


class AlreadyFullyRed(NotRedLettered):
    """Nothing is left of the blue invoice."""


class ConfirmationRequired(NotRedLettered):
    """The buyer has booked the blue invoice: a confirmation form goes first."""


class ConfirmationNotUsable(NotRedLettered):
    """The confirmation form is in another state, used up, or says something else."""


class ConfirmationNotFound(NotFound):
    """No such confirmation form for this tenant."""


class EndpointNotFound(NotFound):
    """No such endpoint of a delivery for this tenant."""


class DeliveryNotFound(NotFound):
    """No such delivery for this tenant."""


class EndpointsExhausted(BillowError):
    """The seller has as many endpoints as it may have."""


class Overloaded(BillowError):
    """Too much work is waiting; come back after ``retry_delay_ms``."""


class QuotaExceeded(Overloaded):
    """The tenant used up its rate; come back after ``retry_delay_ms``."""


class Unavailable(BillowError):
    """Nobody could be reached, or a part that is needed is away."""


class StorageUnavailable(Unavailable):
    """A store that this call needs is away."""


class ShuttingDown(Unavailable):
    """The server is stopping."""


class DeadlineExceeded(BillowError):
    """The call's deadline ended before the answer. It may have been done: repeat it with the same request id."""


class InternalError(BillowError):
    """A fault inside Billow (``request_id`` finds it in the logs), or an answer that is none of Billow's."""


BY_REASON: Mapping[str, type[BillowError]] = MappingProxyType(
    {
        "INTERNAL": InternalError,
        "MALFORMED_MESSAGE": MalformedMessage,
        "INVALID_REQUEST": InvalidRequest,
        "INVALID_INVOICE": InvalidInvoice,
        "BATCH_TOO_LARGE": BatchTooLarge,
        "INVALID_PAGE_TOKEN": InvalidPageToken,
        "API_KEY_MISSING": ApiKeyMissing,
        "API_KEY_INVALID": ApiKeyInvalid,
        "SCOPE_MISSING": ScopeMissing,
        "SELLER_NOT_FOUND": SellerNotFound,
        "INVOICE_NOT_FOUND": InvoiceNotFound,
        "TENANT_NOT_FOUND": TenantNotFound,
        "API_KEY_NOT_FOUND": ApiKeyNotFound,
        "REQUEST_ID_REUSED": RequestIdReused,
        "TENANT_EXISTS": TenantExists,
        "SELLER_EXISTS": SellerExists,
        "NUMBER_RANGE_OVERLAPS": NumberRangeOverlaps,
        "NO_NUMBER_RANGE": NoNumberRange,
        "NUMBER_RANGE_EXHAUSTED": NumberRangeExhausted,
        "OVERLOADED": Overloaded,
        "QUOTA_EXCEEDED": QuotaExceeded,
        "STORAGE_UNAVAILABLE": StorageUnavailable,
        "SHUTTING_DOWN": ShuttingDown,
        "DEADLINE_EXCEEDED": DeadlineExceeded,
        "RED_EXCEEDS_REMAINDER": RedExceedsRemainder,
        "ALREADY_FULLY_RED": AlreadyFullyRed,
        "CONFIRMATION_REQUIRED": ConfirmationRequired,
        "CONFIRMATION_NOT_USABLE": ConfirmationNotUsable,
        "CONFIRMATION_NOT_FOUND": ConfirmationNotFound,
        "TAX_ID_NOT_PROVEN": TaxIdNotProven,
        "ALREADY_ENTERED": AlreadyEntered,
        "NOT_ENTERED": NotEntered,
        "ENDPOINT_NOT_FOUND": EndpointNotFound,
        "DELIVERY_NOT_FOUND": DeliveryNotFound,
        "ENDPOINTS_EXHAUSTED": EndpointsExhausted,
    }
)

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

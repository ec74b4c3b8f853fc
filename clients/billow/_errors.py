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
    ├── CreditQuotaExceeded
    ├── NotRedLettered
    │   ├── RedExceedsRemainder, AlreadyFullyRed, ConfirmationRequired, ConfirmationNotUsable
    ├── Overloaded                come back after retry_delay_ms
    │   └── QuotaExceeded
    ├── Unavailable               nobody could be reached, or a part that is needed is away
    │   ├── StorageUnavailable, ShuttingDown
    ├── DeadlineExceeded          it may have been done: repeat with the same request id
    └── InternalError             a fault inside Billow, or an answer that is none of Billow's
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from grpc import StatusCode


@dataclass(frozen=True, slots=True)
class Violation:
    """One faulty field: its full path in the request, the rule's code, and the rule in words."""

    field: str
    rule: str
    description: str


_GIVEN_UP = {
    "attempts": "all attempts were made",
    "budget": "the client's retry budget is used up",
    "time": "the next attempt would come after the timeout",
}


class BillowError(Exception):
    """A call, or one item of a batch, was refused or failed.

    ``reason``: name in ``billow.errors.v1.Reason`` without its prefix; "" when the answer came from somebody else
    (a proxy, grpc itself) and told none. A reason newer than this client is kept as it came.
    ``code``: the gRPC status code. ``message``: for people; do not parse it.
    ``violations``: every faulty field, in the server's order. ``metadata``: of the reason, see ``billow.reasons``.
    ``retry_delay_ms``: how long the server asks to wait before a repeat; 0 when it does not say.
    ``retryable``: the identical call may be made again and may then succeed.
    ``request_id``: under which the server logged the call, for support; "" when unknown.
    ``not_retried``: why the client did not make the call again though it might: "attempts" (all were made), "budget"
    (too many calls of this client fail, see ``RetryPolicy``) or "time" (the next attempt would come after the
    call's timeout); "" when it was not to be retried.
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
        self.not_retried = ""

    def __str__(self) -> str:
        faults = "".join(f"; {v.field}: {v.description} [{v.rule}]" for v in self.violations)
        given_up = f" (not retried: {_GIVEN_UP[self.not_retried]})" if self.not_retried else ""
        return f"{self.reason or self.code.name}: {self.message}{faults}{given_up}"


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


class CreditQuotaExceeded(BillowError):
    """More than what is left of the seller's credit quota of this month; ``metadata["left_minor"]`` is left."""


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


class DocumentNotRenderable(BillowError):
    """The format asked for cannot express this invoice."""


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
        "CREDIT_QUOTA_EXCEEDED": CreditQuotaExceeded,
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
        "DOCUMENT_NOT_RENDERABLE": DocumentNotRenderable,
    }
)

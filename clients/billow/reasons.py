"""The table of error reasons: gRPC code, whether a repeat makes sense, and the metadata keys that come along.

Server and SDK share it. Every value of ``billow.errors.v1.Reason`` except UNSPECIFIED has one entry under its name
without the prefix ``REASON_``; a test proves it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from grpc import StatusCode

DOMAIN = "billow"
"""The domain of every ``google.rpc.ErrorInfo`` Billow sends."""


@dataclass(frozen=True, slots=True)
class ReasonSpec:
    """What a reason means on the wire.

    ``retryable``: the identical call may be made again and may then succeed. DEADLINE_EXCEEDED is not marked: only a
    caller that kept its request id may repeat, and it must bring a new deadline.
    ``metadata``: the keys of ``ErrorInfo.metadata`` that are always present.
    """

    code: StatusCode
    retryable: bool
    metadata: tuple[str, ...] = ()


REASONS: Mapping[str, ReasonSpec] = MappingProxyType(
    {
        "INTERNAL": ReasonSpec(StatusCode.INTERNAL, False, ("request_id",)),
        "MALFORMED_MESSAGE": ReasonSpec(StatusCode.INVALID_ARGUMENT, False),
        "INVALID_REQUEST": ReasonSpec(StatusCode.INVALID_ARGUMENT, False),
        "INVALID_INVOICE": ReasonSpec(StatusCode.INVALID_ARGUMENT, False),
        "BATCH_TOO_LARGE": ReasonSpec(StatusCode.INVALID_ARGUMENT, False, ("items", "items_max")),
        "INVALID_PAGE_TOKEN": ReasonSpec(StatusCode.INVALID_ARGUMENT, False),
        "API_KEY_MISSING": ReasonSpec(StatusCode.UNAUTHENTICATED, False),
        "API_KEY_INVALID": ReasonSpec(StatusCode.UNAUTHENTICATED, False),
        "SCOPE_MISSING": ReasonSpec(StatusCode.PERMISSION_DENIED, False, ("scope",)),
        "SELLER_NOT_FOUND": ReasonSpec(StatusCode.NOT_FOUND, False, ("seller_id",)),
        "INVOICE_NOT_FOUND": ReasonSpec(StatusCode.NOT_FOUND, False, ("number",)),
        "TENANT_NOT_FOUND": ReasonSpec(StatusCode.NOT_FOUND, False, ("tenant_id",)),
        "API_KEY_NOT_FOUND": ReasonSpec(StatusCode.NOT_FOUND, False, ("key_id",)),
        "REQUEST_ID_REUSED": ReasonSpec(StatusCode.ALREADY_EXISTS, False, ("request_id",)),
        "TENANT_EXISTS": ReasonSpec(StatusCode.ALREADY_EXISTS, False, ("tenant_id",)),
        "SELLER_EXISTS": ReasonSpec(StatusCode.ALREADY_EXISTS, False, ("seller_id",)),
        "NUMBER_RANGE_OVERLAPS": ReasonSpec(StatusCode.ALREADY_EXISTS, False),
        "NO_NUMBER_RANGE": ReasonSpec(StatusCode.FAILED_PRECONDITION, False, ("seller_id", "kind")),
        "NUMBER_RANGE_EXHAUSTED": ReasonSpec(StatusCode.FAILED_PRECONDITION, False, ("seller_id", "kind")),
        "CREDIT_QUOTA_EXCEEDED": ReasonSpec(
            StatusCode.FAILED_PRECONDITION, False, ("seller_id", "month", "quota_minor", "used_minor", "left_minor")
        ),
        "OVERLOADED": ReasonSpec(StatusCode.RESOURCE_EXHAUSTED, True),
        "QUOTA_EXCEEDED": ReasonSpec(StatusCode.RESOURCE_EXHAUSTED, True),
        "STORAGE_UNAVAILABLE": ReasonSpec(StatusCode.UNAVAILABLE, True),
        "SHUTTING_DOWN": ReasonSpec(StatusCode.UNAVAILABLE, True),
        "DEADLINE_EXCEEDED": ReasonSpec(StatusCode.DEADLINE_EXCEEDED, False),
        "RED_EXCEEDS_REMAINDER": ReasonSpec(StatusCode.FAILED_PRECONDITION, False, ("number", "remaining_minor")),
        "ALREADY_FULLY_RED": ReasonSpec(StatusCode.FAILED_PRECONDITION, False, ("number",)),
        "CONFIRMATION_REQUIRED": ReasonSpec(StatusCode.FAILED_PRECONDITION, False, ("number",)),
        "CONFIRMATION_NOT_USABLE": ReasonSpec(StatusCode.FAILED_PRECONDITION, False, ("confirmation_id", "state")),
        "CONFIRMATION_NOT_FOUND": ReasonSpec(StatusCode.NOT_FOUND, False, ("confirmation_id",)),
        "TAX_ID_NOT_PROVEN": ReasonSpec(StatusCode.PERMISSION_DENIED, False, ("tax_id",)),
        "ALREADY_ENTERED": ReasonSpec(StatusCode.ALREADY_EXISTS, False, ("number", "state", "period")),
        "NOT_ENTERED": ReasonSpec(StatusCode.FAILED_PRECONDITION, False, ("number",)),
        "ENDPOINT_NOT_FOUND": ReasonSpec(StatusCode.NOT_FOUND, False, ("endpoint_id",)),
        "DELIVERY_NOT_FOUND": ReasonSpec(StatusCode.NOT_FOUND, False, ("delivery_id",)),
        "ENDPOINTS_EXHAUSTED": ReasonSpec(StatusCode.FAILED_PRECONDITION, False, ("endpoints_max",)),
        "DOCUMENT_NOT_RENDERABLE": ReasonSpec(StatusCode.FAILED_PRECONDITION, False, ("number", "format")),
    }
)
"""Reason name to its meaning, in the order of the enum."""

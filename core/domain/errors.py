"""What can go wrong, as one exception with a stable reason; adapters and services raise nothing else on purpose.

The reasons are the names of billow.errors.v1.Reason; the gRPC code of each stands in clients/billow/reasons.py.
A test keeps the three in step.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class Reason(enum.StrEnum):
    """Why a call or an item of a batch failed."""

    INTERNAL = "INTERNAL"
    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_INVOICE = "INVALID_INVOICE"
    BATCH_TOO_LARGE = "BATCH_TOO_LARGE"
    INVALID_PAGE_TOKEN = "INVALID_PAGE_TOKEN"
    API_KEY_MISSING = "API_KEY_MISSING"
    API_KEY_INVALID = "API_KEY_INVALID"
    SCOPE_MISSING = "SCOPE_MISSING"
    SELLER_NOT_FOUND = "SELLER_NOT_FOUND"
    INVOICE_NOT_FOUND = "INVOICE_NOT_FOUND"
    TENANT_NOT_FOUND = "TENANT_NOT_FOUND"
    API_KEY_NOT_FOUND = "API_KEY_NOT_FOUND"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    TENANT_EXISTS = "TENANT_EXISTS"
    SELLER_EXISTS = "SELLER_EXISTS"
    NUMBER_RANGE_OVERLAPS = "NUMBER_RANGE_OVERLAPS"
    NO_NUMBER_RANGE = "NO_NUMBER_RANGE"
    NUMBER_RANGE_EXHAUSTED = "NUMBER_RANGE_EXHAUSTED"
    CREDIT_QUOTA_EXCEEDED = "CREDIT_QUOTA_EXCEEDED"
    OVERLOADED = "OVERLOADED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    RED_EXCEEDS_REMAINDER = "RED_EXCEEDS_REMAINDER"
    ALREADY_FULLY_RED = "ALREADY_FULLY_RED"
    CONFIRMATION_REQUIRED = "CONFIRMATION_REQUIRED"
    CONFIRMATION_NOT_USABLE = "CONFIRMATION_NOT_USABLE"
    CONFIRMATION_NOT_FOUND = "CONFIRMATION_NOT_FOUND"
    TAX_ID_NOT_PROVEN = "TAX_ID_NOT_PROVEN"
    ALREADY_ENTERED = "ALREADY_ENTERED"
    NOT_ENTERED = "NOT_ENTERED"
    ENDPOINT_NOT_FOUND = "ENDPOINT_NOT_FOUND"
    DELIVERY_NOT_FOUND = "DELIVERY_NOT_FOUND"
    ENDPOINTS_EXHAUSTED = "ENDPOINTS_EXHAUSTED"
    DOCUMENT_NOT_RENDERABLE = "DOCUMENT_NOT_RENDERABLE"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: the path of the field as in the request, the rule's stable code, and words for people."""

    field: str
    rule: str
    description: str

    def under(self, prefix: str) -> Violation:
        """The same violation seen from a message that holds this one at `prefix`."""
        return Violation(f"{prefix}.{self.field}" if self.field else prefix, self.rule, self.description)


class BillowError(Exception):
    """A failure with a reason. `retry_delay_ms` is set where coming back makes sense."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_delay_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_delay_ms = retry_delay_ms

    def __repr__(self) -> str:
        return f"BillowError({self.reason}, {self.message!r})"

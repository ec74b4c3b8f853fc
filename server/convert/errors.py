"""Errors on the wire: google.rpc.Status with ErrorInfo always, BadRequest and RetryInfo where they say something."""

from __future__ import annotations

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from billow.reasons import DOMAIN, REASONS
from core.domain.errors import BillowError, Reason


def code_of(reason: Reason) -> int:
    """Returns the number of the reason's gRPC code."""
    return int(REASONS[reason].code.value[0])


def status(error: BillowError, request_id: str) -> status_pb2.Status:
    """Builds the Status of an error; `request_id` finds the call in the logs."""
    metadata = dict(error.metadata)
    if error.reason is Reason.INTERNAL:
        metadata["request_id"] = request_id
    result = status_pb2.Status(code=code_of(error.reason), message=error.message)
    _add(result.details.add(), error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    if error.violations:
        bad = error_details_pb2.BadRequest()
        for violation in error.violations:
            bad.field_violations.add(field=violation.field, reason=violation.rule, description=violation.description)
        _add(result.details.add(), bad)
    if error.retry_delay_ms is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(error.retry_delay_ms)
        _add(result.details.add(), retry)
    return result


def _add(
    detail: any_pb2.Any,
    message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> None:
    detail.Pack(message)

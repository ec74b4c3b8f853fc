"""Errors on the wire: google.rpc.Status with ErrorInfo always, BadRequest and RetryInfo where they say something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from billow.reasons import DOMAIN, REASONS
from core import limits
from core.domain.errors import BillowError, Reason, Violation

CUT: Final = "…"
DETAIL_BYTES_MAX: Final = 128  # of the frame around a list of faults, and RetryInfo
FAULT_BYTES_MAX: Final = 4  # of the frame around one


def code_of(reason: Reason) -> int:
    """Returns the number of the reason's gRPC code."""
    return int(REASONS[reason].code.value[0])


def status(error: BillowError, request_id: str) -> status_pb2.Status:
    """Builds the Status of an error; `request_id` finds the call in the logs.

    At most STATUS_BYTES_MAX, or callers of gRPC would not get it: long texts are cut, and of many faults the first
    are listed.
    """
    metadata = {name: _cut(value) for name, value in error.metadata.items()}
    if error.reason is Reason.INTERNAL:
        metadata["request_id"] = request_id
    result = status_pb2.Status(code=code_of(error.reason), message=_cut(error.message))
    _add(result.details.add(), error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    if error.violations:
        _add(result.details.add(), _bad_request(error.violations, limits.STATUS_BYTES_MAX - result.ByteSize()))
    if error.retry_delay_ms is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(error.retry_delay_ms)
        _add(result.details.add(), retry)
    return result


def _bad_request(violations: Sequence[Violation], room_bytes: int) -> error_details_pb2.BadRequest:
    """Lists as many faults as there is room for."""
    bad = error_details_pb2.BadRequest()
    room_bytes -= DETAIL_BYTES_MAX
    for violation in violations:
        listed = bad.field_violations.add(
            field=_cut(violation.field), reason=violation.rule, description=_cut(violation.description)
        )
        room_bytes -= listed.ByteSize() + FAULT_BYTES_MAX
        if room_bytes < 0:
            del bad.field_violations[-1]
            break
    return bad


def _cut(text: str) -> str:
    """A text of at most ERROR_TEXT_BYTES_MAX."""
    if len(text) * 4 <= limits.ERROR_TEXT_BYTES_MAX:
        return text
    data = text.encode()
    if len(data) <= limits.ERROR_TEXT_BYTES_MAX:
        return text
    return data[: limits.ERROR_TEXT_BYTES_MAX - len(CUT.encode())].decode(errors="ignore") + CUT


def _add(
    detail: any_pb2.Any,
    message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> None:
    detail.Pack(message)

"""Errors as they arrive on the wire."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2


@dataclass(frozen=True, slots=True)
class WireError:
    """The parts of an error that are promised."""

    code: str
    reason: str
    violations: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    retry_delay_ms: int | None = None


def read_status(status: status_pb2.Status) -> WireError:
    """Reads a google.rpc.Status; the domain must be ours."""
    reason, violations, metadata, retry = "", [], {}, None
    for detail in status.details:
        info, bad, delay = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            assert info.domain == "billow"
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            violations = [(item.field, item.reason) for item in bad.field_violations]
            assert all(item.description for item in bad.field_violations)
        elif detail.Unpack(delay):
            retry = delay.retry_delay.ToMilliseconds()
    code = next(code.name for code in grpc.StatusCode if code.value[0] == status.code)
    return WireError(code, reason, tuple(violations), tuple(sorted(metadata.items())), retry)


async def error_of(call: Awaitable[Any]) -> WireError:
    """Awaits a call that must fail and returns its error."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                return read_status(status_pb2.Status.FromString(value))
        return WireError(error.code().name, "")
    raise AssertionError(f"the call was answered: {answer}")

"""Errors of the wire become typed errors: with Billow's details, with others', with none, with broken ones."""

from typing import Any

import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

import billow
from billow._error_reading import error_of_call
from billow._errors import BY_REASON
from billow.reasons import REASONS


def status(code: StatusCode, *details: Any, message: str = "no") -> status_pb2.Status:
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def info(reason: str, domain: str = "billow", **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)


def test_every_reason_has_a_class_of_its_own() -> None:
    assert list(BY_REASON) == list(REASONS)
    assert len(set(BY_REASON.values())) == len(BY_REASON)


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_becomes_its_class_with_code_metadata_and_retryable_of_the_table(reason: str) -> None:
    spec = REASONS[reason]
    metadata = dict.fromkeys(spec.metadata, "x")
    error = billow.error_of_status(status(spec.code, info(reason, **metadata)))
    assert type(error) is BY_REASON[reason]
    assert (error.reason, error.code, error.retryable) == (reason, spec.code, spec.retryable)
    assert dict(error.metadata) == metadata


def test_all_details_are_read() -> None:
    error = billow.error_of_status(
        status(
            StatusCode.INVALID_ARGUMENT,
            info("INVALID_INVOICE"),
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field="a", reason="A", description="first"),
                    error_details_pb2.BadRequest.FieldViolation(field="b", reason="B", description="second"),
                ]
            ),
            error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2, nanos=5_000_000)),
            error_details_pb2.RequestInfo(request_id="log-1"),
            error_details_pb2.Help(),
        )
    )
    assert error.violations == (billow.Violation("a", "A", "first"), billow.Violation("b", "B", "second"))
    assert error.retry_delay_ms == 2_005
    assert error.request_id == "log-1"
    assert str(error) == "INVALID_INVOICE: no; a: first [A]; b: second [B]"


def test_the_request_id_of_a_fault_is_the_one_to_look_for() -> None:
    assert (
        billow.error_of_status(status(StatusCode.INTERNAL, info("INTERNAL", request_id="log-9"))).request_id == "log-9"
    )
    reused = billow.error_of_status(status(StatusCode.ALREADY_EXISTS, info("REQUEST_ID_REUSED", request_id="order-1")))
    assert reused.request_id == ""  # that one is the caller's own


def test_a_detail_that_cannot_be_read_does_not_hide_the_error() -> None:
    told = status(StatusCode.NOT_FOUND, info("SELLER_NOT_FOUND"))
    told.details.add(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff\xff\xff")
    assert type(billow.error_of_status(told)) is billow.SellerNotFound


def test_details_of_another_domain_are_not_ours() -> None:
    error = billow.error_of_status(status(StatusCode.NOT_FOUND, info("SELLER_NOT_FOUND", domain="googleapis.com")))
    assert type(error) is billow.NotFound
    assert error.reason == ""


def test_a_reason_newer_than_this_client_keeps_its_name_and_goes_by_its_code() -> None:
    error = billow.error_of_status(status(StatusCode.FAILED_PRECONDITION, info("MOON_IS_FULL")))
    assert (type(error), error.reason, error.retryable) == (billow.InternalError, "MOON_IS_FULL", False)
    away = billow.error_of_status(status(StatusCode.UNAVAILABLE, info("MOON_IS_AWAY")))
    assert (type(away), away.retryable) == (billow.Unavailable, True)
    later = billow.error_of_status(
        status(
            StatusCode.ABORTED,
            info("MOON_IS_BUSY"),
            error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1)),
        )
    )
    assert later.retryable


@pytest.mark.parametrize(
    ("code", "message", "kind", "retryable"),
    [
        (StatusCode.UNAVAILABLE, "upstream connect error", billow.Unavailable, True),
        (StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!", billow.Overloaded, True),
        (StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max (9 vs. 8)", billow.MessageTooLarge, False),
        (StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 8)", billow.MessageTooLarge, False),
        (StatusCode.INTERNAL, "Received RST_STREAM with error code 2", billow.InternalError, True),
        (StatusCode.INTERNAL, "Internal error from Core", billow.InternalError, True),
        (StatusCode.UNKNOWN, "exceeded request buffer limit while retrying upstream", billow.Unavailable, True),
        (StatusCode.INTERNAL, "boom", billow.InternalError, False),
        (StatusCode.UNIMPLEMENTED, "Method not found!", billow.InternalError, False),
        (StatusCode.UNAUTHENTICATED, "", billow.NotAllowed, False),
        (StatusCode.PERMISSION_DENIED, "RBAC: access denied", billow.NotAllowed, False),
        (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", billow.DeadlineExceeded, False),
        (StatusCode.CANCELLED, "", billow.Unavailable, True),
    ],
)
def test_answers_without_details_are_borne(
    code: StatusCode, message: str, kind: type[billow.BillowError], retryable: bool
) -> None:
    error = error_of_call(code, message, [("x-request-id", "edge-1")])
    assert (type(error), error.reason, error.retryable, error.request_id) == (kind, "", retryable, "edge-1")


def test_the_status_of_the_trailers_is_believed_only_when_it_speaks_of_the_same_code() -> None:
    told = status(StatusCode.NOT_FOUND, info("SELLER_NOT_FOUND")).SerializeToString()
    assert type(error_of_call(StatusCode.NOT_FOUND, "no", [("grpc-status-details-bin", told)])) is billow.SellerNotFound
    assert type(error_of_call(StatusCode.UNAVAILABLE, "no", [("grpc-status-details-bin", told)])) is billow.Unavailable
    garbled = [("grpc-status-details-bin", b"\xff\xff")]
    assert type(error_of_call(StatusCode.NOT_FOUND, "no", garbled)) is billow.NotFound
    assert type(error_of_call(StatusCode.NOT_FOUND, None, None)) is billow.NotFound


def test_a_code_that_does_not_exist_is_unknown() -> None:
    error = billow.error_of_status(status_pb2.Status(code=99, message="?"))
    assert (type(error), error.code) == (billow.Unavailable, StatusCode.UNKNOWN)


def test_error_of_a_result() -> None:
    assert billow.error_of(billow.IssueResult(issued=billow.IssuedInvoice(number="1"))) is None
    refused = billow.IssueResult(error=status(StatusCode.NOT_FOUND, info("SELLER_NOT_FOUND")))
    assert type(billow.error_of(refused)) is billow.SellerNotFound


@pytest.mark.parametrize(
    ("value", "delay_ms"), [("1", 1_000), ("999999999", 3_600_000), ("soon", 0), ("", 0), ("-1", 0)]
)
def test_an_edge_that_refuses_says_when_to_come_back(value: str, delay_ms: int) -> None:
    error = error_of_call(StatusCode.RESOURCE_EXHAUSTED, "local_rate_limited", (("retry-after", value),))
    assert (error.retryable, error.retry_delay_ms) == (True, delay_ms)


def test_what_the_server_says_itself_counts_before_that() -> None:
    told = status(StatusCode.RESOURCE_EXHAUSTED, info("OVERLOADED"))
    trailing = (("retry-after", "9"), ("grpc-status-details-bin", told.SerializeToString()))
    assert error_of_call(StatusCode.RESOURCE_EXHAUSTED, "no", trailing).retry_delay_ms == 0

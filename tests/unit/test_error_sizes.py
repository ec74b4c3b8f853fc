"""An error fits the trailers that callers of gRPC take, whatever the caller sent (P11)."""

from __future__ import annotations

import pytest
from google.rpc import error_details_pb2

from core import limits
from core.domain.errors import BillowError, Reason, Violation
from server.convert import errors


def listed(error: BillowError) -> list[str]:
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in errors.status(error, "request").details)
    return [violation.field for violation in bad.field_violations]


@pytest.mark.parametrize("text", ["s", "卖", "\0", "𠀀"])
def test_what_a_caller_sent_is_quoted_in_part(text: str) -> None:
    words = f"there is no seller {text * 100_000!r}"
    error = BillowError(Reason.SELLER_NOT_FOUND, words, metadata={"seller_id": text * 100_000})
    status = errors.status(error, "request")
    assert status.ByteSize() <= limits.STATUS_BYTES_MAX
    assert status.message.startswith("there is no seller ")
    assert len(status.message.encode()) <= limits.ERROR_TEXT_BYTES_MAX


def test_short_texts_and_few_faults_stay_as_they_are() -> None:
    faults = [Violation(f"invoice.lines[{place}].quantity", "DECIMAL_FORM", "must be a decimal") for place in range(50)]
    error = BillowError(Reason.INVALID_INVOICE, "x" * limits.ERROR_TEXT_BYTES_MAX, violations=faults)
    assert errors.status(error, "request").message == error.message
    assert listed(error) == [fault.field for fault in faults]


def test_of_many_faults_the_first_are_listed() -> None:
    faults = [Violation(f"invoice.lines[{place}].quantity", "DECIMAL_FORM", "words " * 10) for place in range(2_000)]
    error = BillowError(Reason.INVALID_INVOICE, "the invoice breaks 2000 rules", violations=faults, retry_delay_ms=900)
    assert errors.status(error, "request").ByteSize() <= limits.STATUS_BYTES_MAX
    fields = listed(error)
    assert fields == [fault.field for fault in faults[: len(fields)]]
    assert len(fields) > 40

"""Results of checks to messages. Few results differ, so each is serialised once; a batch is put together from bytes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from billow.types.v1 import invoice_pb2
from billow.verification.v1 import verification_pb2
from core.domain.body import varint
from core.domain.verification import Result

_BATCH_RESULTS_TAG = b"\x0a"  # BatchVerifyInvoicesResponse.results = 1
_STREAM_RESULTS_TAG = b"\x12"  # StreamVerifyInvoicesResponse.results = 2


@lru_cache(maxsize=16_384)
def _field(tag: bytes, result: Result) -> bytes:
    """Returns one result as a serialised field."""
    outcome, state, red_total_minor = result
    message = verification_pb2.VerificationResult(
        outcome=verification_pb2.VerificationOutcome.ValueType(outcome),
        state=invoice_pb2.InvoiceState.ValueType(state),
        red_total_minor=red_total_minor,
    )
    data = message.SerializeToString()
    return tag + varint(len(data)) + data


def one_response(result: Result) -> verification_pb2.VerifyInvoiceResponse:
    """Builds the answer to one check; field 1 as in a batch."""
    return verification_pb2.VerifyInvoiceResponse.FromString(_field(_BATCH_RESULTS_TAG, result))


def batch_response(results: Iterable[Result]) -> verification_pb2.BatchVerifyInvoicesResponse:
    """Builds the answer to a batch; about 0.2 µs a result."""
    fields = [_field(_BATCH_RESULTS_TAG, result) for result in results]
    return verification_pb2.BatchVerifyInvoicesResponse.FromString(b"".join(fields))


def stream_response(sequence: int, results: Iterable[Result]) -> verification_pb2.StreamVerifyInvoicesResponse:
    """Builds the answer to one message of a stream; about 0.2 µs a result."""
    fields = [_field(_STREAM_RESULTS_TAG, result) for result in results]
    response = verification_pb2.StreamVerifyInvoicesResponse.FromString(b"".join(fields))
    response.sequence = sequence
    return response

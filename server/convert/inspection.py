"""What an inspection found, to its message."""

from __future__ import annotations

from typing import Final

from billow.inspection.v1 import inspection_pb2
from billow.types.v1 import invoice_pb2
from core import limits
from core.documents.findings import SignatureState
from core.documents.read_invoice import Refusal
from core.domain.errors import BillowError, Reason, Violation
from server.services.inspection import Inspection

UNSET: Final = inspection_pb2.UNREADABLE_REASON_UNSPECIFIED
REASONS: Final = {
    Refusal.TOO_LARGE: inspection_pb2.UNREADABLE_REASON_TOO_LARGE,
    Refusal.FORBIDDEN: inspection_pb2.UNREADABLE_REASON_FORBIDDEN,
    Refusal.MALFORMED: inspection_pb2.UNREADABLE_REASON_MALFORMED,
    Refusal.NOT_AN_INVOICE: inspection_pb2.UNREADABLE_REASON_NOT_AN_INVOICE,
    Refusal.INCONSISTENT: inspection_pb2.UNREADABLE_REASON_INCONSISTENT,
    Refusal.NO_INVOICE_DATA: inspection_pb2.UNREADABLE_REASON_NO_INVOICE_DATA,
    Refusal.ENCRYPTED: inspection_pb2.UNREADABLE_REASON_ENCRYPTED,
    Refusal.TOO_COSTLY: inspection_pb2.UNREADABLE_REASON_TOO_COSTLY,
}
SIGNATURES: Final = {
    SignatureState.UNSIGNED: inspection_pb2.SIGNATURE_RESULT_NONE,
    SignatureState.VALID: inspection_pb2.SIGNATURE_RESULT_VALID,
    SignatureState.BROKEN: inspection_pb2.SIGNATURE_RESULT_INVALID,
    SignatureState.UNKNOWN: inspection_pb2.SIGNATURE_RESULT_UNKNOWN_KEY,
}


def check_document(content: bytes, file_name: str) -> None:
    """Raises INVALID_REQUEST for a document that is not looked at, whatever it is."""
    faults = []
    if not content:
        faults.append(Violation("content", "REQUIRED", "is required"))
    if len(content) > limits.INSPECT_BYTES_MAX:
        faults.append(Violation("content", "TOO_LONG", f"must be at most {limits.INSPECT_BYTES_MAX} bytes"))
    if len(file_name) > limits.FILE_NAME_CHARS_MAX:
        faults.append(Violation("file_name", "TOO_LONG", f"must be at most {limits.FILE_NAME_CHARS_MAX} characters"))
    if faults:
        raise BillowError(Reason.INVALID_REQUEST, "the request breaks a rule", violations=faults)


def response(found: Inspection) -> inspection_pb2.VerifyDocumentResponse:
    """Builds the answer to VerifyDocument."""
    made = inspection_pb2.VerifyDocumentResponse(
        outcome=inspection_pb2.InspectionOutcome.ValueType(found.verdict),
        kind=inspection_pb2.DocumentKind.ValueType(found.kind or 0),
        unreadable_reason=REASONS[found.refusal] if found.refusal else UNSET,
        unreadable_detail=found.detail,
        state=invoice_pb2.InvoiceState.ValueType(found.state or 0),
        red_total_minor=found.red_total_minor,
        difference_count=found.difference_count,
        differences_withheld=found.withheld,
        byte_identical=found.byte_identical,
    )
    if found.read is not None:
        made.signature = SIGNATURES[found.read.signature]
        made.document_invoice.ParseFromString(found.read.invoice)
    for difference in found.differences:
        made.differences.add(path=difference.path, document_value=difference.document, issued_value=difference.issued)
    return made

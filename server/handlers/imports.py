# ruff: noqa: N802 -- the methods are called as in the contract
"""ImportService. Round trips as the methods of the service say."""

from __future__ import annotations

from billow.collection.v1 import imports_pb2
from billow.inspection.v1 import inspection_pb2
from billow.types.v1 import invoice_pb2
from core.storage.import_port import Import
from server.convert.inspection import REASONS, UNSET, check_document
from server.convert.registry import timestamp
from server.interceptors import Access, Call
from server.services.imports import ImportService

SERVICE = imports_pb2.DESCRIPTOR.services_by_name["ImportService"]
ACCESS = {"ImportInvoice": Access("book"), "ListImportedInvoices": Access("read")}


class ImportHandlers:
    """The methods of billow.collection.v1.ImportService."""

    def __init__(self, *, imports: ImportService) -> None:
        self._imports = imports

    async def ImportInvoice(
        self, request: imports_pb2.ImportInvoiceRequest, call: Call
    ) -> imports_pb2.ImportInvoiceResponse:
        """Imports a document. Round trips: 1 cache, 4 primary, 2 replica, 3 objects."""
        check_document(request.content, request.file_name)
        done = await self._imports.import_invoice(call.caller, request.content)
        response = imports_pb2.ImportInvoiceResponse(
            outcome=imports_pb2.ImportOutcome.ValueType(done.outcome),
            unreadable_reason=REASONS[done.refusal] if done.refusal else UNSET,
            detail=done.detail,
            altered_fields=done.altered_fields,
            imported=None if done.imported is None else imported(done.imported),
        )
        for fault in done.faults:
            response.broken_rules.add(field=fault.field, rule=fault.rule, description=fault.description)
        return response

    async def ListImportedInvoices(
        self, request: imports_pb2.ListImportedInvoicesRequest, call: Call
    ) -> imports_pb2.ListImportedInvoicesResponse:
        """Reads a page. Round trips: 1 primary."""
        found = await self._imports.list_imports(
            call.caller, after=request.after_import_id, page_size=request.page_size
        )
        return imports_pb2.ListImportedInvoicesResponse(
            imported_invoices=map(imported, found),
            last_import_id=found[-1].import_id if found else request.after_import_id,
        )


def imported(found: Import) -> imports_pb2.ImportedInvoice:
    """Builds the message of an import."""
    return imports_pb2.ImportedInvoice(
        import_id=found.import_id,
        code=found.code,
        number=found.number,
        kind=invoice_pb2.InvoiceKind.ValueType(found.kind),
        color=invoice_pb2.InvoiceColor.ValueType(found.color),
        blue_number=found.blue_number,
        issue_time=timestamp(found.issued_at_us),
        seller_tax_id=found.seller_tax_id,
        seller_name=found.seller_name,
        buyer_tax_id=found.buyer_tax_id,
        net_total_minor=found.net_total_minor,
        tax_total_minor=found.tax_total_minor,
        gross_total_minor=found.gross_total_minor,
        verified=found.verified,
        signature=inspection_pb2.SignatureResult.ValueType(found.signature),
        document_kind=inspection_pb2.DocumentKind.ValueType(found.document_kind),
        sha256=found.sha256,
        size_bytes=found.size_bytes,
        import_time=timestamp(found.imported_at_us),
    )

"""InspectionService: one document. Round trips as server.services.inspection.InspectionService.inspect."""

from __future__ import annotations

from billow.inspection.v1 import inspection_pb2
from server.convert.inspection import check_document, response
from server.interceptors import Access, Call
from server.services.inspection import InspectionService

SERVICE = inspection_pb2.DESCRIPTOR.services_by_name["InspectionService"]
ACCESS = {"VerifyDocument": Access("verify", key_optional=True)}


class InspectionHandlers:
    """The methods of billow.inspection.v1.InspectionService."""

    def __init__(self, *, inspection: InspectionService) -> None:
        self._inspection = inspection

    async def VerifyDocument(  # noqa: N802 (the contract's name)
        self, request: inspection_pb2.VerifyDocumentRequest, call: Call
    ) -> inspection_pb2.VerifyDocumentResponse:
        """Inspects a document. Round trips: 1 cache, 2 replica, 1 objects."""
        check_document(request.content, request.file_name)
        return response(await self._inspection.inspect(call.key, request.content))

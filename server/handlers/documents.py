"""DocumentService: invoices as documents. Round trips as DocumentService.get_document says."""

from __future__ import annotations

from billow.document.v1 import document_pb2
from server.convert.registry import timestamp
from server.interceptors import Access, Call
from server.services.documents import DocumentService
from server.services.download_links import DownloadLinkService

S_US = 1_000_000
SERVICE = document_pb2.DESCRIPTOR.services_by_name["DocumentService"]
ACCESS = {"GetDocument": Access("read"), "CreateDownloadLink": Access("read")}


class DocumentHandlers:
    """The methods of billow.document.v1.DocumentService."""

    def __init__(self, *, documents: DocumentService, links: DownloadLinkService) -> None:
        self._documents = documents
        self._links = links

    async def GetDocument(  # noqa: N802 (the contract's name)
        self, request: document_pb2.GetDocumentRequest, call: Call
    ) -> document_pb2.GetDocumentResponse:
        """Reads or renders a document.

        Round trips: 1 replica, 1 objects when it is kept; else those of GetInvoice and 2 to the objects.
        """
        found = await self._documents.get_document(call.caller, number=request.number, format_name=request.format)
        return document_pb2.GetDocumentResponse(
            content=found.content,
            media_type=found.format.media_type,
            file_name=found.file_name,
            sha256=found.sha256,
            format=found.format.name,
            version=found.format.version,
        )

    async def CreateDownloadLink(  # noqa: N802 (the contract's name)
        self, request: document_pb2.CreateDownloadLinkRequest, call: Call
    ) -> document_pb2.CreateDownloadLinkResponse:
        """Makes a link to a document.

        Round trips: 1 replica, 1 objects when the document is kept; else as GetDocument.
        """
        made = await self._links.create(
            call.caller, number=request.number, format_name=request.format, lifetime_s=request.lifetime_s
        )
        return document_pb2.CreateDownloadLinkResponse(
            url=made.url,
            expire_time=timestamp(made.opens.expires_s * S_US),
            sha256=made.opens.sha256,
            size_bytes=made.opens.size_bytes,
            file_name=made.file_name,
        )

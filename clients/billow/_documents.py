"""Invoices as documents."""

from grpc import aio

from ._call import Caller
from ._loop_thread import LoopThread
from .document.v1 import document_pb2, document_pb2_grpc


class AsyncDocuments:
    """Documents of the tenant's invoices. One round trip a method, repeated while the error is a passing one."""

    def __init__(self, *, channel: aio.Channel, caller: Caller, timeout_s: float) -> None:
        self._stub = document_pb2_grpc.DocumentServiceStub(channel)
        self._caller = caller
        self._timeout_s = timeout_s

    async def get(self, number: str, format: str = "pdf") -> document_pb2.GetDocumentResponse:  # noqa: A002 (its name)
        """The invoice as "pdf", "xml", "ofd" or "ubl": ``content``, ``media_type``, ``file_name``, ``sha256``.

        The same bytes every time. Raises InvoiceNotFound, DocumentNotRenderable, InvalidRequest, Overloaded. Scope
        "read".
        """
        request = document_pb2.GetDocumentRequest(number=number, format=format)
        return await self._caller.unary(self._stub.GetDocument, request, timeout_s=self._timeout_s)

    async def link(
        self,
        number: str,
        format: str = "pdf",  # noqa: A002 (its name)
        *,
        lifetime_s: int = 0,
    ) -> document_pb2.CreateDownloadLinkResponse:
        """A link to that document for whoever has it: ``url``, ``expire_time``, ``sha256``, ``size_bytes``.

        It lasts for ``lifetime_s`` seconds at least, 30 days at most; 0 is the installation's usual time. Raises what
        ``get`` raises, and StorageUnavailable while the document cannot be kept. Scope "read".
        """
        request = document_pb2.CreateDownloadLinkRequest(number=number, format=format, lifetime_s=lifetime_s)
        return await self._caller.unary(self._stub.CreateDownloadLink, request, timeout_s=self._timeout_s)


class Documents:
    """AsyncDocuments for code without asyncio."""

    def __init__(self, *, core: AsyncDocuments, thread: LoopThread) -> None:
        self._core = core
        self._thread = thread

    def get(self, number: str, format: str = "pdf") -> document_pb2.GetDocumentResponse:  # noqa: A002 (its name)
        """See AsyncDocuments.get."""
        return self._thread.run(self._core.get(number, format))

    def link(
        self,
        number: str,
        format: str = "pdf",  # noqa: A002 (its name)
        *,
        lifetime_s: int = 0,
    ) -> document_pb2.CreateDownloadLinkResponse:
        """See AsyncDocuments.link."""
        return self._thread.run(self._core.link(number, format, lifetime_s=lifetime_s))

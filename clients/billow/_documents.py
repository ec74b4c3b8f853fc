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


class Documents:
    """AsyncDocuments for code without asyncio."""

    def __init__(self, *, core: AsyncDocuments, thread: LoopThread) -> None:
        self._core = core
        self._thread = thread

    def get(self, number: str, format: str = "pdf") -> document_pb2.GetDocumentResponse:  # noqa: A002 (its name)
        """See AsyncDocuments.get."""
        return self._thread.run(self._core.get(number, format))

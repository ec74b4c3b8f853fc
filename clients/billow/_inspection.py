"""Inspecting documents that somebody brought."""

from grpc import aio

from ._call import Caller
from ._loop_thread import LoopThread
from .inspection.v1 import inspection_pb2, inspection_pb2_grpc

DOCUMENT_BYTES_MAX = 10 * 1024 * 1024
"""Most bytes of a document; the server refuses more."""


class AsyncInspection:
    """Tells whether files are the invoices they say they are. 1 round trip, repeated while the error may pass."""

    def __init__(self, *, channel: aio.Channel, caller: Caller, timeout_s: float) -> None:
        self._stub = inspection_pb2_grpc.InspectionServiceStub(channel)
        self._caller = caller
        self._timeout_s = timeout_s

    async def verify_document(
        self, content: bytes, *, file_name: str = "", timeout_s: float | None = None
    ) -> inspection_pb2.VerifyDocumentResponse:
        """Whether ``content``, an XML, OFD or PDF of at most 10 MiB, is as issued: look at ``outcome``.

        Altered, unknown and unreadable are outcomes, not errors. Works without an API key, a few times a day an
        invoice; with one of scope "verify" unlimited. Raises InvalidRequest, Overloaded.
        """
        request = inspection_pb2.VerifyDocumentRequest(content=content, file_name=file_name)
        timeout = self._timeout_s if timeout_s is None else timeout_s
        return await self._caller.unary(self._stub.VerifyDocument, request, timeout_s=timeout)


class Inspection:
    """AsyncInspection for code without asyncio."""

    def __init__(self, *, core: AsyncInspection, thread: LoopThread) -> None:
        self._core = core
        self._thread = thread

    def verify_document(
        self, content: bytes, *, file_name: str = "", timeout_s: float | None = None
    ) -> inspection_pb2.VerifyDocumentResponse:
        """See AsyncInspection.verify_document."""
        return self._thread.run(self._core.verify_document(content, file_name=file_name, timeout_s=timeout_s))

"""Documents in the object store: read when they are there, else rendered and kept. For server and workers alike."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from core import limits
from core.documents.renderer import DocumentFormat, NotRenderable
from core.domain.errors import BillowError, Reason
from core.storage.ports import ObjectMissing, ObjectStore

LOG = logging.getLogger(__name__)

PREFIX: Final = "documents"
STORE_WAIT_S: Final = 2  # for the object store, before a document is rendered or answered without it
AWAY_RETRY_MS: Final = 1_000
DAY_US: Final = 86_400 * 1_000_000

Result = TypeVar("Result")


class Press(Protocol):
    """Renders outside the event loop, in processes of its own."""

    async def render(self, format_name: str, body: bytes) -> bytes:
        """Renders a canonical body. Raises OVERLOADED at once when too much waits, NotRenderable."""
        ...


class KeptDocuments:
    """The one way to a document's bytes.

    An issued invoice never changes (P4) and rendering is deterministic, so a document has one content for ever and
    two renderings at once do no harm. The object store is not needed: while it is away (or slower than 2 s) documents
    are rendered every time. `retention_days` is for how long the kept documents are locked.
    """

    def __init__(self, *, press: Press, objects: ObjectStore, retention_days: int, now_us: Callable[[], int]) -> None:
        self._press = press
        self._objects = objects
        self._retention_us = retention_days * DAY_US
        self._now_us = now_us

    async def content(
        self, made: DocumentFormat, number: str, body: Callable[[], Awaitable[bytes]], *, must_be_kept: bool = False
    ) -> bytes:
        """Reads or renders a document; `body` reads the invoice's canonical body and is called when it is needed.

        Raises OVERLOADED, DOCUMENT_NOT_RENDERABLE, and what `body` raises; with `must_be_kept` STORAGE_UNAVAILABLE
        unless the object store has the document now. 1 round trip to the object store for a document that is kept;
        else the trips of the body and 2 more to the object store.
        """
        key = key_of(made, number)
        content, store_answers = await self._kept(key)
        if must_be_kept and not store_answers:
            raise not_kept(number, made.name)
        if content is None:
            read = await body()
            try:
                content = await self._press.render(made.name, read)
            except NotRenderable as error:
                raise not_renderable(number, made.name, str(error)) from error
            if len(content) > limits.DOCUMENT_BYTES_MAX:
                raise not_renderable(number, made.name, "the document is larger than a message may be")
            kept = store_answers and await self._keep(key, content)
            if must_be_kept and not kept:
                raise not_kept(number, made.name)
        return content

    async def is_kept(self, made: DocumentFormat, number: str, content: bytes) -> bool:
        """Tells whether exactly these bytes are kept under this format and version; renders nothing.

        While the object store is away nothing is known to be kept. 1 round trip to the object store, 2 when the size
        is the same.
        """
        key = key_of(made, number)
        try:
            return await _soon(self._objects.size(key)) == len(content) and (await self._kept(key))[0] == content
        except (BillowError, TimeoutError) as error:
            LOG.warning("not known what is kept: %s", error, extra={"key": key})
            return False

    async def _kept(self, key: str) -> tuple[bytes | None, bool]:
        """Reads what was kept, and tells whether the store answers."""
        try:
            read = self._objects.read(key, start=0, length=limits.DOCUMENT_BYTES_MAX)
            return await _soon(read), True
        except ObjectMissing:
            return None, True
        except (BillowError, TimeoutError) as error:
            LOG.warning("documents are rendered without the object store: %s", error)
            return None, False

    async def _keep(self, key: str, content: bytes) -> bool:
        """Keeps a document and tells whether that succeeded; otherwise it is rendered again next time."""
        try:
            await _soon(self._objects.put(key, content, retain_until_us=self._now_us() + self._retention_us))
        except (BillowError, TimeoutError) as error:
            LOG.warning("a document could not be kept: %s", error, extra={"key": key})
            return False
        return True


def key_of(made: DocumentFormat, number: str) -> str:
    """The key of a document; what is under it never changes."""
    return f"{PREFIX}/{made.name}/{made.version}/{number}.{made.extension}"


def not_renderable(number: str, format_name: str, why: str) -> BillowError:
    """The error for an invoice that a format cannot express."""
    return BillowError(Reason.DOCUMENT_NOT_RENDERABLE, why, metadata={"number": number, "format": format_name})


def not_kept(number: str, format_name: str) -> BillowError:
    """The error for a document that has to be in the object store and is not."""
    words = "the object store cannot keep the document at present"
    metadata = {"number": number, "format": format_name}
    return BillowError(Reason.STORAGE_UNAVAILABLE, words, metadata=metadata, retry_delay_ms=AWAY_RETRY_MS)


async def _soon(work: Awaitable[Result]) -> Result:
    """Waits for the object store, but not for long; raises TimeoutError."""
    async with asyncio.timeout(STORE_WAIT_S):
        return await work

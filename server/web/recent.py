"""Small documents as they were read a moment ago: whole, compared with their digest, and read once for all who ask."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from typing import Final

from core import limits
from core.domain.download_link import DownloadLink
from core.storage.ports import ObjectStore

Key = tuple[str, bytes]  # where it lies, and what it is

ENDED: Final = (asyncio.CancelledError, Exception)


class Damaged(Exception):
    """The object store has other bytes than the link was signed for."""


class RecentDocuments:
    """Reads documents of at most one chunk, and keeps DOWNLOAD_RECENT_BYTES_MAX of them; the oldest used make room.

    Envoy's cache sends what asks for a part, or whether something changed, and all who ask before it has written the
    first answer down. Readers of PDF ask for parts by the dozen. What is kept never changes: the digest is its name.
    """

    def __init__(self, *, objects: ObjectStore) -> None:
        self._objects = objects
        self._kept: dict[Key, bytes] = {}  # the oldest used first
        self._kept_bytes = 0
        self._reads: dict[Key, asyncio.Task[bytes]] = {}

    async def read(self, key: str, link: DownloadLink) -> bytes:
        """Returns a document. 1 round trip to the object store, or none.

        Raises ObjectMissing, Damaged, STORAGE_UNAVAILABLE, TimeoutError. Cancelling it leaves the read to the others.
        """
        name = (key, link.sha256)
        content = self._kept.pop(name, None)
        if content is not None:
            self._kept[name] = content
            return content
        task = self._reads.get(name)
        if task is None:
            task = self._reads[name] = asyncio.create_task(self._load(name, link.size_bytes))
            task.add_done_callback(lambda done: self._loaded(name, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends the reads under way."""
        tasks = list(self._reads.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(*ENDED):
                await task

    async def _load(self, name: Key, size_bytes: int) -> bytes:
        async with asyncio.timeout(limits.DOWNLOAD_STORE_MAX_MS / 1_000):
            content = await self._objects.read(name[0], start=0, length=size_bytes)
        if not hmac.compare_digest(hashlib.sha256(content).digest(), name[1]):
            raise Damaged(name[0])
        return content

    def _loaded(self, name: Key, done: asyncio.Task[bytes]) -> None:
        """Keeps what a read brought."""
        del self._reads[name]
        if done.cancelled() or done.exception() is not None:
            return
        self._kept[name] = done.result()
        self._kept_bytes += len(done.result())
        while self._kept_bytes > limits.DOWNLOAD_RECENT_BYTES_MAX:
            oldest = next(iter(self._kept))
            self._kept_bytes -= len(self._kept.pop(oldest))

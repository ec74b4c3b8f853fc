"""The object store in memory: the twin of core/storage/objects/s3.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

from core.storage.ports import ObjectMissing

S_US = 1_000_000


class MemoryObjectStore:
    """The ObjectStore over a dictionary. `objects` may be looked into by tests."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._retained: dict[str, int] = {}

    async def put(self, key: str, data: bytes, *, retain_until_us: int) -> None:
        """Stores an object; see the port."""
        if self.objects.get(key) != data:
            self.objects[key] = bytes(data)
            self._retained[key] = -(-retain_until_us // S_US) * S_US

    async def read(self, key: str, *, start: int, length: int) -> bytes:
        """Reads a range; see the port."""
        if start >= len(self._existing(key)):
            raise ObjectMissing(f"{key} has no byte {start}")
        return self.objects[key][start : start + length]

    async def size(self, key: str) -> int | None:
        """Returns the size; see the port."""
        return len(self.objects[key]) if key in self.objects else None

    async def retained_until_us(self, key: str) -> int:
        """Returns the end of the lock; see the port."""
        self._existing(key)
        return self._retained[key]

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        """Walks the keys in order; see the port."""
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield key

    def _existing(self, key: str) -> bytes:
        """Returns the object or raises ObjectMissing."""
        if key not in self.objects:
            raise ObjectMissing(key)
        return self.objects[key]

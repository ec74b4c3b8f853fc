"""A store whose replies get lost: what was asked for is done, and the caller is told that the store is away."""

from __future__ import annotations

from typing import Any

from core.domain.errors import BillowError, Reason


class LostReplies:
    """Passes everything on to a store. Of each method named, the reply of the first call is lost."""

    def __init__(self, store: Any, *methods: str) -> None:
        self._store = store
        self._left = set(methods)

    def __getattr__(self, name: str) -> Any:
        """The store's own, or what loses its reply."""
        method = getattr(self._store, name)
        if name not in self._left:
            return method
        self._left.discard(name)

        async def lose(*arguments: Any, **named: Any) -> None:
            await method(*arguments, **named)
            raise BillowError(Reason.STORAGE_UNAVAILABLE, "the reply was lost")

        return lose

    def all_lost(self) -> bool:
        """Whether each method named has lost its reply."""
        return not self._left

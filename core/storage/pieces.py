"""Cutting what is too much for one statement or script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def pieces(items: Sequence[Item], items_max: int) -> Iterator[Sequence[Item]]:
    """Yields the items in order, `items_max` at a time."""
    for start in range(0, len(items), items_max):
        yield items[start : start + items_max]

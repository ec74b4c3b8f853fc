"""Tables whose consecutive rows make one entry: rows of an invoice, of a red invoice."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from .json_messages import FAULTS_MAX, Fault, UnreadableMessage
from .sources import Content, Entry, Row, Source

IDENTITY = ("seller_id", "request_id")
"""What tells the entries of a table apart."""
LINES_MAX = 10_000
"""Rows gathered into one entry, far more than an invoice may have: bounds memory when all rows have the same id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape(Generic[Content]):
    """How rows become an entry. ``heads``: columns of the entry; ``lines``: columns of a line, and their fields.

    ``value``: joins both into what ``read`` makes the content of; ``read`` raises UnreadableMessage.
    """

    heads: tuple[str, ...]
    lines: Mapping[str, str]
    value: Callable[[Row, list[Row]], Row]
    read: Callable[[Row], Content]


def grouped_entries(source: Source, shape: Shape[Content], *, first_line: int = 1) -> Iterator[Entry[Content]]:
    """The entries of a table from the one that begins at ``first_line`` on (1: all)."""
    group: _Group[Content] | None = None
    unread: list[Fault] = []  # of rows since the last good one: they may belong to the entry before or after them
    for line, row, faults, size in source.rows(first_line):
        if row is None:
            unread += [(path, f"row {line}: {text}") for path, text in faults]
            if group is None:
                yield Entry(line, None, faults, size, {})
            continue
        key = (row.get("seller_id"), row.get("request_id"))
        if group is None or key != group.key or None in key or group.rows >= LINES_MAX:
            if group is not None:
                group.faults += unread
                yield group.entry()
            group = _Group(line, key, row, shape)
        group.faults += unread
        unread = []
        group.add(line, row, size)
    if group is not None:
        group.faults += unread
        yield group.entry()


class _Group(Generic[Content]):
    """The rows of one entry."""

    def __init__(self, line: int, key: tuple[Any, Any], row: Row, shape: Shape[Content]) -> None:
        self.line = line
        self.key = key
        self.faults: list[Fault] = []
        self._shape = shape
        self._lines: list[Row] = []
        self._heads = {name: row[name] for name in shape.heads if name in row}
        self._size = 0

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self._lines)

    def add(self, line: int, row: Row, size: int) -> None:
        """Takes one more row."""
        self._size += size
        heads = self._heads
        for name in self._shape.heads:
            value = row.get(name)
            if value is not None and value != heads.setdefault(name, value) and len(self.faults) < FAULTS_MAX:
                self.faults.append((name, f"row {line}: differs from a row of the same invoice before it"))
        self._lines.append({field: row[column] for column, field in self._shape.lines.items() if column in row})

    def entry(self) -> Entry[Content]:
        """The entry of all its rows."""
        heads = self._heads
        identity = {name: heads[name] for name in IDENTITY if isinstance(heads.get(name), str)}
        if not self.faults:
            try:
                content = self._shape.read(self._shape.value(heads, self._lines))
                return Entry(self.line, content, [], self._size, {})
            except UnreadableMessage as unreadable:
                self.faults = unreadable.faults
        return Entry(self.line, None, self.faults, self._size, identity)

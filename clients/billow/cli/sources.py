"""Files as a stream of entries: JSONL, CSV and Parquet, line by line or row by row, in bounded memory."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import orjson

from .json_messages import Fault, UnreadableMessage

Content = TypeVar("Content")

LINE_BYTES_MAX = 16 * 1024 * 1024
"""Longest line of a JSONL file; longer ones could not be sent anyway."""
PARQUET_ROWS = 2_048
"""Rows of a Parquet file in memory at once."""
FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}

Row = dict[str, Any]


class UnusableFile(Exception):
    """The file as a whole cannot be used; the text says why."""


@dataclass(slots=True)
class Entry(Generic[Content]):
    """One thing of the file. ``line`` counts from 1: the line, the first row's line in CSV, the row in Parquet.

    ``content`` is None when the entry could not be read; ``faults`` says why then. ``size``: bytes it takes, roughly.
    ``identity``: what can be told of an entry that could not be read, for its report.
    """

    line: int
    content: Content | None
    faults: list[Fault]
    size: int
    identity: Row


class Source(Protocol):
    """A file that gives plain values. ``size``: the whole, in bytes or rows. ``is_table``: no nested values."""

    size: int
    is_table: bool

    def rows(self, first_line: int) -> Iterator[tuple[int, Row | None, list[Fault], int]]:
        """Line, values (None with faults when unreadable), faults, bytes; from ``first_line`` on."""

    def position(self) -> int:
        """How far reading has come, in units of ``size``."""


def open_source(path: Path, *, kind: str | None, columns: frozenset[str]) -> Source:
    """The reader for ``path``; ``kind`` is jsonl, csv, parquet or None to go by the name.

    ``columns``: what flat tables may have. Raises UnusableFile.
    """
    kind = kind or FORMATS.get(path.suffix.lower())
    try:
        if kind == "jsonl":
            return JsonLines(path)
        if kind == "csv":
            return Csv(path, columns)
        if kind == "parquet":
            return Parquet(path, columns)
    except OSError as error:
        raise UnusableFile(f"{path}: {error.strerror or error}") from error
    raise UnusableFile(f"{path}: cannot tell its format by its name; say --format jsonl, csv or parquet")


class JsonLines:
    """One JSON object a line; empty lines are passed over."""

    is_table = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size
        self._position = 0

    def position(self) -> int:
        """Bytes read."""
        return self._position

    def rows(self, first_line: int) -> Iterator[tuple[int, Row | None, list[Fault], int]]:
        """See Source. Lines before ``first_line`` are passed over unread."""
        with self._path.open("rb", buffering=1024 * 1024) as file:
            number = 0
            while raw := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                length = len(raw)
                too_long = length > LINE_BYTES_MAX and not raw.endswith(b"\n")
                if too_long:
                    while (rest := file.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
                        length += len(rest)
                    length += len(rest)
                self._position += length
                if number == 1:
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                if number < first_line or raw.isspace():
                    continue
                if too_long:
                    yield number, None, [("", f"the line is longer than {LINE_BYTES_MAX} bytes")], 0
                    continue
                try:
                    value = orjson.loads(raw)
                except orjson.JSONDecodeError as error:
                    yield number, None, [("", f"not JSON: {error}")], length
                    continue
                if type(value) is dict:
                    yield number, value, [], length
                else:
                    yield number, None, [("", "must be an object")], length


class Csv:
    """A table with a header line, in UTF-8; empty cells are absent values."""

    is_table = True

    def __init__(self, path: Path, columns: frozenset[str]) -> None:
        self._path = path
        self.size = path.stat().st_size
        self._raw: io.BufferedReader | None = None
        with self._open() as text:
            try:
                header = next(csv.reader(text, strict=True), None)
            except csv.Error as error:
                raise UnusableFile(f"{path}: its first line: {error}") from error
        if not header:
            raise UnusableFile(f"{path}: has no header line")
        self._header = [name.strip() for name in header]
        _check_columns(path, self._header, columns)

    def _open(self) -> io.TextIOWrapper:
        self._raw = self._path.open("rb")
        # bytes that are no UTF-8 become lone surrogates, which are refused entry by entry instead of ending the run
        return io.TextIOWrapper(self._raw, encoding="utf-8-sig", errors="surrogateescape", newline="")

    def position(self) -> int:
        """Bytes read."""
        return self.size if self._raw is None or self._raw.closed else self._raw.tell()

    def rows(self, first_line: int) -> Iterator[tuple[int, Row | None, list[Fault], int]]:
        """See Source. All lines are parsed, because a line break inside quotes is none of a row."""
        header = self._header
        with self._open() as text:
            reader = csv.reader(text, strict=True)
            next(reader, None)
            while True:
                line = reader.line_num + 1
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    yield line, None, [("", f"not CSV: {error}")], 0
                    continue
                if cells is None:
                    return
                if line < first_line or not any(cells):
                    continue
                if len(cells) > len(header):
                    yield line, None, [("", f"{len(cells)} cells, but the header has {len(header)}")], 0
                    continue
                row = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
                yield line, row, [], sum(map(len, cells))


class Parquet:
    """The rows of a Parquet file."""

    def __init__(self, path: Path, columns: frozenset[str]) -> None:
        # heavy, and needed for this format only
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._errors = pa.ArrowException
        try:
            self._file = pq.ParquetFile(path)
        except pa.ArrowException as error:
            raise UnusableFile(f"{path}: {error}") from error
        self.size: int = self._file.metadata.num_rows
        self._path = path
        self._position = 0
        names = list(self._file.schema_arrow.names)
        self.is_table = "invoice" not in names
        if self.is_table:
            _check_columns(path, names, columns)

    def position(self) -> int:
        """Rows read."""
        return self._position

    def rows(self, first_line: int) -> Iterator[tuple[int, Row | None, list[Fault], int]]:
        """See Source."""
        with self._file as file:
            try:
                for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                    size = batch.nbytes // max(1, batch.num_rows)
                    if self._position + batch.num_rows < first_line:
                        self._position += batch.num_rows
                        continue
                    for row in batch.to_pylist():
                        self._position += 1
                        if self._position >= first_line:
                            values = {name: value for name, value in row.items() if value is not None}
                            yield self._position, values, [], size
            except self._errors as error:
                raise UnusableFile(f"{self._path}: {error}") from error


def _check_columns(path: Path, found: list[str], columns: frozenset[str]) -> None:
    unknown = [name for name in found if name not in columns]
    if unknown:
        known = ", ".join(sorted(columns))
        raise UnusableFile(f"{path}: unknown columns {', '.join(unknown)}; known are {known}")
    if len(set(found)) != len(found):
        raise UnusableFile(f"{path}: a column stands twice in its header")


def plain_entries(
    source: Source, read: Callable[[Row], Content], *, first_line: int = 1, identify: tuple[str, ...] = ()
) -> Iterator[Entry[Content]]:
    """Every row as an entry of its own."""
    for line, row, faults, size in source.rows(first_line):
        if row is None:
            yield Entry(line, None, faults, size, {})
            continue
        try:
            content = read(row)
        except UnreadableMessage as unreadable:
            known = {name: row[name] for name in identify if type(row.get(name)) is str}
            yield Entry(line, None, unreadable.faults, size, known)
        else:
            yield Entry(line, content, faults, size, {})

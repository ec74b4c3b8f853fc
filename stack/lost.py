"""The invoices that the logs have and a restored database has not: named in a file, each once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self, TextIO

from core.storage.spans import Numbers
from stack.binlog import Issued

FILE: Final = "issued-after.jsonl"


class Lost:
    """Writes lost invoices down as they are found and keeps only spans of their numbers: there may be millions."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.numbers = Numbers()
        self.count = 0
        self._path = path
        self._file = file

    @classmethod
    @contextmanager
    def listed_in(cls, folder: Path) -> Iterator[Self]:
        """Begins a list in a folder; it is gone after the block unless it was moved by `keep`."""
        path = folder / f".{FILE}.new"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            try:
                yield cls(path, file)
            finally:
                path.unlink(missing_ok=True)

    def note(self, issued: Iterable[Issued]) -> None:
        """Writes down those that are not there yet: two nodes' logs tell of the same ones."""
        for item in issued:
            if self.numbers.add(int(item.number)):
                named = {"number": item.number, "seller_key": item.seller_key, "request_id": item.request_id}
                self._file.write(json.dumps(named) + "\n")
                self.count += 1

    def keep(self, path: Path) -> None:
        """Moves the list, whole, to its place."""
        self._file.flush()
        os.fsync(self._file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(path)

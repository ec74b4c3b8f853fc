"""The file of prepared requests: made once from the tables, so that issuing measures issuing and not the mapping.

Records follow one another: a little-endian u32 length and a serialised IssueInvoiceRequest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import billow

_LENGTH = struct.Struct("<I")


def write(path: Path, requests: Iterable[billow.IssueInvoiceRequest]) -> int:
    """Writes the requests and returns how many; the file appears whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    count = 0
    with unfinished.open("wb") as file:
        for request in requests:
            record = request.SerializeToString(deterministic=True)
            file.write(_LENGTH.pack(len(record)))
            file.write(record)
            count += 1
    unfinished.replace(path)
    return count


def read(path: Path, *, batch_items: int) -> Iterator[list[billow.IssueInvoiceRequest]]:
    """Yields the requests in batches of `batch_items`, the last one perhaps shorter; holds one batch at a time."""
    parse = billow.IssueInvoiceRequest.FromString
    batch: list[billow.IssueInvoiceRequest] = []
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            (size,) = _LENGTH.unpack(head)
            batch.append(parse(file.read(size)))
            if len(batch) == batch_items:
                yield batch
                batch = []
    if batch:
        yield batch

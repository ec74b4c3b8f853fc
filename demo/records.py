"""Files of protobuf messages: what is to be sent is prepared before it is sent, so that sending is measured alone.

Records follow one another: a little-endian u32 length and a serialised message.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import Message

Record = TypeVar("Record", bound=Message)
Write = Callable[[Message], None]

_LENGTH = struct.Struct("<I")


@contextmanager
def writing(path: Path) -> Iterator[Write]:
    """Gives a function that writes one message; the file appears whole when the block ends, or not at all."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("wb") as file:

        def write(message: Message) -> None:
            record = message.SerializeToString(deterministic=True)
            file.write(_LENGTH.pack(len(record)))
            file.write(record)

        yield write
    unfinished.replace(path)


def read(path: Path, parse: Callable[[bytes], Record]) -> Iterator[Record]:
    """Yields the messages; `parse` is the `FromString` of their type."""
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            (size,) = _LENGTH.unpack(head)
            yield parse(file.read(size))


def batches(messages: Iterable[Record], items: int) -> Iterator[list[Record]]:
    """Gathers messages into lists of `items`, the last one perhaps shorter."""
    batch: list[Record] = []
    for message in messages:
        batch.append(message)
        if len(batch) == items:
            yield batch
            batch = []
    if batch:
        yield batch

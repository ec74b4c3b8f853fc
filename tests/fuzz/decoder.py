"""What is fuzzed: a function over bytes that must return, or raise the error that its docstring names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder of outside bytes.

    `decode` catches the documented refusals and lets everything else out; it asserts what must hold of what was read,
    its size included. `seeds` makes good inputs, besides those in tests/fuzz/corpus/{name}. Of a `message` the fields
    are mutated as well as the bytes.
    """

    name: str
    decode: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    bytes_max: int = 64 * 1024  # of an input that a fuzzer makes
    message: type[Message] | None = None

"""Mutations by seed: the same seed makes the same input everywhere, without coverage and without a fuzzer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

INTERESTING = (
    *(b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\xff" * 9 + b"\x01", b"\x00" * 64),
    *(b"-1", b"0", b"99999999999999999999", b"1e9", b"0.0000000000001", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"),
    *(b"\n", b'"', b"<", b"&#0;", b"<!--", b"]]>", b"{", b"[" * 64, b" 0 R", b"/", b"../", b"=", b"\xef\xbb\xbf"),
)
TEXTS = (
    "",
    "0",
    "-1",
    "1e3",
    "٣",
    "１",
    "99999999999999999999",
    "0.00000000000001",
    "a" * 300,
    "\0",
    "\u202e",
    "𠀀",
    " ",
)
NUMBERS = (0, 1, -1, 2, 3, 100, 10**15 - 1, 10**15, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
STEPS_MAX = 6


def mutated(seeds: Sequence[bytes], choice: random.Random, *, bytes_max: int) -> bytes:
    """One of the seeds with 1 to STEPS_MAX changes, at most `bytes_max` long unless the seed is longer."""
    data = bytearray(choice.choice(seeds))
    limit = max(bytes_max, len(data))
    for _ in range(choice.randint(1, STEPS_MAX)):
        _change(data, seeds, choice)
    return bytes(data[:limit])


def _change(data: bytearray, seeds: Sequence[bytes], choice: random.Random) -> None:
    """Makes one change in place."""
    at = choice.randrange(len(data) + 1)
    end = min(len(data), at + choice.choice((1, 1, 2, 4, 16, 256)))
    kind = choice.randrange(7)
    if kind == 0 and data:
        data[at % len(data)] ^= 1 << choice.randrange(8)
    elif kind == 1 and data:
        data[at % len(data)] = choice.randrange(256)
    elif kind == 2:
        del data[at:end]
    elif kind == 3:
        data[at:at] = data[at:end] * choice.choice((1, 1, 2, 30))
    elif kind == 4:
        data[at:end] = choice.choice(INTERESTING)
    elif kind == 5:
        other = choice.choice(seeds)
        start = choice.randrange(len(other) + 1)
        data[at:end] = other[start : start + choice.choice((4, 64, 1_024))]
    else:
        data[at:at] = choice.choice(INTERESTING)


def fields_mutated(seed: bytes, kind: type[Message], choice: random.Random) -> bytes:
    """A message with 1 to STEPS_MAX of its fields changed; of a seed that is none, an empty one."""
    message = kind()
    try:
        message.ParseFromString(seed)
    except DecodeError:
        message.Clear()
    for _ in range(choice.randint(1, STEPS_MAX)):
        owner, field = choice.choice([*places(message)])
        _set(owner, field, choice)
    return message.SerializeToString()


def places(message: Message) -> Iterator[tuple[Message, Any]]:
    """Every field of a message and of those inside it."""
    for field in message.DESCRIPTOR.fields:
        yield message, field
        if field.message_type is None:
            continue
        inside = getattr(message, field.name)
        for item in inside if field.is_repeated else [inside] if message.HasField(field.name) else []:
            yield from places(item)


def _set(owner: Message, field: Any, choice: random.Random) -> None:
    """Gives a field another value, or none, or more of them."""
    if choice.random() < 0.1:
        owner.ClearField(field.name)
    elif field.message_type is not None:
        inside = getattr(owner, field.name)
        if not field.is_repeated:
            inside.SetInParent()
        elif len(inside) and choice.random() < 0.5:
            inside.add().CopyFrom(choice.choice(inside))
        else:
            inside.add()
    elif field.is_repeated:
        getattr(owner, field.name).append(_value(field, choice))
    else:
        setattr(owner, field.name, _value(field, choice))


def _value(field: Any, choice: random.Random) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        text = choice.choice(TEXTS)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return choice.random() < 0.5
    narrow = field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_ENUM)
    return choice.choice([number for number in NUMBERS if not narrow or -(2**31) <= number < 2**31])

"""Messages from plain values, strictly and fast: every unknown key and wrong value is told with its path.

The JSON mapping of protobuf (lowerCamelCase and snake_case keys, integers as numbers or text, enums by name), without
its leniency towards floats. `google.protobuf.json_format` takes 20 to 30 times as long and stops at the first fault.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

Built = TypeVar("Built", bound=Message)
Fault = tuple[str, str]
"""Path of a field and what is wrong with it."""

FAULTS_MAX: Final = 100  # told of one message
_INT_BOUNDS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
}


class UnreadableMessage(ValueError):
    """Values that are no message; ``faults`` has every path and its fault, at most 100."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{path or 'the whole'}: {text}" for path, text in faults))
        self.faults = faults


class _Wrong(Exception):
    """A value that does not fit; the text says why."""


Scalar = Callable[[Any], Any]
"""Gives the value, or raises _Wrong."""
Nested = Callable[[Any, list[Fault]], Any]
"""Gives the value; adds faults with paths relative to it."""


class MessageReader:
    """Turns the values of one type of message into what its constructor takes. Thread-safe after it is made.

    Nested messages stay dicts until the outermost is made: protobuf copies a message that is put into another.
    """

    __slots__ = ("_fields",)

    def __init__(self, descriptor: Descriptor) -> None:
        self._fields: dict[str, tuple[str, type | None, Scalar | None, Nested | None]] = {}
        for field in descriptor.fields:
            entry = (field.name, *_converter(field))
            self._fields[field.name] = entry
            self._fields[field.json_name] = entry

    def read(self, value: Any, faults: list[Fault]) -> dict[str, Any]:
        """The fields by their names in the contract; what is wrong is added to ``faults``."""
        if type(value) is not dict:
            faults.append(("", f"must be an object, not {_kind(value)}"))
            return {}
        known = self._fields
        found: dict[str, Any] = {}
        expected = 0
        for key, raw in value.items():
            field = known.get(key)
            if field is None:
                faults.append((str(key), "unknown field"))
                continue
            if raw is None:
                continue
            name, plain, scalar, nested = field
            expected += 1
            if type(raw) is plain:
                found[name] = raw
            elif scalar is not None:
                try:
                    found[name] = scalar(raw)
                except _Wrong as wrong:
                    faults.append((name, str(wrong)))
                    found[name] = None
            elif nested is not None:
                before = len(faults)
                found[name] = nested(raw, faults)
                if len(faults) > before:
                    _prefix(faults, before, name)
        if len(found) != expected:
            twice = [known[key][0] for key in value if key in known and key != known[key][0] and known[key][0] in value]
            faults.extend((name, "given twice") for name in twice)
        return found


@functools.cache
def reader_of(message: type[Built]) -> Callable[[Any], Built]:
    """A function that makes a ``message`` of a dict, or raises UnreadableMessage with every fault."""
    reader = _reader(message.DESCRIPTOR)

    def read(value: Any) -> Built:
        faults: list[Fault] = []
        fields = reader.read(value, faults)
        if not faults:
            try:
                return message(**fields)
            except (ValueError, TypeError):  # lone surrogates, as CSV readers make them of bytes that are not UTF-8
                faults = list(_not_unicode(fields, "")) or [("", "cannot be sent")]
        raise UnreadableMessage(faults[:FAULTS_MAX])

    return read


@functools.cache
def _reader(descriptor: Descriptor) -> MessageReader:
    return MessageReader(descriptor)


def _prefix(faults: list[Fault], start: int, name: str) -> None:
    for index in range(start, len(faults)):
        path, text = faults[index]
        faults[index] = (f"{name}.{path}" if path and path[0] != "[" else name + path, text)


def _not_unicode(value: Any, path: str) -> Iterator[Fault]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _not_unicode(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _not_unicode(inner, f"{path}[{index}]")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            yield path, "is not UTF-8"


def _kind(value: object) -> str:
    names: Mapping[type, str] = {dict: "an object", list: "a list", str: "text", bool: "a truth value", int: "a number"}
    return names.get(type(value), "a number with decimals" if isinstance(value, float) else type(value).__name__)


def _converter(field: FieldDescriptor) -> tuple[type | None, Scalar | None, Nested | None]:
    """The type that needs no conversion, and what to do with others."""
    if field.message_type is not None:
        if field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
            return None, _timestamp, None
        read = _reader(field.message_type).read
        return None, None, _repeated(read) if field.is_repeated else read
    if field.is_repeated:
        raise TypeError(f"{field.full_name}: repeated fields of plain values are not read")
    if field.enum_type is not None:
        return None, _enum(field.enum_type), None
    if field.cpp_type in _INT_BOUNDS:
        return None, _integer(*_INT_BOUNDS[field.cpp_type]), None
    if field.type == FieldDescriptor.TYPE_STRING:
        return str, _text, None
    if field.type == FieldDescriptor.TYPE_BOOL:
        return bool, _truth, None
    raise TypeError(f"{field.full_name}: this type is not read")


def _repeated(single: Nested) -> Nested:
    def convert(raw: Any, faults: list[Fault]) -> list[Any]:
        if type(raw) is not list:
            faults.append(("", f"must be a list, not {_kind(raw)}"))
            return []
        out = []
        for index, item in enumerate(raw):
            before = len(faults)
            out.append(single(item, faults))
            if len(faults) > before:
                _prefix(faults, before, f"[{index}]")
        return out

    return convert


def _integer(lowest: int, highest: int) -> Scalar:
    def convert(raw: Any) -> int:
        if type(raw) is int:
            value = raw
        elif type(raw) is str and raw.removeprefix("-").isdecimal() and raw.isascii() and len(raw) <= 20:
            value = int(raw)
        else:
            raise _Wrong(f"must be a whole number, not {_kind(raw)}")
        if not lowest <= value <= highest:
            raise _Wrong(f"must be {lowest} to {highest}")
        return value

    return convert


def _enum(kind: EnumDescriptor) -> Scalar:
    zero = kind.values[0].name
    prefix = zero.removesuffix("UNSPECIFIED")
    known: dict[str | int, int] = {value.name: value.number for value in kind.values}
    known |= {value.name.removeprefix(prefix).lower(): value.number for value in kind.values}
    known |= {value.number: value.number for value in kind.values}
    choices = ", ".join(value.name for value in kind.values if value.number)

    def convert(raw: Any) -> int:
        value = known.get(raw) if type(raw) in (str, int) else None
        if value is None:
            raise _Wrong(f"must be one of {choices}")
        return value

    return convert


def _text(raw: Any) -> str:
    if isinstance(raw, Decimal):  # Parquet
        return format(raw, "f")
    raise _Wrong(f"must be text, not {_kind(raw)}")


def _truth(raw: Any) -> bool:
    raise _Wrong(f"must be true or false, not {_kind(raw)}")


def _timestamp(raw: Any) -> Timestamp:
    stamp = Timestamp()
    try:
        stamp.FromJsonString(raw)
    except (ValueError, TypeError, AttributeError) as error:
        raise _Wrong("must be a time such as 2026-01-31T08:00:00Z") from error
    return stamp

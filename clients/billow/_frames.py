"""Batch messages put together from items that are serialised already.

A batch message of the contract is a sequence number and the repeated items. Adding items to a protobuf message copies
each of them, and a broken stream would serialise them all again; joining their bytes costs a fraction and gives the
same bytes on the wire (tests/unit/test_client_frames.py). Items are kept as bytes until they are answered.
"""

from collections.abc import Sequence

_VARINT_CACHE_MAX = 16_384  # nearly all items are shorter


def varint(value: int) -> bytes:
    """``value``, not negative, as a protobuf varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class ItemFramer:
    """Joins serialised items into one message with them as repeated field number ``field`` (1 to 15)."""

    __slots__ = ("_heads", "_tag")

    def __init__(self, *, field: int) -> None:
        self._tag = bytes((field << 3 | 2,))
        self._heads: dict[int, bytes] = {}

    def frame(self, items: Sequence[bytes], *, sequence: int = 0) -> bytes:
        """The message; ``sequence`` goes into field 1 unless it is 0."""
        parts: list[bytes] = []
        if sequence:
            parts.append(b"\x08" + varint(sequence))
        heads = self._heads
        append = parts.append
        for item in items:
            size = len(item)
            head = heads.get(size)
            if head is None:
                head = self._tag + varint(size)
                if size < _VARINT_CACHE_MAX:
                    heads[size] = head
            append(head)
            append(item)
        return b"".join(parts)

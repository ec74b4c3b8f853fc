"""How the bodies of one commit lie in the database: a block, and the runs that number it.

A block holds the prepared bodies and request ids of the invoices of one commit in the order of their positions,
zstd-compressed together: neighbours share most of their bytes. It is made before the numbers are known. The runs,
made inside the transaction, say which positions got which numbers. Both lie in one row of `batches`.

Block, before compression, little-endian: u32 count; count × u32 body length; count × u8 request id length;
the request ids; the bodies. Runs: one after another u32 seller key, u8 kind, 20 digits first number, u32 count.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import zstandard

from core.storage.spans import Span, joined

LEVEL: Final = 1
BLOCK_BYTES_MAX: Final = 256 * 1024 * 1024  # decompressed; a guard against a corrupt header

_COUNT = struct.Struct("<I")
_RUN = struct.Struct("<IB20sI")


class BlockCorrupt(ValueError):
    """A block or its runs cannot be read."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive positions of a batch that got consecutive numbers of one range."""

    seller_key: int
    kind: int
    first_number: str
    count: int

    @property
    def last_number(self) -> str:
        """The number of its last position."""
        return f"{int(self.first_number) + self.count - 1:020d}"


@dataclass(frozen=True, slots=True)
class Block:
    """The prepared bodies of a batch, by position."""

    request_ids: list[str]
    bodies: list[bytes]


def pack(request_ids: Sequence[str], bodies: Sequence[bytes]) -> bytes:
    """Packs and compresses; about 2 µs a three-line invoice. Request ids are ASCII of at most 255 characters."""
    lengths = array("I", map(len, bodies))
    if sys.byteorder == "big":
        lengths.byteswap()
    parts = (
        _COUNT.pack(len(bodies)),
        lengths.tobytes(),
        bytes(map(len, request_ids)),
        "".join(request_ids).encode("ascii"),
        *bodies,
    )
    return zstandard.ZstdCompressor(level=LEVEL).compress(b"".join(parts))


def unpack(data: bytes) -> Block:
    """Reads what `pack` wrote; raises BlockCorrupt."""
    try:
        if zstandard.frame_content_size(data) > BLOCK_BYTES_MAX:  # zstd believes it, whatever max_output_size says
            raise ValueError(f"it says that it has more than {BLOCK_BYTES_MAX} bytes")
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=BLOCK_BYTES_MAX)
        (count,) = _COUNT.unpack_from(raw)
        lengths = array("I", raw[4 : 4 + 4 * count])
        if sys.byteorder == "big":
            lengths.byteswap()
        offset = 4 + 5 * count
        pieces, offset = _split(raw, offset, raw[4 + 4 * count : offset])
        request_ids = [item.decode("ascii") for item in pieces]
        bodies, offset = _split(raw, offset, lengths)
    except (zstandard.ZstdError, struct.error, ValueError) as error:
        raise BlockCorrupt(f"a block cannot be read: {error}") from error
    if offset != len(raw) or len(bodies) != count:
        raise BlockCorrupt("a block has another length than its header says")
    return Block(request_ids=request_ids, bodies=bodies)


def _split(raw: bytes, offset: int, lengths: Iterable[int]) -> tuple[list[bytes], int]:
    """Cuts consecutive pieces of the given lengths; returns them and the offset behind the last."""
    pieces = []
    for length in lengths:
        pieces.append(raw[offset : offset + length])
        offset += length
    return pieces, offset


def pack_runs(runs: Sequence[Run]) -> bytes:
    """Packs the runs of a batch, 29 bytes each."""
    return b"".join(_RUN.pack(run.seller_key, run.kind, run.first_number.encode("ascii"), run.count) for run in runs)


def unpack_runs(data: bytes) -> list[Run]:
    """Reads what `pack_runs` wrote; raises BlockCorrupt."""
    try:
        return [
            Run(seller_key=seller, kind=kind, first_number=first.decode("ascii"), count=count)
            for seller, kind, first, count in _RUN.iter_unpack(data)
        ]
    except (struct.error, UnicodeDecodeError) as error:
        raise BlockCorrupt(f"the runs of a batch cannot be read: {error}") from error


def merged(runs: Iterable[Run]) -> list[Span]:
    """Joins runs that follow each other, as those of a seller in successive batches do."""
    return joined((int(run.first_number), int(run.first_number) + run.count - 1) for run in runs)


def numbers(runs: Sequence[Run]) -> list[str]:
    """Returns the number of every position of a batch."""
    return [f"{int(run.first_number) + offset:020d}" for run in runs for offset in range(run.count)]

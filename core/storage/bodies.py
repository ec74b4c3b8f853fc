"""The bodies of issued invoices, wherever they are: in the block of their batch, or in a segment of the archive."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from core.domain import body
from core.storage import block
from core.storage.ports import BatchRow, InvoiceRow, Segment

UNPACK_IN_THREAD_BYTES: Final = 64 * 1024  # compressed; unpacking more would hold the event loop for a millisecond


class BodyCorrupt(Exception):
    """A stored body is not what was issued: its digest differs, or it is not where it should be (P4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """Reads bodies by asking for batches, segments, and rows of segments, as whoever uses it wants to ask."""

    batch: Callable[[int], Awaitable[BatchRow | None]]
    segment: Callable[[int], Awaitable[Segment | None]]
    archived: Callable[[Segment, int], Awaitable[bytes]]

    async def read(self, row: InvoiceRow) -> bytes:
        """Reads the body of an invoice and checks its digest.

        Raises BodyCorrupt, and what the three raise. 1 round trip, for an archived body 1 more and 1 or 2 to the
        object store.
        """
        batch = await self.batch(row.batch_id)
        if batch is None:
            raise BodyCorrupt(f"invoice {row.issued.number} has no batch {row.batch_id}")
        found = await (self._from_segment(batch, row) if batch.block is None else _from_block(batch.block, row))
        if hashlib.sha256(found).digest() != row.issued.body_sha256:
            raise BodyCorrupt(f"the body of invoice {row.issued.number} is not the one issued")
        return found

    async def _from_segment(self, batch: BatchRow, row: InvoiceRow) -> bytes:
        """Reads a body that has been moved into a segment."""
        if batch.segment_id is None or batch.segment_row is None:
            raise BodyCorrupt(f"batch {batch.batch_id} is neither here nor archived")
        segment = await self.segment(batch.segment_id)
        if segment is None:
            raise BodyCorrupt(f"batch {batch.batch_id} is in segment {batch.segment_id}, which does not exist")
        return await self.archived(segment, batch.segment_row + row.batch_position)


async def _from_block(packed: bytes, row: InvoiceRow) -> bytes:
    """Takes a body out of its block; large ones in a thread."""
    if len(packed) > UNPACK_IN_THREAD_BYTES:
        unpacked = await asyncio.to_thread(block.unpack, packed)
    else:
        unpacked = block.unpack(packed)
    return unpacked.bodies[row.batch_position] + body.suffix(row.issued.issued_at_us, row.issued.number)

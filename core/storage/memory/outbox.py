"""The outbox in memory: the twin of core/storage/mysql/outbox.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import zstandard

from core.storage.ports import BatchRow, Claim, LeaseLost, PackedSegment, Segment

MS = 1_000  # microseconds


@dataclass(slots=True)
class _Lease:
    owner: str
    until_us: int


class MemoryOutboxStore:
    """The OutboxStore over `batches` and `segments`, which other in-memory stores may share. Not thread-safe."""

    def __init__(
        self, *, now_us: Callable[[], int], batches: dict[int, BatchRow], segments: dict[int, Segment]
    ) -> None:
        self._now_us = now_us
        self._batches = batches
        self._segments = segments
        self._leases: dict[int, _Lease] = {}

    async def claim(self, wanted: Claim) -> list[BatchRow]:
        """Leases free batches; see the port."""
        now_us = self._now_us()
        free = sorted(
            (batch for batch in self._batches.values() if batch.segment_id is None and self._is_free(batch, wanted)),
            key=lambda batch: batch.batch_id,
        )
        invoices = sum(batch.items for batch in free)
        full = len(free) >= wanted.batches_max or invoices >= wanted.invoices_max
        picked: list[BatchRow] = []
        invoices_left, bytes_left = wanted.invoices_max, wanted.bytes_max
        age_min_us = wanted.age_min_ms * MS
        if full or any(not now_us - age_min_us < batch.issued_at_us <= now_us + age_min_us for batch in free):
            for batch in free[: wanted.batches_max]:
                if picked and (batch.items > invoices_left or bytes_left <= 0):
                    break
                picked.append(batch)
                invoices_left -= batch.items
                bytes_left -= zstandard.frame_content_size(batch.block or b"")
        for batch in picked:
            self._leases[batch.batch_id] = _Lease(wanted.owner, now_us + wanted.lease_ms * MS)
        return picked

    def _is_free(self, batch: BatchRow, wanted: Claim) -> bool:
        """Tells whether nobody holds the batch."""
        lease, now_us = self._leases.get(batch.batch_id), self._now_us()
        return lease is None or not now_us < lease.until_us <= now_us + wanted.lease_max_ms * MS

    async def release(self, *, owner: str, batch_ids: Sequence[int] | None = None) -> int:
        """Gives leases back; see the port."""
        wanted = self._leases if batch_ids is None else batch_ids
        held = [key for key in wanted if key in self._leases and self._leases[key].owner == owner]
        for batch_id in held:
            del self._leases[batch_id]
        return len(held)

    async def archive(self, *, owner: str, packed: PackedSegment, now_us: int) -> int:
        """Records the segment; see the port."""
        held = [batch for batch in packed.batches if self._holds(owner, batch.batch_id)]
        known = any(segment.object_key == packed.object_key for segment in self._segments.values())
        if known or len(held) != len(packed.batches) or sum(batch.items for batch in held) != packed.invoices:
            raise LeaseLost(f"{len(held)} of {len(packed.batches)} batches are still leased to {owner}")
        segment_id = max(self._segments, default=0) + 1
        self._segments[segment_id] = Segment(
            segment_id=segment_id,
            object_key=packed.object_key,
            sha256=packed.sha256,
            size_bytes=packed.size_bytes,
            invoices=packed.invoices,
            created_at_us=now_us,
            retain_until_us=packed.retain_until_us,
        )
        first_row = 0
        for batch in packed.batches:
            self._batches[batch.batch_id] = replace(
                self._batches[batch.batch_id], block=None, segment_id=segment_id, segment_row=first_row
            )
            del self._leases[batch.batch_id]
            first_row += batch.items
        return segment_id

    def _holds(self, owner: str, batch_id: int) -> bool:
        """Tells whether the owner's lease is still the last one given and the batch is not archived."""
        lease = self._leases.get(batch_id)
        return lease is not None and lease.owner == owner and self._batches[batch_id].segment_id is None

    async def backlog(self) -> tuple[int, int]:
        """Counts what is not archived; see the port."""
        waiting = sorted((key, batch) for key, batch in self._batches.items() if batch.segment_id is None)
        return len(waiting), waiting[0][1].issued_at_us if waiting else 0

"""The archive job: claims batches, packs them into a segment, stores it, and marks them as archived, in this order.

Every invoice ends in exactly one segment (P6) whatever dies when:
- before the object is stored, nothing has happened; the lease runs out, or the slot's next process gives it back;
- between storing and marking, the batches are claimed again. Packed together again they make the same bytes, so the
  same key, and nothing is stored twice. Packed otherwise, the first object stays as an orphan: no row points at it,
  it does no harm, and the audit lists it;
- marking is one transaction that changes exactly the leased, unarchived batches, or nothing (LeaseLost).

There is no sweeper: leases that ran out are simply free for the next claim, and workers look by themselves every
`worker.idle_wait_ms`, so a message lost in Redis costs that long at most. While the object store is away the job
fails, backs off and tries again; the batches wait in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from core.domain.errors import BillowError
from core.limits import CLAIM_BATCHES_MAX, SEGMENT_BYTES_MAX, SEGMENT_INVOICES_MAX
from core.settings import WorkerSettings
from core.storage.ports import BatchRow, Claim, LeaseLost, ObjectStore, OutboxStore, WakeSource
from workers.metrics import WorkerMetrics
from workers.packing import Packing, pack

LOG = logging.getLogger(__name__)

RELEASE_S: Final = 2.0  # for giving leases back when stopped
LOOK_MIN_MS: Final = 250  # between two looks, however many messages come: a look reads all that is not ripe yet


class ArchiveJob:
    """One worker's archive job. `owner` is the same for every process of its slot, one of which lives at a time."""

    name = "archive"

    def __init__(
        self,
        *,
        outbox: OutboxStore,
        objects: ObjectStore,
        wake: WakeSource,
        settings: WorkerSettings,
        retention_days: int,
        metrics: WorkerMetrics,
        owner: str,
        now_us: Callable[[], int],
    ) -> None:
        self._outbox = outbox
        self._objects = objects
        self._wake = wake
        self._settings = settings
        self._retention_days = retention_days
        self._metrics = metrics
        self._owner = owner
        self._now_us = now_us
        self._took_over = False

    async def step(self) -> bool:
        """Archives one segment if there is enough for one; see the port of Loop."""
        if not self._took_over:
            left = await self._outbox.release(owner=self._owner)
            self._took_over = True
            if left:
                LOG.warning("took over leases", extra={"batches": left})
        with self._timed("claim"):
            batches = await self._outbox.claim(self._wanted())
        if not batches:
            return False
        try:
            packing = await self._store(batches)
            with self._timed("mark"):
                segment_id = await self._outbox.archive(owner=self._owner, packed=packing.packed, now_us=self._now_us())
        except LeaseLost as error:
            LOG.warning("lease lost", extra={"batches": len(batches), "reason": str(error)})
            return True
        except BaseException:
            await self._give_back(batches)
            raise
        packed = packing.packed
        self._metrics.archived(packed.invoices, packed.size_bytes)
        LOG.info(
            "segment archived",
            extra={
                "segment_id": segment_id,
                "object_key": packed.object_key,
                "batches": len(packed.batches),
                "invoices": packed.invoices,
                "bytes": packed.size_bytes,
            },
        )
        return True

    def _wanted(self) -> Claim:
        """What to claim for one segment."""
        return Claim(
            owner=self._owner,
            batches_max=CLAIM_BATCHES_MAX,
            invoices_max=SEGMENT_INVOICES_MAX,
            bytes_max=SEGMENT_BYTES_MAX,
            lease_ms=self._settings.lease_ms,
            age_min_ms=self._settings.segment_age_max_ms,
        )

    async def _store(self, batches: Sequence[BatchRow]) -> Packing:
        """Packs the batches and puts the segment into the object store."""
        with self._timed("pack"):
            packing = await asyncio.to_thread(pack, batches, retention_days=self._retention_days)
        for batch_id, reason in packing.refused.items():  # they stay leased, so they are tried again, but not at once
            LOG.error("batch cannot be packed", extra={"batch_id": batch_id, "reason": reason})
            self._metrics.failed("pack")
        with self._timed("put"):
            packed = packing.packed
            await self._objects.put(packed.object_key, packing.data, retain_until_us=packed.retain_until_us)
        return packing

    async def _give_back(self, batches: Sequence[BatchRow]) -> None:
        """Releases leases after a failure; if that fails too they run out."""
        ids = [batch.batch_id for batch in batches]
        with contextlib.suppress(BillowError, TimeoutError):
            async with asyncio.timeout(RELEASE_S):
                await self._outbox.release(owner=self._owner, batch_ids=ids)

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Measures a stage that succeeds."""
        started = time.monotonic()
        yield
        self._metrics.stage(stage, time.monotonic() - started)

    async def idle(self) -> None:
        """Waits until a message says that something was issued, or the time is up."""
        wait_ms = self._settings.idle_wait_ms
        await self._wake.wait(wait_ms)
        await asyncio.sleep(min(LOOK_MIN_MS, wait_ms) / 1_000)


class LagJob:
    """Measures how far the archive is behind."""

    name = "lag"

    def __init__(
        self, *, outbox: OutboxStore, metrics: WorkerMetrics, interval_ms: int, now_us: Callable[[], int]
    ) -> None:
        self._outbox = outbox
        self._metrics = metrics
        self._interval_ms = interval_ms
        self._now_us = now_us

    async def step(self) -> bool:
        """Measures once; see the port of Loop."""
        batches, oldest_us = await self._outbox.backlog()
        lag_s = (self._now_us() - oldest_us) / 1_000_000 if batches else 0.0
        self._metrics.behind(batches, max(0.0, lag_s))
        return False

    async def idle(self) -> None:
        """Waits for the next measurement."""
        await asyncio.sleep(self._interval_ms / 1_000)

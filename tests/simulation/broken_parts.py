"""Parts with a fault each, as somebody might have written them: the simulation must find every one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from core.domain.errors import BillowError, Reason
from core.storage.memory.cache import MemoryVerificationCache
from core.storage.memory.issuing import MemoryIssuingStore
from core.storage.memory.outbox import MemoryOutboxStore, _Lease
from core.storage.memory.red_letter import MemoryRedStore
from core.storage.ports import Answer, BatchRow, Draft, Issued, VerificationEntry
from core.storage.red_letter_port import RedDraft
from server.coalescer import Lane, _Group
from server.services.verification import Entries, VerificationService
from tests.simulation.machines import RETENTION_DAYS, Build
from workers.archive import ArchiveJob
from workers.packing import Packing, pack


class AnswersFirst(MemoryIssuingStore):
    """Answers, and commits a little later."""

    async def commit(self, drafts: Sequence[Draft]) -> list[Answer]:
        tables = self._tables
        invoices, by_request, batches = dict(tables.invoices), dict(tables.by_request), dict(tables.batches)
        used = [(state, state.used) for states in tables.ranges.values() for state in states]
        answers = self._commit(drafts)
        for now in (tables.invoices, tables.by_request, tables.batches):
            now.clear()
        tables.invoices |= invoices
        tables.by_request |= by_request
        tables.batches |= batches
        for state, count in used:
            state.used = count
        asyncio.get_running_loop().call_later(0.02, self._commit, drafts)
        return answers


class NoDigest(MemoryIssuingStore):
    """Takes the request id for the request."""

    async def commit(self, drafts: Sequence[Draft]) -> list[Answer]:
        answers = await super().commit(drafts)
        known = self._tables.by_request
        return [
            known.get((draft.seller_key, draft.request_id), old) for draft, old in zip(drafts, answers, strict=True)
        ]


class NoLock(MemoryIssuingStore):
    """Reads what is used of the ranges before it holds them."""

    async def commit(self, drafts: Sequence[Draft]) -> list[Answer]:
        read = [(state, state.used) for states in self._tables.ranges.values() for state in states]
        await asyncio.sleep(0.002)
        for state, used in read:
            state.used = used
        return self._commit(drafts)


class NoMemory(MemoryIssuingStore):
    """Takes a retry for a new request when it comes alone."""

    async def commit(self, drafts: Sequence[Draft]) -> list[Answer]:
        if len(drafts) == 1:
            self._tables.by_request.pop((drafts[0].seller_key, drafts[0].request_id), None)
        return await super().commit(drafts)


class FragileLane(Lane):
    """A failed commit ends its committer: those who wait for it wait for ever."""

    async def _commit(self, drafts: Sequence[Draft]) -> tuple[list[Answer], list[Issued]]:
        try:
            return await super()._commit(drafts)
        except BillowError:
            raise asyncio.CancelledError from None


class LeakyLane(Lane):
    """Drops what nobody waits for, and goes on counting it."""

    def _drop(self, group: _Group) -> None:
        left = len(group.drafts) - group.taken
        group.answer(group.taken, [BillowError(Reason.DEADLINE_EXCEEDED, "late")] * left)


class NoLease(MemoryOutboxStore):
    """Marks what it packed, whoever has leased it by now."""

    def _holds(self, owner: str, batch_id: int) -> bool:
        self._leases.setdefault(batch_id, _Lease(owner, 0))
        return True


class MarksAnyway(ArchiveJob):
    """Marks a segment though it could not be stored."""

    async def _store(self, batches: Sequence[BatchRow]) -> Packing:
        packing = pack(batches, retention_days=RETENTION_DAYS)
        with contextlib.suppress(BillowError):
            await self._objects.put(
                packing.packed.object_key, packing.data, retain_until_us=packing.packed.retain_until_us
            )
        return packing


class ReplicasWord(VerificationService):
    """Takes a replica's "not found" for the truth."""

    async def _read(self, numbers: Sequence[str]) -> Entries:
        return await self._replicas.verification_entries(numbers)


class OldEntries(MemoryVerificationCache):
    """Keeps what it knows when a red invoice has changed it."""

    async def replace(self, entries: Sequence[VerificationEntry]) -> bool:
        await self.remember(entries, ())
        return True


class ServersTimes(MemoryRedStore):
    """Notes changes by the clock of the server that makes them."""

    def _commit(self, drafts: Sequence[RedDraft]) -> list[Answer]:
        self._time_us, database_us = self._now_us, self._time_us
        try:
            return super()._commit(drafts)
        finally:
            self._time_us = database_us


class NoSums(MemoryRedStore):
    """Compares a red invoice with its blue one alone, not with the reds before it."""

    def _commit(self, drafts: Sequence[RedDraft]) -> list[Answer]:
        before = self._tables.red_sums
        self._tables.red_sums = {}
        answers = super()._commit(drafts)
        for number, sums in before.items():
            now = self._tables.red_sums.setdefault(number, {})
            for line, taken in sums.items():
                if line in now:
                    now[line].net += taken.net
                    now[line].tax += taken.tax
                else:
                    now[line] = taken
        return answers


BROKEN: Final = {
    "answers first": Build(issuing=AnswersFirst),
    "no digest": Build(issuing=NoDigest),
    "numbers outside the lock": Build(issuing=NoLock),
    "retries are new": Build(issuing=NoMemory),
    "a failure forgets its waiters": Build(lane=FragileLane),
    "dropped and still counted": Build(lane=LeakyLane),
    "no lease": Build(outbox=NoLease),
    "marked, not stored": Build(archive=MarksAnyway),
    "the replica's word": Build(verification=ReplicasWord),
    "old entries stay": Build(entries=OldEntries),
    "reds are not summed": Build(reds=NoSums),
    "reds are dated by servers": Build(reds=ServersTimes),
}

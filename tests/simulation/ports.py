"""The ports as one process sees them: the twins behind everything that can go wrong on the way to them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from core.domain.errors import BillowError
from core.storage.memory.cache import MemoryIssueCache, MemoryVerificationCache
from core.storage.memory.reader import MemoryInvoiceReader
from core.storage.ports import (
    Answer,
    BatchRow,
    Claim,
    Draft,
    Issued,
    IssuingStore,
    OutboxStore,
    PackedSegment,
    VerificationEntry,
)
from core.storage.red_letter_port import RedDraft, RedStore
from tests.simulation.loop import Process
from tests.simulation.world import World, away


class Issuing:
    """An IssuingStore."""

    def __init__(self, world: World, process: Process, inner: IssuingStore) -> None:
        self._world, self._process, self._inner = world, process, inner

    async def commit(self, drafts: Sequence[Draft]) -> list[Answer]:
        what = f"commit {' '.join(draft.request_id for draft in drafts)}"
        return await self._world.ask(self._process, what, lambda: self._inner.commit(drafts))


class Answers:
    """An IssueCache: what goes wrong is nothing known, and nothing remembered."""

    def __init__(self, world: World, process: Process, inner: MemoryIssueCache) -> None:
        self._world, self._process, self._inner = world, process, inner

    async def known(self, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Issued]:
        if self._world.cache_away:
            return {}
        try:
            return await self._world.ask(self._process, "known", lambda: self._inner.known(keys))
        except BillowError:
            return {}

    async def remember(
        self, issued: Sequence[Issued], seller_tax_ids: Mapping[int, str], *, answers: bool = True
    ) -> None:
        if self._world.cache_away:
            return
        inner = self._inner.remember
        try:
            await self._world.ask(self._process, "remember", lambda: inner(issued, seller_tax_ids, answers=answers))
        except BillowError:
            self._world.cache_disturbed = True


class Entries:
    """A VerificationCache; absences are the process's own, as in Redis's adapter."""

    def __init__(self, world: World, process: Process, inner: MemoryVerificationCache) -> None:
        self._world, self._process, self._inner = world, process, inner

    async def entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry | None]:
        if self._world.cache_away:
            return {}
        try:
            return await self._world.ask(self._process, "entries", lambda: self._inner.entries(numbers))
        except BillowError:
            self._world.cache_disturbed = True  # what was read instead may be behind
            return {}

    async def remember(self, found: Sequence[VerificationEntry], absent: Sequence[str]) -> None:
        await self._inner.remember((), absent)
        if not found or self._world.cache_away:
            return
        try:
            await self._world.ask(self._process, "remember entries", lambda: self._inner.remember(found, ()))
        except BillowError:
            self._world.cache_disturbed = True

    async def replace(self, entries: Sequence[VerificationEntry]) -> bool:
        if self._world.cache_away:
            return False
        try:
            return await self._world.ask(self._process, "replace", lambda: self._inner.replace(entries))
        except BillowError:
            self._world.cache_disturbed = True
            return False

    async def count_public_checks(self, numbers: Sequence[str], day: int) -> list[int]:
        return await self._inner.count_public_checks(numbers, day)


class Reader(MemoryInvoiceReader):
    """An InvoiceReader, as far as verification needs it. `absent` says until when the latest absences were told."""

    def __init__(self, world: World, process: Process, *, of_replica: bool) -> None:
        super().__init__(tables=world.replica if of_replica else world.tables, registry=world.sellers)  # type: ignore[arg-type]
        self._world, self._process, self._name = world, process, "replica" if of_replica else "primary"
        self.absent: dict[str, float] = {}

    async def verification_entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry]:
        inner = super().verification_entries
        found = await self._world.ask(self._process, f"read {self._name}", lambda: inner(numbers))
        for number in numbers:
            if number not in found:
                self.absent[number] = self._world.loop.time()
        return found


class Reds:
    """A RedStore, as far as issuing and telling need it."""

    def __init__(self, world: World, process: Process, inner: RedStore) -> None:
        self._world, self._process, self._inner = world, process, inner

    async def commit(self, drafts: Sequence[RedDraft]) -> list[Answer]:
        what = f"red commit {' '.join(draft.request_id for draft in drafts)}"
        return await self._world.ask(self._process, what, lambda: self._inner.commit(drafts))

    async def time_us(self) -> int:
        return await self._world.ask(self._process, "time", self._inner.time_us)

    async def changed(self, *, since_us: int, after: str, items_max: int) -> list[str]:
        return await self._world.ask(
            self._process, "changed", lambda: self._inner.changed(since_us=since_us, after=after, items_max=items_max)
        )


class Outbox:
    """An OutboxStore."""

    def __init__(self, world: World, process: Process, inner: OutboxStore) -> None:
        self._world, self._process, self._inner = world, process, inner

    async def claim(self, wanted: Claim) -> list[BatchRow]:
        return await self._world.ask(self._process, "claim", lambda: self._inner.claim(wanted))

    async def release(self, *, owner: str, batch_ids: Sequence[int] | None = None) -> int:
        return await self._world.ask(
            self._process, "release", lambda: self._inner.release(owner=owner, batch_ids=batch_ids)
        )

    async def archive(self, *, owner: str, packed: PackedSegment, now_us: int) -> int:
        what = f"archive {' '.join(str(batch.batch_id) for batch in packed.batches)}"
        return await self._world.ask(
            self._process, what, lambda: self._inner.archive(owner=owner, packed=packed, now_us=now_us)
        )

    async def backlog(self) -> tuple[int, int]:
        return await self._world.ask(self._process, "backlog", self._inner.backlog)


class Objects:
    """An ObjectStore, as far as archiving needs it."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process

    async def put(self, key: str, data: bytes, *, retain_until_us: int) -> None:
        if self._world.objects_away:
            raise away()
        inner = self._world.objects
        await self._world.ask(
            self._process, f"put {key[-16:]}", lambda: inner.put(key, data, retain_until_us=retain_until_us)
        )


class Wakes:
    """A WakeSource: no message ever comes."""

    async def wait(self, timeout_ms: int) -> bool:
        await asyncio.sleep(timeout_ms / 1_000)
        return False

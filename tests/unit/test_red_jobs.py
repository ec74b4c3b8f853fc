"""The worker's red-letter jobs over the twins: old states do not stay in the cache, forms become void (P7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from core.storage.memory.cache import MemoryCacheState, MemoryVerificationCache
from core.storage.memory.red_letter import MemoryFormStore, MemoryRedStore
from core.storage.memory.tables import MemoryTables
from core.storage.ports import VerificationEntry
from core.storage.red_letter_port import Form, FormState
from workers.red_letter import REASSERT_WINDOW_MS, ExpireJob, ReassertJob

NUMBER = "2" * 20
ENTRY = VerificationEntry(NUMBER, 1, 2, 100, 113, -50, "S", "B")
OLD = dataclasses.replace(ENTRY, red_total_minor=0)
CACHED_S = 3_600


class Reader:
    async def verification_entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry]:
        return {NUMBER: ENTRY} if NUMBER in numbers else {}


class Cache(MemoryVerificationCache):
    away = False

    async def replace(self, entries: Sequence[VerificationEntry]) -> bool:
        return False if self.away else await super().replace(entries)


class Setting:
    def __init__(self, *, changed_s_ago: float) -> None:
        self.now_us = 10**15
        self.tables = MemoryTables(red_changed={NUMBER: self.now_us - int(changed_s_ago * 1_000_000)})
        self.state = MemoryCacheState()
        self.cache = Cache(state=self.state, clock=lambda: 0.0)
        self.job = ReassertJob(
            reds=MemoryRedStore(tables=self.tables, now_us=lambda: self.now_us),
            primary=Reader(),  # type: ignore[arg-type]
            entries=self.cache,
            cached_s=CACHED_S,
            now_us=lambda: self.now_us,
        )


async def test_an_old_state_that_comes_late_is_replaced() -> None:
    setting = Setting(changed_s_ago=1)
    for _ in range(2):
        setting.state.entries[NUMBER] = OLD
        assert not await setting.job.step()
        assert setting.state.entries[NUMBER] == ENTRY


async def test_a_cache_that_returns_with_an_old_state_is_told_however_long_it_was_away() -> None:
    setting = Setting(changed_s_ago=1)
    setting.cache.away = True
    for _ in range(3):
        await setting.job.step()
        setting.now_us += REASSERT_WINDOW_MS * 1_000
    setting.cache.away = False
    setting.state.entries[NUMBER] = OLD
    await setting.job.step()
    assert setting.state.entries[NUMBER] == ENTRY


async def test_a_new_worker_begins_where_entries_may_still_be_cached_and_then_looks_at_recent_ones_only() -> None:
    setting = Setting(changed_s_ago=CACHED_S)
    await setting.job.step()
    assert setting.state.entries[NUMBER] == ENTRY
    setting.state.entries[NUMBER] = OLD
    await setting.job.step()
    assert setting.state.entries[NUMBER] == OLD


async def test_what_changed_while_the_clock_was_ahead_is_told_when_it_comes_back() -> None:
    setting = Setting(changed_s_ago=-1)
    setting.now_us += 60_000_000
    await setting.job.step()
    setting.state.entries[NUMBER] = OLD
    await setting.job.step()
    assert setting.state.entries[NUMBER] == OLD, "59 s ago by this clock"
    setting.now_us -= 30_000_000
    await setting.job.step()
    assert setting.state.entries[NUMBER] == ENTRY


async def test_forms_become_void_when_their_time_is_up() -> None:
    tables = MemoryTables()
    for state, expires_at_us in (
        (FormState.WAITING_FOR_BUYER, 10),
        (FormState.CONFIRMED, 10),
        (FormState.NOT_NEEDED, 1),
    ):
        name = state.name
        tables.forms[name] = Form(
            name, 1, name, bytes(32), 1, "S", "B", NUMBER, b"", -1, False, int(state), "", 1, expires_at_us
        )
    now = [9]
    job = ExpireJob(forms=MemoryFormStore(tables=tables, now_us=lambda: now[0]), now_us=lambda: now[0])
    assert not await job.step()
    now[0] = 10
    assert await job.step()
    assert not await job.step()
    assert {form.state for form in tables.forms.values()} == {
        int(FormState.EXPIRED),
        int(FormState.CONFIRMED),
        int(FormState.NOT_NEEDED),
    }

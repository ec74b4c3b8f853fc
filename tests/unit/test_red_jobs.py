"""The worker's red-letter jobs over the twins: old states do not stay in the cache, forms become void (P7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

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
        self.now_us = 10**15  # the database's
        self.now_s = 50.0
        self.tables = MemoryTables(red_changed={NUMBER: self.now_us - int(changed_s_ago * 1_000_000)})
        self.state = MemoryCacheState()
        self.cache = Cache(state=self.state, clock=lambda: 0.0)
        self.job = ReassertJob(
            reds=MemoryRedStore(tables=self.tables, now_us=lambda: 0, time_us=lambda: self.now_us),
            primary=Reader(),  # type: ignore[arg-type]
            entries=self.cache,
            cached_s=CACHED_S,
            clock=lambda: self.now_s,
        )

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.now_us += int(seconds * 1_000_000)


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
        setting.pass_time(REASSERT_WINDOW_MS / 1_000)
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


@pytest.mark.parametrize("jump_s", [60, -60, 86_400])
async def test_when_the_databases_clock_is_set_everything_cached_is_told_again(jump_s: int) -> None:
    setting = Setting(changed_s_ago=1)
    await setting.job.step()
    setting.pass_time(60)
    await setting.job.step()
    setting.state.entries[NUMBER] = OLD
    setting.pass_time(1)
    await setting.job.step()
    assert setting.state.entries[NUMBER] == OLD, "62 s ago"
    setting.now_us += jump_s * 1_000_000
    setting.pass_time(1)
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

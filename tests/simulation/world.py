"""The world of a history: what MySQL, Redis and S3 would hold, the way to them, and the notes of what happened."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextvars import copy_context
from typing import Any, TypeVar

from core.domain.errors import BillowError, Reason
from core.storage.allocation import RangeState
from core.storage.memory.cache import MemoryCacheState
from core.storage.memory.objects import MemoryObjectStore
from core.storage.memory.tables import MemoryTables
from core.storage.ports import SellerRecord
from tests.simulation.faults import FREEZE_S_MAX, JUMP_S_MAX, TIMEOUT_S, Faults, Kind
from tests.simulation.loop import PROCESS, Loop, Process

Result = TypeVar("Result")

SELLERS = (1, 2)
KIND = 2  # general invoices
DATABASE = "database"
EPOCH_US = 1_790_000_000_000_000
START = 26 * 10**18


class Broken(AssertionError):
    """A promise is broken. `promise` is its name."""

    def __init__(self, promise: str, words: str) -> None:
        super().__init__(f"{promise}: {words}")
        self.promise = promise


def away() -> BillowError:
    """The error of a store that cannot be asked."""
    return BillowError(Reason.STORAGE_UNAVAILABLE, "away")


class Sellers:
    """The registry as far as it is needed: two sellers, always known."""

    def __init__(self) -> None:
        self._records = [SellerRecord(key, key, f"s{key}", "cn", _Party(f"tax{key}"), 0) for key in SELLERS]  # type: ignore[arg-type]

    async def sellers_by_key(self, keys: Sequence[int]) -> list[SellerRecord]:
        """As RegistryStore."""
        return [record for record in self._records if record.seller_key in keys]

    def tax_ids(self, keys: Iterable[int]) -> dict[int, str]:
        """As SellerDirectory."""
        return {key: f"tax{key}" for key in keys}


class _Party:
    def __init__(self, tax_id: str) -> None:
        self.tax_id = tax_id


class World:
    """The shared truth, with its faults. `trace` is the history in words, whose digest names it."""

    def __init__(self, seed: int, kinds: Collection[Kind]) -> None:
        self.loop = Loop(random.Random(f"{seed} order"))
        self.choice = random.Random(f"{seed} clients")
        self.faults = Faults(random.Random(f"{seed} faults"), kinds)
        self.trace: list[str] = []
        self.tables = MemoryTables()
        self.replica = MemoryTables()
        self.cache = MemoryCacheState()
        self.cache_away = False
        self.cache_disturbed = False  # whether the cache may have missed something
        self.objects = MemoryObjectStore()
        self.objects_away = False
        self.database = Process(DATABASE)
        self.sellers = Sellers()
        self.offset_us: dict[str, int] = {}  # how far clocks are off
        size = self.choice.choice((6, 40, 1_000))
        for seller in SELLERS:
            for place, ranges in enumerate((self.tables.ranges, self.tables.red_ranges)):
                first = START + seller * 10**12 + place * 10**9
                many = size if place == 0 else 50
                ranges[seller, KIND] = [
                    RangeState(10 * seller + 4 * place + part, first + part * 10**6, many, 0) for part in (1, 2)
                ]

    def note(self, words: str) -> None:
        """Adds a line to the trace."""
        self.trace.append(f"{self.loop.time():9.4f} {words}")

    def digest(self) -> str:
        """Names the history: two with the same digest were the same."""
        held = [*self.trace, *map(repr, self.tables.invoices.values()), *map(repr, self.tables.segments.values())]
        return hashlib.sha256("\n".join(held).encode()).hexdigest()

    def clock(self, name: str) -> Callable[[], int]:
        """The wall clock of a process, µs."""
        return lambda: EPOCH_US + int(self.loop.time() * 1_000_000) + self.offset_us.get(name, 0)

    async def ask(self, process: Process, what: str, effect: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """One call of a port by a process, with what goes wrong with it; raises STORAGE_UNAVAILABLE.

        The effect belongs to the store: it goes on when the caller is cancelled or killed.
        """
        fault = self.faults.at_call()
        self.note(f"{process.name} {what}{f': {fault}' if fault else ''}")
        await asyncio.sleep(self.faults.travel_s())
        if fault is Kind.KILL_BEFORE:
            await self._end(process)
        elif fault is Kind.FREEZE:
            await self._freeze(process)
        elif fault is Kind.SLOW:
            await asyncio.sleep(self.faults.pause_s(TIMEOUT_S))
        elif fault is Kind.HANG and self.faults.coin():
            await asyncio.sleep(TIMEOUT_S)
            raise away()
        elif fault is Kind.FAIL_BEFORE:
            raise away()
        result = await asyncio.shield(self.database.spawn(self.loop, effect()))
        if fault is Kind.KILL_AFTER:
            await self._end(process)
        elif fault is Kind.HANG:
            await asyncio.sleep(TIMEOUT_S)
        if fault in (Kind.HANG, Kind.FAIL_AFTER):
            raise away()
        await asyncio.sleep(self.faults.travel_s())
        return result

    async def _end(self, process: Process) -> None:
        """kill -9, from inside: never returns."""
        process.kill()
        await self.loop.create_future()

    async def _freeze(self, process: Process) -> None:
        """SIGSTOP, and SIGCONT some time later; what comes next runs after that."""
        process.frozen = True
        lasting_s = self.faults.pause_s(FREEZE_S_MAX)
        outside = copy_context()
        outside.run(PROCESS.set, self.database)
        self.loop.call_later(lasting_s, process.thaw, self.loop, context=outside)
        await asyncio.sleep(0)

    async def go_wrong(self) -> None:
        """What goes wrong of itself, until the world is healed; and the replica that follows."""
        while True:
            wait_s, kind = self.faults.next_event()
            await asyncio.sleep(wait_s)
            self.replicate()
            if not self.faults.on or kind is None:
                continue
            self.note(f"world: {kind}")
            if kind is Kind.CACHE_FLUSH:
                self.cache_disturbed = True
                self.cache.answers.clear()
                self.cache.entries.clear()
            elif kind is Kind.CACHE_AWAY:
                self.cache_disturbed = True
                self.cache_away = not self.cache_away
            elif kind is Kind.OBJECTS_AWAY:
                self.objects_away = not self.objects_away
            else:
                # the database's once, and it stays: set there and back between two looks, it hides what changed then
                names = ("server-0", "server-1", *(() if DATABASE in self.offset_us else (DATABASE,)), "worker-0")
                name = self.choice.choice(names)
                self.offset_us[name] = self.faults.jump_us(JUMP_S_MAX)

    def replicate(self) -> None:
        """The replica catches up."""
        self.replica.invoices = dict(self.tables.invoices)

    def heal(self) -> None:
        """Everything works again."""
        self.note("world: healed")
        self.faults.on = self.cache_away = self.objects_away = False
        self.offset_us = {name: off for name, off in self.offset_us.items() if name == DATABASE}
        self.replicate()

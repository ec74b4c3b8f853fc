"""Servers and workers made of the real code, which die and come back with empty memories."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

from prometheus_client import CollectorRegistry

from core.settings import WorkerSettings
from core.storage.memory.cache import MemoryIssueCache, MemoryVerificationCache
from core.storage.memory.issuing import MemoryIssuingStore
from core.storage.memory.outbox import MemoryOutboxStore
from core.storage.memory.red_letter import MemoryRedStore
from server.admission import Admission
from server.coalescer import Lane
from server.services.issuing import IssuingService
from server.services.red_letter import RedLetterService
from server.services.verification import VerificationService
from tests.simulation import ports
from tests.simulation.loop import ConnectionLost, Process
from tests.simulation.world import DATABASE, World
from workers.archive import ArchiveJob
from workers.loop import Job
from workers.loop import Loop as JobLoop
from workers.metrics import WorkerMetrics
from workers.red_letter import ReassertJob

Result = TypeVar("Result")

WAIT_MAX_MS = 120_000  # a server's patience: more than all that can go wrong with a call, so that none may run out
WORKER = WorkerSettings(lease_ms=2_000, segment_age_max_ms=1_500, idle_wait_ms=1_000)
RETENTION_DAYS = 3_650
CACHED_S = 3_600


@dataclass(frozen=True, slots=True)
class Build:
    """What is simulated; tests of the simulation put broken parts here."""

    lane: type[Lane] = Lane
    issuing: type[MemoryIssuingStore] = MemoryIssuingStore
    reds: type[MemoryRedStore] = MemoryRedStore
    outbox: type[MemoryOutboxStore] = MemoryOutboxStore
    answers: type[MemoryIssueCache] = MemoryIssueCache
    entries: type[MemoryVerificationCache] = MemoryVerificationCache
    verification: type[VerificationService] = VerificationService
    archive: type[ArchiveJob] = ArchiveJob


class Silent:
    """Metrics of lanes and of verification: nobody looks."""

    def committed(self, lane: str, items: int, duration_s: float) -> None: ...
    def queue(self, lane: str, items: Callable[[], int]) -> None: ...
    def replayed(self, lane: str, items: int) -> None: ...
    def verified(self, outcome: str, items: int) -> None: ...
    def read(self, what: str, source: str) -> None: ...


class GaveUp(Exception):
    """The client waited no longer."""


class Machine:
    """A slot in which a process runs; when it is killed another one is started there a little later."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.process = Process(name)

    async def keep(self) -> None:
        """Starts a process again whenever the one before is dead."""
        while True:
            self.process = Process(self.name)
            self.start()
            gone = self.world.loop.create_future()
            self.process.calls[gone] = None
            with contextlib.suppress(ConnectionLost):
                await gone
            self.world.note(f"{self.name} is dead")
            await asyncio.sleep(self.world.faults.pause_s(2.0))

    def start(self) -> None:
        """Builds what runs in the process."""
        raise NotImplementedError


class Server(Machine):
    """A server process behind a network."""

    def __init__(self, world: World, name: str, build: Build, room: int) -> None:
        super().__init__(world, name)
        self._build = build
        self._room = room
        self.primary: ports.Reader

    def start(self) -> None:
        """Builds the services inside the process, so that their tasks belong to it."""
        self.process.context.copy().run(self._build_services)

    def _build_services(self) -> None:
        world, build, process = self.world, self._build, self.process
        now_us = world.clock(self.name)
        loop = world.loop
        issuing = build.issuing(tables=world.tables, now_us=now_us)
        answers = ports.Answers(world, process, build.answers(state=world.cache))
        entries = ports.Entries(world, process, build.entries(state=world.cache, clock=loop.time))

        def lane(name: str, beside: Lane | None) -> Lane:
            return build.lane(
                name=name,
                store=ports.Issuing(world, process, issuing),
                cache=answers,
                seller_tax_ids=world.sellers.tax_ids,
                metrics=Silent(),
                wait_max_ms=WAIT_MAX_MS,
                beside=beside,
                remembers=beside is None,
                crowds=beside is None,
                admission=Admission(lane=name, items_max=self._room, clock=loop.time, draw=world.choice.random),
            )

        interactive = lane("interactive", None)
        self.lanes = (interactive, lane("bulk", interactive))
        self.issuing = IssuingService(
            interactive=interactive, bulk=self.lanes[1], wait_max_ms=WAIT_MAX_MS, clock=loop.time
        )
        self.primary = ports.Reader(world, process, of_replica=False)
        self.verification = build.verification(
            cache=entries,
            replicas=ports.Reader(world, process, of_replica=True),
            primary=self.primary,
            metrics=Silent(),
            now_us=now_us,
            wait_max_ms=WAIT_MAX_MS,
        )
        reds = build.reds(tables=world.tables, now_us=now_us, time_us=world.clock(DATABASE))
        self.reds = RedLetterService(
            store=cast(Any, ports.Reds(world, process, reds)),
            reading=cast(Any, None),
            sellers=cast(Any, world.sellers),
            primary=self.primary,
            issue_cache=answers,
            entries=entries,
            wait_max_ms=WAIT_MAX_MS,
        )

    async def call(self, work: Callable[[], Coroutine[Any, Any, Result]], patience_s: float | None = None) -> Result:
        """Has the server do something; raises what it raises, ConnectionLost, or GaveUp."""
        loop, process = self.world.loop, self.process
        if process.dead:
            await asyncio.sleep(0.05)
            raise ConnectionLost(self.name)
        reply: asyncio.Future[Result] = loop.create_future()
        process.calls[reply] = None
        task = process.spawn(loop, work())
        task.add_done_callback(lambda done: _hand_over(done, reply))
        await asyncio.wait((reply,), timeout=patience_s)
        process.calls.pop(reply, None)
        if not reply.done():
            reply.cancel()
            task.cancel()
            raise GaveUp
        return reply.result()

    def now_s(self) -> float:
        """The clock of deadlines."""
        return self.world.loop.time()


def _hand_over(task: asyncio.Task[Result], reply: asyncio.Future[Result]) -> None:
    """Brings the result of a handler to its client."""
    if reply.done():
        return
    if task.cancelled():
        reply.set_exception(ConnectionLost("cancelled"))
    elif (error := task.exception()) is not None:
        reply.set_exception(error)
    else:
        reply.set_result(task.result())


class Worker(Machine):
    """A worker process: it archives, and keeps balances in the cache."""

    def __init__(self, world: World, name: str, build: Build, outbox: MemoryOutboxStore) -> None:
        super().__init__(world, name)
        self._build = build
        self._outbox = outbox

    def start(self) -> None:
        """Starts its loops."""
        world, process, now_us = self.world, self.process, self.world.clock(self.name)
        archive = self._build.archive(
            outbox=ports.Outbox(world, process, self._outbox),
            objects=cast(Any, ports.Objects(world, process)),
            wake=ports.Wakes(),
            settings=WORKER,
            retention_days=RETENTION_DAYS,
            metrics=worker_metrics(),
            owner=self.name,
            now_us=now_us,
        )
        reds = self._build.reds(tables=world.tables, now_us=now_us, time_us=world.clock(DATABASE))
        reassert = ReassertJob(
            reds=cast(Any, ports.Reds(world, process, reds)),
            primary=ports.Reader(world, process, of_replica=False),
            entries=ports.Entries(world, process, self._build.entries(state=world.cache, clock=world.loop.time)),
            cached_s=CACHED_S,
            clock=world.loop.time,
        )
        jobs: tuple[Job, ...] = (archive, reassert) if self.name == "worker-0" else (archive,)
        loops = JobLoop(stop_grace_ms=1_000, chance=world.choice.random, failed=lambda _: None)
        for job in jobs:
            process.spawn(world.loop, loops.run(job, asyncio.Event()))


@cache
def worker_metrics() -> WorkerMetrics:
    """One set of metrics for all histories: they are dear to make."""
    return WorkerMetrics(CollectorRegistry())

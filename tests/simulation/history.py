"""One history: a seed, some clients, what goes wrong; then healing, and the promises."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from core.storage.memory.outbox import MemoryOutboxStore
from tests.simulation import promises
from tests.simulation.clients import Client, Ledger
from tests.simulation.faults import Kind
from tests.simulation.loop import Stuck
from tests.simulation.machines import Build, Machine, Server, Worker
from tests.simulation.world import DATABASE, Broken, World

ARCHIVE_S_MAX = 400.0  # of virtual time, when all works: a clock may have been ahead, and leases run out
THOROUGHLY_EVERY = 8  # histories whose segments are read: that costs as much as the rest


@dataclass(frozen=True, slots=True)
class Shape:
    """How much happens in a history; a failing one is made smaller by these."""

    seed: int
    clients: int = 3
    operations: int = 8
    kinds: frozenset[Kind] = field(default_factory=lambda: frozenset(Kind))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a history. `broken` names the promise; `trace` is what happened, in words."""

    shape: Shape
    broken: str
    words: str
    digest: str
    trace: list[str]
    answers: int
    steps: int


def run(shape: Shape, build: Build | None = None) -> Outcome:
    """Runs a history; the same shape of the same build makes the same history, whenever and wherever."""
    world = World(shape.seed, shape.kinds)
    ledger = Ledger()
    broken = words = ""
    with _quiet(shape.seed):
        try:
            world.loop.run(_history(world, ledger, shape, build or Build()))
            promises.check(world, ledger, thoroughly=shape.seed % THOROUGHLY_EVERY == 0)
        except Broken as error:
            broken, words = error.promise, str(error)
        except Stuck as error:
            broken, words = "P9", str(error)
        except Exception as error:  # noqa: BLE001 -- a fault of the code is what is looked for
            broken, words = "fault", repr(error)
    return Outcome(shape, broken, words, world.digest(), world.trace, ledger.answers, world.loop.steps)


async def _history(world: World, ledger: Ledger, shape: Shape, build: Build) -> None:
    """All that happens."""
    room = world.choice.choice((6, 12, 1_000))
    servers = [Server(world, f"server-{slot}", build, room) for slot in range(2)]
    outbox = build.outbox(now_us=world.clock(DATABASE), batches=world.tables.batches, segments=world.tables.segments)
    machines: list[Machine] = [*servers, *(Worker(world, f"worker-{slot}", build, outbox) for slot in range(2))]
    world.replicate()
    clients = [Client(world, f"client-{place}", servers, ledger) for place in range(shape.clients)]
    background = [asyncio.ensure_future(machine.keep()) for machine in machines]
    background.append(asyncio.ensure_future(world.go_wrong()))
    await asyncio.sleep(0.01)
    await asyncio.gather(*(client.work(shape.operations) for client in clients))
    world.heal()
    for machine in machines:
        machine.process.thaw(world.loop)
    await asyncio.sleep(4)  # what hangs, ends; what is dead, comes back; balances are in the cache again
    await clients[0].finish(list(ledger.drafts), list(ledger.reds))
    await _archived(world, outbox)
    world.replicate()
    await clients[0].verify_all()
    await _closed(servers)
    for task in background:
        task.cancel()
    if world.loop.complaints:
        raise Broken("fault", world.loop.complaints[0])


async def _archived(world: World, outbox: MemoryOutboxStore) -> None:
    """Waits until the archive has caught up (P6)."""
    until_s = world.loop.time() + ARCHIVE_S_MAX
    while (await outbox.backlog())[0]:
        if world.loop.time() > until_s:
            raise Broken("P6", "the archive does not catch up though all works")
        await asyncio.sleep(1)


async def _closed(servers: list[Server]) -> None:
    """Stops the servers: nothing may be left in a queue, and nobody waiting."""
    for server in servers:
        try:
            async with asyncio.timeout(60):
                for lane in server.lanes:
                    await lane.close()
                await server.reds.close()
                await server.verification.close()
        except TimeoutError:
            raise Broken("P9", f"{server.name} does not stop: something waits for ever") from None
        for lane in server.lanes:
            if lane._admission.items:
                raise Broken("P9", f"{server.name}: {lane._admission.items} items are counted and not there")
    await asyncio.sleep(0)


@contextlib.contextmanager
def _quiet(seed: int) -> Iterator[None]:
    """Seeds what draws from the module `random` (pauses between tries), and silences the log of all that goes wrong."""
    state, disabled = random.getstate(), logging.root.manager.disable
    random.seed(seed)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        random.setstate(state)

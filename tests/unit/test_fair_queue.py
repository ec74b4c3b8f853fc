"""Tenants in turn: nobody starves, nothing is lost, and a lock goes on when its next owner has gone away."""

from __future__ import annotations

import asyncio
import random

import pytest

from server.fair_queue import FairQueue, FairTurn


def drained(queue: FairQueue[tuple[str, int]], commit: int = 100) -> list[tuple[str, int]]:
    """Takes everything in commits of a size; returns what each slice took."""
    left: dict[int, int] = {}
    slices = []
    while queue:
        room = commit
        while queue and room:
            entry = queue.first()
            rest = left.get(id(entry), entry[1])
            take = min(rest, queue.allowance(room))
            left[id(entry)] = rest - take
            queue.spend(take, done=take == rest)
            slices.append((entry[0], take))
            room -= take
    return slices


def test_tenants_share_a_commit_however_much_one_has_brought() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(quantum=25)
    for number in range(10):
        queue.push(1, (f"greedy {number}", 100))
    queue.push(2, ("modest", 30))
    slices = drained(queue)
    assert slices[:4] == [("greedy 0", 25), ("modest", 25), ("greedy 0", 25), ("modest", 5)]
    assert sum(take for name, take in slices if name != "modest") == 1_000


def test_a_tenant_alone_is_not_cut() -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(quantum=25)
    queue.push(1, ("alone", 250))
    assert drained(queue) == [("alone", 100), ("alone", 100), ("alone", 50)]


def test_order_within_a_tenant_stays_and_nobody_starves() -> None:
    draw = random.Random(7)
    queue: FairQueue[tuple[str, int]] = FairQueue(quantum=10)
    brought: dict[int, list[tuple[str, int]]] = {tenant: [] for tenant in range(20)}
    for number in range(500):
        tenant = draw.choice((0, 0, 0, 0, draw.randrange(20)))
        entry = (f"{tenant}-{number}", draw.randint(1, 40))
        brought[tenant].append(entry)
        queue.push(tenant, entry)
    slices = drained(queue)
    for tenant, entries in brought.items():
        seen = list(dict.fromkeys(name for name, _ in slices if name.startswith(f"{tenant}-")))
        assert seen == [name for name, _ in entries]
    first_lap = slices[:60]
    assert {int(name.partition("-")[0]) for name, _ in first_lap} == {t for t, entries in brought.items() if entries}


async def line(turn: FairTurn, order: list[str], name: str, tenant: int, cost: int = 500) -> None:
    async with turn.of(tenant, cost):
        order.append(name)
        await asyncio.sleep(0)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_turn_goes_from_tenant_to_tenant() -> None:
    turn, order = FairTurn(quantum=500), list[str]()
    await turn.acquire(0, 1)
    tasks = [asyncio.create_task(line(turn, order, f"greedy {n}", 1)) for n in range(4)]
    tasks += [asyncio.create_task(line(turn, order, f"modest {n}", 2)) for n in range(2)]
    await settle()
    turn.release()
    await asyncio.gather(*tasks)
    assert order == ["greedy 0", "modest 0", "greedy 1", "modest 1", "greedy 2", "greedy 3"]


@pytest.mark.parametrize("granted", [False, True])
async def test_who_goes_away_holds_nobody_up(granted: bool) -> None:
    turn, order = FairTurn(quantum=500), list[str]()
    await turn.acquire(0, 1)
    leaving = asyncio.create_task(line(turn, order, "leaving", 1))
    staying = asyncio.create_task(line(turn, order, "staying", 2))
    await settle()
    if granted:
        turn.release()  # to the one that leaves before it runs
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    if not granted:
        turn.release()
    await staying
    assert order == ["staying"]
    await asyncio.wait_for(turn.acquire(3, 1), 1)

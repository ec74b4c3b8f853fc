"""Who is the primary and which replicas are fresh, while nodes hang, die and fall behind (P7, P10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest

from core.domain.errors import BillowError, Reason
from core.settings import Address, load
from core.storage.mysql.pool import read
from core.storage.mysql.topology import Topology
from stack import Stack
from stack.mariadb import root


class Seen:
    """Remembers what the topology reports."""

    def __init__(self) -> None:
        self.roles: dict[Address, str] = {}
        self.ages_s: dict[Address, list[float]] = {}
        self.semi_sync_on: dict[Address, bool] = {}
        self.stalls_s: dict[Address, float] = {}

    def node(self, address: Address, *, role: str, age_s: float | None) -> None:
        self.roles[address] = role
        if age_s is not None:
            self.ages_s.setdefault(address, []).append(age_s)

    def semi_sync(self, address: Address, on: bool) -> None:
        self.semi_sync_on[address] = on

    def commit_stall(self, address: Address, stall_s: float) -> None:
        self.stalls_s[address] = stall_s


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
async def topology(data_stores: Stack, seen: Seen) -> AsyncIterator[Topology]:
    watching = Topology(settings=load(data_stores.config_path).mysql, metrics=seen)
    await watching.start()
    yield watching
    await watching.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (the topology has no reason to tell anybody)
        await asyncio.sleep(0.05)


@contextmanager
def on_replica(stack: Stack, change: str, undo: str) -> Iterator[None]:
    """Runs a statement on the replica, and another at the end."""
    with root(stack.folder, stack.state, stack.state.replica) as cursor:
        cursor.execute(change)
        try:
            yield
        finally:
            cursor.execute(undo)


def is_known(topology: Topology) -> bool:
    try:
        topology.primary()
    except BillowError:
        return False
    return True


async def test_the_nodes_are_told_apart_by_looking(data_stores: Stack, topology: Topology, seen: Seen) -> None:
    settings = load(data_stores.config_path).mysql
    assert topology.primary().node.address == settings.primary
    assert [node.address for node in topology.replicas().nodes] == list(settings.replicas)
    assert topology.replicas() is topology.replicas()
    assert seen.roles == {settings.primary: "primary", settings.replicas[0]: "replica"}
    assert seen.semi_sync_on == {settings.primary: True}


async def test_a_replica_that_falls_behind_is_not_asked(data_stores: Stack, topology: Topology) -> None:
    with on_replica(data_stores, "STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD"):
        with root(data_stores.folder, data_stores.state, data_stores.state.primary) as cursor:
            cursor.execute("CREATE TABLE billow.topology_test (a INT) ENGINE=InnoDB")
            cursor.execute("DROP TABLE billow.topology_test")
        await until(lambda: not topology.replicas().nodes)
        assert is_known(topology)
        assert topology.replicas().pick() is None
    await until(lambda: len(topology.replicas().nodes) == 1)


@contextmanager
def delayed(stack: Stack, delay_s: int) -> Iterator[None]:
    """Keeps the replica this far behind the primary."""

    def delay(seconds: int) -> None:
        with root(stack.folder, stack.state, stack.state.replica) as cursor:
            for sql in ("STOP SLAVE", f"CHANGE MASTER TO MASTER_DELAY = {seconds:d}", "START SLAVE"):
                cursor.execute(sql)

    delay(delay_s)
    try:
        yield
    finally:
        delay(0)


async def test_a_replica_that_is_always_a_little_behind_is_asked(data_stores: Stack, seen: Seen) -> None:
    settings = replace(load(data_stores.config_path).mysql, replica_lag_max_ms=20_000)
    watching = Topology(settings=settings, metrics=seen)
    ages_s = seen.ages_s.setdefault(settings.replicas[0], [])

    async def write() -> None:  # so that each look finds a position that the replica has not reached
        while True:
            await watching.primary().write("UPDATE fencing SET confirmations = confirmations + 1")
            await asyncio.sleep(0.05)

    def caught_up() -> int:
        return sum(after < before for before, after in pairwise(ages_s))

    await watching.start()
    writing = asyncio.create_task(write())
    try:
        with delayed(data_stores, 2):
            await until(lambda: bool(ages_s) and ages_s[-1] > 1.5)
            ages_s.clear()
            await until(lambda: caught_up() >= 3)
            assert min(ages_s) > settings.probe_interval_ms / 1_000  # it is behind by more than a look, all the time
            assert len(watching.replicas().nodes) == 1
            assert not writing.done()
    finally:
        writing.cancel()
        await watching.close()


async def test_nobody_sleeps_through_a_failover_waiting_for_a_replica(data_stores: Stack) -> None:
    watching = Topology(settings=replace(load(data_stores.config_path).mysql, replica_lag_max_ms=600_000))
    await watching.start()
    waits = "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'SELECT MASTER_GTID_WAIT(%'"
    try:
        with on_replica(data_stores, "STOP SLAVE SQL_THREAD", "START SLAVE SQL_THREAD"):
            await watching.primary().write("UPDATE fencing SET confirmations = confirmations + 1")
            with root(data_stores.folder, data_stores.state, data_stores.state.replica) as cursor:
                await until(lambda: bool(cursor.execute(waits)))
            with on_replica(data_stores, "SET GLOBAL read_only = 0", "SET GLOBAL read_only = 1"):
                await until(lambda: not is_known(watching))  # two take writes now, and it has looked at both
    finally:
        await watching.close()


async def test_without_news_of_the_primary_no_replica_is_fresh(data_stores: Stack, topology: Topology) -> None:
    primary = data_stores.state.primary
    data_stores.pause(primary)
    try:
        await until(lambda: not topology.replicas().nodes)
        await until(lambda: not is_known(topology))
    finally:
        data_stores.resume(primary)
    await until(lambda: is_known(topology) and len(topology.replicas().nodes) == 1)
    assert await topology.primary().rows("SELECT 1") == [(1,)]


async def test_whoever_waits_for_a_frozen_primary_is_let_go(data_stores: Stack) -> None:
    settings = replace(load(data_stores.config_path).mysql, connect_timeout_ms=600_000)
    watching = Topology(settings=settings)
    await watching.start()
    uses = (watching.primary(), watching.issuing())
    assert [await use.rows("SELECT 1") for use in uses] == [[(1,)], [(1,)]]  # each has one connection now
    data_stores.pause(data_stores.state.primary)
    try:
        asked = [
            asyncio.create_task(use.rows("SELECT 1")) for use in uses for _ in range(3)
        ]  # the others must open one
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert [end.reason for end in ends if isinstance(end, BillowError)] == [Reason.STORAGE_UNAVAILABLE] * 6
        assert not is_known(watching)
    finally:
        data_stores.resume(data_stores.state.primary)
    await until(lambda: is_known(watching))
    assert await watching.issuing().rows("SELECT 1") == [(1,)]
    await watching.close()


async def test_a_killed_primary_is_known_again_when_it_is_back(data_stores: Stack, topology: Topology) -> None:
    before = topology.primary()
    assert await before.rows("SELECT 1") == [(1,)]
    data_stores.kill(data_stores.state.primary)
    with pytest.raises(BillowError) as error:
        await before.rows("SELECT 1")
    assert error.value.reason is Reason.STORAGE_UNAVAILABLE
    await until(lambda: not is_known(topology))
    await asyncio.to_thread(data_stores.wait_healthy, data_stores.state.primary)
    await until(lambda: is_known(topology) and len(topology.replicas().nodes) == 1)
    assert await topology.primary().rows("SELECT 1") == [(1,)]


async def test_a_killed_replica_is_left_out_until_it_is_back(data_stores: Stack, topology: Topology) -> None:
    data_stores.kill(data_stores.state.replica)
    await until(lambda: not topology.replicas().nodes)
    await asyncio.to_thread(data_stores.wait_healthy, data_stores.state.replica)
    await until(lambda: len(topology.replicas().nodes) == 1)
    (node,) = topology.replicas().nodes
    assert await read(node, "SELECT 1") == [(1,)]


async def test_of_two_writable_nodes_none_is_written_to(data_stores: Stack, topology: Topology) -> None:
    with on_replica(data_stores, "SET GLOBAL read_only = 0", "SET GLOBAL read_only = 1"):
        await until(lambda: not is_known(topology))
    await until(lambda: is_known(topology) and len(topology.replicas().nodes) == 1)


async def test_it_starts_without_any_node(data_stores: Stack) -> None:
    data_stores.pause(data_stores.state.primary)
    data_stores.pause(data_stores.state.replica)
    watching = Topology(settings=load(data_stores.config_path).mysql)
    try:
        await watching.start()
        assert not is_known(watching)
        assert watching.replicas().nodes == ()
        data_stores.resume(data_stores.state.primary)
        data_stores.resume(data_stores.state.replica)
        await until(lambda: is_known(watching) and len(watching.replicas().nodes) == 1)
    finally:
        data_stores.resume(data_stores.state.primary)
        data_stores.resume(data_stores.state.replica)
        await watching.close()

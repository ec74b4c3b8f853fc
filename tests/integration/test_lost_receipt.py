"""A receipt that is lost on its way stops all commits for ever: seen, and made good by who has received (P1, P10)."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from core.settings import Address, load
from core.storage.mysql.topology import Topology
from stack import Stack, StackError, StackOptions
from stack.mariadb import root, variables
from stack.replication import sequence, slave_status
from tests.chaos.faults.fault import Site
from tests.chaos.proxy import Link, Loop, Proxy, Rule

WAIT_S = 90.0
RECEIPT = 0xEF  # how one begins, after the four bytes of every packet
REPLICA = "mysql-2"


class Swallow(Rule):
    """Everything passes but receipts."""

    async def up(self, link: Link, data: bytes) -> bytes:
        return b"" if len(data) > 4 and data[4] == RECEIPT else data


class Seen:
    """Remembers what the topology reports."""

    def __init__(self) -> None:
        self.stalls_s: dict[Address, float] = {}

    def node(self, address: Address, *, role: str, age_s: float | None) -> None:
        pass

    def semi_sync(self, address: Address, on: bool) -> None:
        pass

    def commit_stall(self, address: Address, stall_s: float) -> None:
        self.stalls_s[address] = stall_s


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = StackOptions(parts=frozenset({"mysql"}))
    with Stack(run_dir=tmp_path_factory.mktemp("receipts"), options=options) as made:
        with root(made.folder, made.state, made.state.primary) as cursor:
            cursor.execute("CREATE TABLE billow.receipts (serial INT PRIMARY KEY)")
        yield made


@pytest.fixture
def proxy(stack: Stack) -> Iterator[Proxy]:
    """Between the replica and the primary."""
    with Loop() as loop:
        made = Proxy(target=stack.state.ports[stack.state.primary], loop=loop)
        made.open()
        with root(stack.folder, stack.state, REPLICA) as cursor:
            cursor.execute("STOP SLAVE")
            cursor.execute("CHANGE MASTER TO MASTER_PORT = %s", (made.port,))
            cursor.execute("START SLAVE")
        until(lambda: well(stack))
        yield made
        made.close()


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def well(stack: Stack) -> bool:
    status = stack.replication()
    return status.running and status.replicas == 1


def applied(stack: Stack) -> int:
    """The last transaction that the replica has."""
    return sequence(stack.replication().replica_gtid)


@contextmanager
def committing(stack: Stack, serial: int) -> Iterator[threading.Event]:
    """A commit under way in a thread; the event: it was acknowledged. It must be, at the end of the block."""
    acknowledged = threading.Event()

    def work() -> None:
        with root(stack.folder, stack.state, stack.state.primary, read_s=int(WAIT_S)) as cursor:
            cursor.execute("INSERT INTO billow.receipts (serial) VALUES (%s)", (serial,))
        acknowledged.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield acknowledged
    thread.join(WAIT_S)
    assert acknowledged.is_set()


@contextmanager
def stalled(stack: Stack, proxy: Proxy, serial: int) -> Iterator[Callable[[], bool]]:
    """Two commits whose receipts are lost with the connection; lends what tells whether either was acknowledged.

    One alone would be released by the next commit's receipt; behind two, none gets into the binary log.
    """
    before = applied(stack)
    proxy.begin(Swallow)
    with committing(stack, serial) as first:
        until(lambda: stack.replication().waits_s > 0)
        with committing(stack, serial + 1) as second:
            until(lambda: applied(stack) == before + 2)
            proxy.heal(cut=True)
            until(lambda: well(stack) and stack.replication().stalled)
            yield lambda: first.is_set() or second.is_set()


def test_a_lost_receipt_is_seen_and_given_again(stack: Stack, proxy: Proxy) -> None:
    with stalled(stack, proxy, 10) as any_acknowledged:
        with root(stack.folder, stack.state, REPLICA) as cursor:  # a new connection by GTID does not help
            cursor.execute("STOP SLAVE IO_THREAD")
            cursor.execute("START SLAVE IO_THREAD")
        until(lambda: well(stack))
        assert stack.replication().stalled
        assert not any_acknowledged()
        assert asyncio.run(stall_reported(stack)) == stack.mysql_primary

        assert stack.release() == REPLICA
    with root(stack.folder, stack.state, REPLICA) as cursor:
        assert slave_status(cursor)["Using_Gtid"] == "Slave_Pos"
    with committing(stack, 12):
        pass
    assert well(stack)
    assert stack.replication().waits_s == 0
    assert stack.release() is None


async def stall_reported(stack: Stack) -> Address:
    """Waits until the topology of a server reports that commits stand still; returns where."""
    seen = Seen()
    topology = Topology(settings=load(stack.config_path).mysql, metrics=seen)
    await topology.start()
    async with asyncio.timeout(WAIT_S):
        while not any(seen.stalls_s.values()):  # noqa: ASYNC110 (the topology has no reason to tell anybody)
            await asyncio.sleep(0.05)
    await topology.close()
    return next(address for address, stall_s in seen.stalls_s.items() if stall_s)


def test_what_no_replica_has_is_not_released(stack: Stack, proxy: Proxy) -> None:
    proxy.begin(Silent)
    before = applied(stack)
    with committing(stack, 20) as acknowledged:
        until(lambda: stack.replication().waits_s >= 3)
        assert not stack.replication().stalled
        with pytest.raises(StackError, match="nothing was released"):
            stack.release()
    assert applied(stack) > before  # it has been acknowledged since because the replica now follows without the proxy
    assert acknowledged.is_set()


class Silent(Rule):
    """The primary is not heard."""

    async def down(self, link: Link, data: bytes) -> bytes:
        return b""


def test_a_chaos_run_heals_it(stack: Stack, proxy: Proxy) -> None:
    site = Site(stack=stack, random=random.Random(1))
    with stalled(stack, proxy, 30):
        site.wait_until_well()
    assert site.releases == 1
    with root(stack.folder, stack.state, REPLICA) as cursor:
        position = variables(cursor, "VARIABLES", "gtid_slave_pos")["gtid_slave_pos"]
    assert position == stack.replication().primary_gtid

"""The primary changes under load: nothing acknowledged is lost or issued twice, no call fails (P1, P2, P3, P10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import grpc
import pytest

from core.domain.errors import BillowError, Reason
from core.settings import load
from core.storage.mysql.topology import Topology
from stack import DATA_STORES, Stack, StackError, StackOptions
from stack.mariadb import root, variables
from tests.support.every_rpc import REQUESTS, open_world
from tests.support.platform import Tenant, admin, new_tenant, request_of

CALLERS = 4
WAIT_S = 60
REACHED_S = 1.0


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Three database nodes, two servers behind Envoy. Whatever the tests do to it, the audit then finds nothing."""
    options = StackOptions(replicas=2, servers=2, parts=DATA_STORES | {"server", "envoy"})
    with Stack(run_dir=tmp_path_factory.mktemp("three"), options=options) as stack:
        yield stack
        admin(stack, "audit")


def ask(stack: Stack, node: str, sql: str) -> list[dict[str, object]]:
    """Asks a node as root."""
    with root(stack.folder, stack.state, node) as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def position(stack: Stack, node: str) -> str:
    """Where a node's binary log ends."""
    with root(stack.folder, stack.state, node) as cursor:
        return variables(cursor, "VARIABLES", "gtid_binlog_pos")["gtid_binlog_pos"]


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not happened():  # noqa: ASYNC110 (other processes set no event)
            await asyncio.sleep(0.05)


def is_known(topology: Topology) -> bool:
    try:
        topology.primary()
    except BillowError:
        return False
    return True


class Load:
    """Callers that issue one invoice after the other, and what they were told."""

    def __init__(self, tenant: Tenant, seller_id: str) -> None:
        self.tenant = tenant
        self.seller_id = seller_id
        self.numbers: dict[str, str] = {}
        self.failed: list[str] = []
        self.stopping = False

    async def call(self, name: str) -> None:
        """Issues until it is told to stop."""
        serial = 0
        while not self.stopping:
            serial += 1
            await self.issue(f"{name}-{serial}")

    async def issue(self, request_id: str) -> None:
        """Issues once; the deadline is 30 s."""
        try:
            issued = await self.tenant.issue(request_of(self.seller_id, request_id))
            self.numbers[request_id] = issued.number
        except grpc.aio.AioRpcError as error:
            self.failed.append(f"{request_id}: {error.code()} {error.details()}")

    async def more(self, count: int = 20) -> None:
        """Waits until so many more are issued."""
        wanted = len(self.numbers) + count
        await until(lambda: len(self.numbers) >= wanted or bool(self.failed))


@asynccontextmanager
async def calling(stack: Stack) -> AsyncIterator[Load]:
    """Issues inside the block; after it everything acknowledged must be there, once, without a gap."""
    async with new_tenant(stack) as tenant:
        load = Load(tenant, await tenant.seller())
        callers = [asyncio.create_task(load.call(f"caller{number}")) for number in range(CALLERS)]
        try:
            await load.more()
            yield load
            await load.more()
        finally:
            load.stopping = True
            await asyncio.gather(*callers)
        assert load.failed == []
        answers = await asyncio.gather(
            *(tenant.issue(request_of(load.seller_id, request_id)) for request_id in list(load.numbers)[::7])
        )
        assert [item.number for item in answers] == list(load.numbers.values())[::7]
        sql = "SELECT i.number, i.request_id FROM billow.invoices i JOIN billow.sellers s USING (seller_key) JOIN"
        sql += f" billow.tenants t ON t.tenant_key = s.tenant_key WHERE t.tenant_id = 'tenant-{tenant.serial}'"
        rows = {str(row["number"]): bytes(row["request_id"]).decode() for row in ask(stack, stack.state.primary, sql)}  # type: ignore[call-overload]
        assert {request_id: number for number, request_id in rows.items()} == load.numbers
        serials = sorted(map(int, rows))
        assert serials == list(range(serials[0], serials[0] + len(serials)))


@pytest.mark.parametrize(
    ("kill", "reachable"),
    [(True, True), (False, True), (False, False)],
    ids=["killed", "told to stop", "cut off while clients reach it"],
)
async def test_the_primary_changes_under_load(three: Stack, kill: bool, reachable: bool) -> None:
    old = three.state.primary
    before = ask(three, old, "SELECT epoch FROM billow.fencing")
    async with calling(three) as load:
        new = await asyncio.to_thread(three.failover, kill=kill, reachable=reachable)
        assert new != old
        await load.more()
        if not kill and not reachable:
            (writable,) = ask(three, old, "SELECT @@read_only AS read_only, epoch FROM billow.fencing")
            assert writable == {"read_only": 0, **before[0]}  # it would take writes, and nobody writes to it
        await asyncio.to_thread(three.rejoin, old)
        await load.more()
    assert three.state.outside == ()
    epochs = [ask(three, node, "SELECT epoch FROM billow.fencing")[0]["epoch"] for node in three.state.nodes]
    assert epochs == [int(str(before[0]["epoch"])) + 1] * 3


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "killed"])
async def test_every_call_waits_for_the_new_primary(three: Stack, frozen: bool) -> None:
    old = three.state.primary
    async with grpc.aio.insecure_channel(f"{three.envoy.host}:{three.envoy.port}") as channel:
        world = await open_world(three, channel, f"world-{frozen:d}", 1 + frozen * 20_000)
        requests = {name: await make(world) for name, make in REQUESTS.items()}
        if frozen:
            three.pause(old)
        calls = [asyncio.create_task(world.call(name, request)) for name, request in requests.items()]
        if frozen:
            await asyncio.sleep(REACHED_S)  # what has reached it by then is never answered
        await asyncio.to_thread(three.failover)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.to_thread(three.rejoin, old)
        failed = {
            name: str(answer)
            for name, answer in zip(requests, answers, strict=True)
            if isinstance(answer, BaseException) or "UNAVAILABLE" in str(answer)
        }
        assert failed == {}


async def hanging(stack: Stack, load: Load, request_id: str) -> asyncio.Task[None]:
    """Cuts the primary off from its replicas and has a commit wait there that nobody receives."""
    old = stack.state.primary
    for node in stack.state.replicas:
        ask(stack, node, "STOP SLAVE IO_THREAD")
    await asyncio.sleep(0.2)
    at = position(stack, old)
    call = asyncio.create_task(load.issue(request_id))
    await until(lambda: position(stack, old) != at)
    assert not call.done()
    return call


@pytest.mark.parametrize("recovered", [False, True], ids=["in the log only", "in the tables too"])
async def test_a_tail_that_nobody_received_does_not_come_back(three: Stack, recovered: bool) -> None:
    old = three.state.primary
    async with new_tenant(three) as tenant:
        load = Load(tenant, await tenant.seller())
        await load.issue("before")
        call = await hanging(three, load, "tail")
        tail = position(three, old)
        if recovered:  # the primary comes back by itself first, with the tail: and still nobody is told of it
            three.kill(old)
            await asyncio.to_thread(three.wait_healthy, old)
            await asyncio.sleep(1.0)
            sql = f"SELECT COUNT(*) AS n FROM billow.invoices WHERE number = '{int(load.numbers['before']) + 1:020d}'"
            assert ask(three, old, sql) == [{"n": 1}]
            assert not call.done()
        new = await asyncio.to_thread(three.failover)
        await call
        assert load.failed == []
        await asyncio.to_thread(three.rejoin, old)
        await load.issue("after")
        first, second, third = (int(load.numbers[name]) for name in ("before", "tail", "after"))
        assert (second, third) == (first + 1, first + 2)
        sql = f"SELECT number, issued_at_us FROM billow.invoices WHERE number >= '{first:020d}' ORDER BY number LIMIT 3"
        await until(lambda: ask(three, old, sql) == ask(three, new, sql))
        assert tail.split("-")[1:] != position(three, new).split("-")[1:]


async def test_a_server_that_slept_through_a_failover_writes_nothing_to_the_old_primary(three: Stack) -> None:
    old = three.state.primary
    async with calling(three) as load:
        three.pause("server-1")
        try:
            await asyncio.to_thread(three.failover, kill=False, reachable=False)
            at = position(three, old)
        finally:
            three.resume("server-1")
        await load.more(60)
        assert position(three, old).split("-")[1] == at.split("-")[1]
        await asyncio.to_thread(three.rejoin, old)


async def test_what_holds_an_earlier_epoch_cannot_write(three: Stack) -> None:
    topology = Topology(settings=load(three.config_path).mysql)
    await topology.start()
    try:
        held = topology.primary()
        node = topology.primary().node.address
        raised = await asyncio.to_thread(admin, three, "epoch", "raise", "--node", f"{node.host}:{node.port}")
        assert raised["epoch"] == held.epoch + 1
        with pytest.raises(BillowError) as refused:
            await held.write("UPDATE tenants SET display_name = 'x'")
        assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
        async with held.connection() as connection:
            with pytest.raises(BillowError):
                await held.begin(connection)
        await until(lambda: is_known(topology) and topology.primary().epoch == held.epoch + 1)
        assert (await topology.primary().write("UPDATE tenants SET display_name = display_name")).rows == 0
    finally:
        await topology.close()


async def test_a_primary_that_waits_for_no_replica_is_not_used(three: Stack) -> None:
    topology = Topology(settings=load(three.config_path).mysql)
    await topology.start()
    try:
        assert is_known(topology)
        ask(three, three.state.primary, "SET GLOBAL rpl_semi_sync_master_enabled = OFF")
        try:
            await until(lambda: not is_known(topology))
        finally:
            ask(three, three.state.primary, "SET GLOBAL rpl_semi_sync_master_enabled = ON")
    finally:
        await topology.close()


def test_without_a_replica_nothing_is_promoted(three: Stack) -> None:
    old = three.state.primary
    three.failover()
    three.failover()
    with pytest.raises(StackError, match="no replica"):
        three.failover()
    for node in three.state.outside:
        three.rejoin(node)
    assert old in three.state.nodes
    assert three.replication().replicas == 2

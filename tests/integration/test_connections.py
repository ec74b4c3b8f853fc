"""Connections to a database that accepts them and then says nothing, as a frozen one does (P10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest

from core.domain.errors import BillowError, Reason
from core.settings import Address, MySQLSettings, load
from core.storage.mysql.pool import LENT_S, LOCK_WAIT_S, Access, Node, Primary, rows
from stack import Stack
from tests.chaos.faults.network import Forgotten
from tests.chaos.proxy import Loop, Proxy

NEVER_MS = 600_000
HANGS_S = 30.0


class Silent:
    """A server that accepts every connection and never greets."""

    def __init__(self) -> None:
        self.calls = 0
        self.called = asyncio.Condition()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self.called:
            self.calls += 1
            self.called.notify_all()
        await reader.read()
        writer.close()

    async def until_called(self) -> None:
        async with self.called:
            await self.called.wait_for(lambda: self.calls > 0)


@pytest.fixture
async def silent() -> AsyncIterator[tuple[Silent, Address]]:
    server = Silent()
    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    yield server, Address(host, port)
    listening.close()


def node_at(address: Address, *, connect_timeout_ms: int, connections: int = 8) -> Node:
    settings = MySQLSettings(
        primary=address,
        user="billow",
        password="",
        connect_timeout_ms=connect_timeout_ms,
        pool_connections=connections,
    )
    return Node(settings, address)


async def use(node: Node) -> None:
    async with node.connection():
        pytest.fail("nobody has greeted")


async def reason_of(waiting: Awaitable[object]) -> Reason:
    with pytest.raises(BillowError) as error:
        async with asyncio.timeout(HANGS_S):
            await waiting
    return error.value.reason


async def test_a_server_that_never_greets_costs_the_time_limit(silent: tuple[Silent, Address]) -> None:
    server, address = silent
    node = node_at(address, connect_timeout_ms=50)
    assert await reason_of(use(node)) is Reason.STORAGE_UNAVAILABLE
    assert server.calls == 1


async def test_a_drop_ends_opening_and_whoever_waits_for_room(silent: tuple[Silent, Address]) -> None:
    server, address = silent
    node = node_at(address, connect_timeout_ms=NEVER_MS, connections=1)
    asked = [asyncio.create_task(use(node)) for _ in range(3)]
    await server.until_called()
    node.drop()
    await asyncio.sleep(0)
    node.drop()  # while the first one is still being felt
    assert [await reason_of(task) for task in asked] == [Reason.STORAGE_UNAVAILABLE] * 3
    assert server.calls == 1, "those who had asked before must not call the node again"


async def test_a_drop_ends_what_is_under_way(data_stores: Stack) -> None:
    settings = load(data_stores.config_path).mysql
    node = Node(settings, settings.primary)

    async def sleep() -> object:
        async with node.connection() as connection:
            lent.set()
            return await rows(connection, "SELECT SLEEP(600)")

    lent = asyncio.Event()
    sleeping = asyncio.create_task(sleep())
    await lent.wait()
    node.drop()
    assert await reason_of(sleeping) is Reason.STORAGE_UNAVAILABLE
    async with node.connection() as connection:
        assert await rows(connection, "SELECT 1") == [(1,)]
    node.drop()


async def test_a_connection_that_was_forgotten_on_the_way_is_given_up_with_the_free_ones(
    data_stores: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LENT_S, Access.WRITES, 0.3)
    settings = load(data_stores.config_path).mysql
    with Loop() as loop:
        proxy = Proxy(target=settings.primary.port, loop=loop)
        proxy.open()
        primary = Primary(Node(settings, Address("127.0.0.1", proxy.port), access=Access.WRITES))
        async with primary.connection(), primary.connection():
            pass  # two are open and free
        proxy.begin(Forgotten)
        assert await reason_of(primary.rows("SELECT 1")) is Reason.STORAGE_UNAVAILABLE
        assert await primary.rows("SELECT 1") == [(1,)], "a new one, not the other old one"
        proxy.heal()
        primary.node.drop()
        proxy.close()


async def test_whoever_waits_too_long_for_a_lock_leaves_no_session_behind(data_stores: Stack) -> None:
    settings = load(data_stores.config_path).mysql
    node = Node(settings, settings.primary, access=Access.WRITES)
    async with node.connection() as connection:
        ((lock_wait_s,),) = await rows(connection, "SELECT @@innodb_lock_wait_timeout")
    node.drop()
    assert lock_wait_s == LOCK_WAIT_S < (LENT_S[Access.WRITES] or 0)


async def test_a_connection_is_kept_after_success_only(data_stores: Stack) -> None:
    settings = load(data_stores.config_path).mysql
    node = Node(settings, settings.primary)

    async def lend(*, fail: bool = False, statement: str = "SELECT CONNECTION_ID()") -> int:
        async with node.connection() as connection:
            number = int((await rows(connection, "SELECT CONNECTION_ID()"))[0][0])
            await rows(connection, statement)
            if fail:
                raise LookupError
            return number

    first = await lend()
    assert await lend() == first
    with pytest.raises(LookupError):
        await lend(fail=True)
    second = await lend()
    assert second != first
    assert await lend(statement="START TRANSACTION") == second  # left inside a transaction: not kept
    third = await lend()
    assert third not in {first, second}
    node.drop()


async def test_a_connection_that_the_server_ended_is_not_lent_again(data_stores: Stack) -> None:
    settings = load(data_stores.config_path).mysql
    node, other = Node(settings, settings.primary), Node(settings, settings.primary)
    async with node.connection() as connection:
        number = (await rows(connection, "SELECT CONNECTION_ID()"))[0][0]
    async with other.connection() as connection:
        await rows(connection, "KILL %s", (number,))
        listed = "SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = %s"
        while await rows(connection, listed, (number,)):  # noqa: ASYNC110 (the server has no event for it)
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # for its last word to arrive
    async with node.connection() as connection:
        assert await rows(connection, "SELECT 1") == [(1,)]
    for item in (node, other):
        item.drop()

"""Every RPC through Envoy while a part is away: what may be repeated is answered as if nothing happened (P5, P6, P10).

Failovers are in test_failover.py. A new RPC gets its request in tests/support/every_rpc.py, and its place in ONCE here
when it must not be repeated once it may have reached a server.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from billow.types.v1 import invoice_pb2
from stack import DATA_STORES, Stack, StackOptions, edge
from tests.support.every_rpc import METHODS, REQUESTS, open_world
from tests.support.platform import admin, new_tenant, request_of

# a repeat would make a second one, be refused as a duplicate, or end a secret that is still in use
ONCE = {"CreateTenant", "CreateApiKey", "CreateSeller", "AddNumberRange", "CreateEndpoint", "RotateSecret"}
STREAMS = {name for name, method in METHODS.items() if method.client_streaming or method.server_streaming}
SERVERS = ("server-1", "server-2")
FROZEN_S = 3.0
ALL_FROZEN_S = 6.0  # Envoy counts them as gone after 4.5 s
ANSWERED_S = 20.0
KILLS = 3
UNDER_WAY = 300
UNDER_WAY_S = 0.05
REFUSED = {grpc.StatusCode.RESOURCE_EXHAUSTED}
_serials = itertools.count(1)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two servers behind Envoy, two replicas, Redis, the object store. In the end the audit finds nothing."""
    options = StackOptions(replicas=2, servers=2, parts=DATA_STORES | {"server", "envoy"})
    with Stack(run_dir=tmp_path_factory.mktemp("every"), options=options) as stack:
        yield stack
        admin(stack, "audit")


async def failed(
    stack: Stack,
    *,
    before: Callable[[], object] = lambda: None,
    during: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> dict[str, str]:
    """Makes every call at once and returns what failed; a part is broken and mended before, during and after them.

    A call that was not answered before `after` mended it has failed, whatever it says then.
    """
    serial = next(_serials)
    async with grpc.aio.insecure_channel(f"{stack.envoy.host}:{stack.envoy.port}") as channel:
        world = await open_world(stack, channel, f"every-{serial}", serial * 20_000)
        requests = {name: await make(world) for name, make in REQUESTS.items()}
        await asyncio.to_thread(before)
        try:
            calls = [asyncio.create_task(world.call(name, request)) for name, request in requests.items()]
            await asyncio.sleep(0)
            await asyncio.to_thread(during)
            _, late = await asyncio.wait(calls, timeout=ANSWERED_S)
        finally:
            await asyncio.to_thread(after)
        answers = await asyncio.gather(*calls, return_exceptions=True)
    return {
        name: str(answer)
        for name, call, answer in zip(requests, calls, answers, strict=True)
        if call in late or isinstance(answer, BaseException) or "UNAVAILABLE" in str(answer)
    }


@pytest.mark.parametrize("part", ["redis", "mysql-2"])
async def test_what_only_helps_may_be_frozen(two: Stack, part: str) -> None:
    assert await failed(two, before=lambda: two.pause(part), after=lambda: two.resume(part)) == {}


@pytest.mark.parametrize("part", ["redis", "mysql-2", "s3", "mysql-1"])
async def test_every_call_outlives_a_store_that_is_killed_and_comes_back(two: Stack, part: str) -> None:
    assert await failed(two, before=lambda: two.kill(part), after=lambda: two.wait_healthy(part)) == {}


async def test_every_call_waits_for_a_frozen_object_store(two: Stack) -> None:
    def thaw() -> None:
        time.sleep(FROZEN_S)
        two.resume("s3")

    assert await failed(two, before=lambda: two.pause("s3"), during=thaw) == {}


async def test_no_call_notices_that_a_server_is_restarted(two: Stack) -> None:
    lost = await failed(two, during=lambda: two.restart("server-1"))
    for name in STREAMS:  # they are told to go on at another
        lost.pop(name, None)
    assert lost == {}


async def test_calls_on_a_frozen_server_are_repeated_on_another(two: Stack) -> None:
    lost = await failed(two, before=lambda: two.pause("server-1"), after=lambda: two.resume("server-1"))
    assert {name: words for name, words in lost.items() if name not in ONCE | STREAMS} == {}
    await asyncio.to_thread(two.wait_healthy, "server-1")


async def test_every_call_waits_when_all_servers_are_frozen(two: Stack) -> None:
    def freeze() -> None:
        for name in SERVERS:
            two.pause(name)

    def thaw() -> None:
        time.sleep(ALL_FROZEN_S)
        for name in SERVERS:
            two.resume(name)

    lost = await failed(two, before=freeze, during=thaw)
    assert {name: words for name, words in lost.items() if name not in ONCE | STREAMS} == {}


async def test_calls_on_a_killed_server_are_repeated_on_another(two: Stack) -> None:
    lost: dict[str, str] = {}
    for _ in range(KILLS):
        lost |= await failed(two, during=lambda: two.kill("server-1"), after=lambda: two.wait_healthy("server-1"))
    assert {name: words for name, words in lost.items() if name not in ONCE | STREAMS} == {}


@pytest.mark.parametrize("killed", [SERVERS[:1], SERVERS], ids=["one", "all"])
async def test_all_that_killed_servers_had_under_way_is_repeated(two: Stack, killed: tuple[str, ...]) -> None:
    async with new_tenant(two) as tenant:
        seller_id = await tenant.seller()
        calls = [asyncio.create_task(tenant.issue(request_of(seller_id, f"{serial}"))) for serial in range(UNDER_WAY)]
        await asyncio.sleep(UNDER_WAY_S)
        assert not all(call.done() for call in calls)
        for name in killed:
            await asyncio.to_thread(two.kill, name)
        answers = await asyncio.gather(*calls, return_exceptions=True)
    # the server that is left may refuse what it would not finish in time (P9): that is told, and nothing else is
    refused = [item for item in answers if isinstance(item, grpc.aio.AioRpcError) and item.code() in REFUSED]
    serials = sorted(int(item.number) for item in answers if isinstance(item, invoice_pb2.IssuedInvoice))
    assert len(serials) + len(refused) == UNDER_WAY, answers
    assert serials == list(range(serials[0], serials[0] + len(serials)))
    for name in killed:
        await asyncio.to_thread(two.wait_healthy, name)


def routes(stack: Stack) -> list[dict[str, Any]]:
    """Envoy's routes, in their order."""
    configs = json.loads(edge.admin(stack.state, "config_dump") or "")["configs"]
    (dump,) = (config for config in configs if "static_route_configs" in config)
    found: list[dict[str, Any]] = dump["static_route_configs"][0]["route_config"]["virtual_hosts"][0]["routes"]
    return found


def fits(path: str, match: dict[str, Any]) -> bool:
    """Whether a route is that of a path."""
    if "safe_regex" in match:
        return re.fullmatch(match["safe_regex"]["regex"], path) is not None
    return path == match["path"] if "path" in match else path.startswith(match["prefix"])


def test_the_edge_repeats_what_may_have_reached_a_server_only_where_that_is_right(two: Stack) -> None:
    table = routes(two)
    repeated = set()
    for name, method in METHODS.items():
        path = f"/{method.containing_service.full_name}/{name}"
        route = next(route for route in table if fits(path, route["match"]))
        if "reset" in route["route"]["retry_policy"]["retry_on"]:
            repeated.add(name)
    assert repeated == set(METHODS) - ONCE - STREAMS

"""What operators and tools ask of a server: health per service, reflection, channelz, metrics, a clean stop."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from pathlib import Path

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from billow.issuance.v1 import issuance_pb2
from stack import Stack
from tests.support.platform import new_tenant, request_of

SERVICES = [
    "",
    "billow.issuance.v1.IssuanceService",
    "billow.verification.v1.VerificationService",
    "billow.registry.v1.RegistryService",
    "billow.delivery.v1.DeliveryService",
]


def metrics_of(stack: Stack, name: str) -> dict[str, float]:
    """The process's metrics, by name with labels."""
    address = stack.address(f"{name}-metrics")
    with urllib.request.urlopen(f"http://{address.host}:{address.port}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_is_healthy(running_stack: Stack, service: str) -> None:
    for address in running_stack.servers:
        async with grpc.aio.insecure_channel(f"{address.host}:{address.port}") as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_channelz_tells_of_connections_on_a_private_socket(running_stack: Stack) -> None:
    async with grpc.aio.insecure_channel(f"unix:{running_stack.folder.root}/channelz-1.sock") as channel:
        stub = channelz_pb2_grpc.ChannelzStub(channel)
        servers = (await stub.GetServers(channelz_pb2.GetServersRequest())).server
    address = running_stack.servers[0]
    sockets = [socket.name for server in servers for socket in server.listen_socket]
    assert any(str(address.port) in name for name in sockets), sockets


async def test_metrics_count_what_was_issued(running_stack: Stack) -> None:
    def issued() -> float:
        return sum(
            value
            for name in ("server-1", "server-2")
            for key, value in metrics_of(running_stack, name).items()
            if key.startswith("billow_issued_items_total")
        )

    before = await asyncio.to_thread(issued)
    async with new_tenant(running_stack) as tenant:
        await tenant.seller()
        requests = [request_of("seller-0", f"r-{serial}") for serial in range(37)]
        batch = issuance_pb2.BatchIssueInvoicesRequest(requests=requests)
        await tenant.issuance.BatchIssueInvoices(batch, metadata=tenant.metadata)
    assert await asyncio.to_thread(issued) - before == 37
    first = await asyncio.to_thread(metrics_of, running_stack, "server-1")
    primary = running_stack.mysql_primary
    assert first[f'billow_semi_sync{{node="{primary.host}:{primary.port}"}}'] == 1


async def test_a_stopping_server_finishes_and_its_log_is_json(running_stack: Stack) -> None:
    async with new_tenant(running_stack) as tenant:
        await tenant.seller()
        calls = [asyncio.create_task(tenant.issue(request_of("seller-0", f"r-{serial}"))) for serial in range(200)]
        await asyncio.to_thread(running_stack.restart, "server-1")
        issued = await asyncio.gather(*calls)
    assert len({item.number for item in issued}) == 200
    lines = await asyncio.to_thread(running_stack.folder.log("server-1").read_text)
    events = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    messages = [event["message"] for event in events]
    assert messages.index("serving") < messages.index("draining") < messages.index("stopped")
    assert all(event["process"] == "server-1" for event in events)


def test_the_threads_of_a_server_push_nobody_off_a_core(running_stack: Stack) -> None:
    """Python's and gRPC's; a library that it imports may have started one of its own before."""
    policies: dict[str, set[int]] = {}
    for thread in Path(f"/proc/{running_stack.pid('server-1')}/task").iterdir():
        name = (thread / "comm").read_text().strip()
        policies.setdefault(name, set()).add(os.sched_getscheduler(int(thread.name)))
    assert policies["python"] == policies["event_engine"] == {os.SCHED_BATCH}

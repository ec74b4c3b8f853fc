"""A bare grpc.aio echo behind the same Envoy: what a call costs at least. `python -m benchmarks.echo PORT` serves one.

For the time of a measurement Envoy's endpoint file names the echo processes, one a core, instead of the servers, so
that the very same Envoy, listener and connections are in both figures.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from stack import Stack, edge
from stack.state import write

SEEN_S = 30.0  # Envoy has read the file and found the processes healthy by then
SEEN_TIMES = 10  # a tenth of a second apart: a new endpoint looks well until its first health check


class Echo(grpc.GenericRpcHandler):
    """Answers any method but those of health with its request."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Returns the echo."""
        if handler_call_details.method.startswith("/grpc.health."):
            return None
        return grpc.unary_unary_rpc_method_handler(echo)


async def echo(request: bytes, context: Any) -> bytes:
    """Gives back what came."""
    return request


async def serve(port: int) -> None:
    """Serves until killed."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Echo(),))
    servicer = health.aio.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


def free_port() -> int:
    """Returns a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def processes(count: int) -> Iterator[list[int]]:
    """Runs so many echo processes inside the block; gives their ports when they listen. Raises TimeoutError."""
    ports = [free_port() for _ in range(count)]
    running = [subprocess.Popen([sys.executable, "-m", "benchmarks.echo", str(port)]) for port in ports]
    try:
        for port in ports:
            _wait_listening(port)
        yield ports
    finally:
        for process in running:
            process.kill()
            process.wait()


def _wait_listening(port: int) -> None:
    give_up_at = time.monotonic() + SEEN_S
    while time.monotonic() < give_up_at:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"no echo listens on port {port}")


@asynccontextmanager
async def behind_envoy(stack: Stack, ports: list[int]) -> AsyncIterator[None]:
    """Points Envoy at these ports inside the block, and back at the servers after it."""
    servers = [address.port for address in stack.servers]
    try:
        await _point(stack, at=ports, not_at=servers)
        yield
    finally:
        await _point(stack, at=servers, not_at=ports)


async def _point(stack: Stack, *, at: list[int], not_at: list[int]) -> None:
    """Sends calls to `at` only, and waits until Envoy does; raises TimeoutError.

    The others are marked as draining: those merely left out are used on while their health checks pass.
    """
    wanted = dict.fromkeys(at, "UNKNOWN") | dict.fromkeys(not_at, "DRAINING")
    endpoints = [
        {
            "health_status": status,
            "endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}},
        }
        for port, status in wanted.items()
    ]
    path = stack.folder.envoy / "endpoints" / "billow.json"
    assignment = json.loads(path.read_text())["resources"][0] | {"endpoints": [{"lb_endpoints": endpoints}]}
    write(path, json.dumps({"resources": [assignment]}))
    give_up_at = time.monotonic() + SEEN_S
    seen = 0
    while time.monotonic() < give_up_at:
        statuses = await asyncio.to_thread(_statuses, stack)
        well = {port for port, status in statuses.items() if status == {"eds_health_status": "HEALTHY"}}
        seen = seen + 1 if well == set(at) else 0
        if seen == SEEN_TIMES:
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"Envoy does not send to {at} alone")


def _statuses(stack: Stack) -> dict[int, dict[str, Any]]:
    """What Envoy thinks of each endpoint's health, by port."""
    clusters = json.loads(edge.admin(stack.state, "clusters?format=json") or "{}")
    return {
        host["address"]["socket_address"]["port_value"]: host["health_status"]
        for cluster in clusters.get("cluster_statuses", [])
        if cluster["name"] == edge.CLUSTER
        for host in cluster.get("host_statuses", [])
    }


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

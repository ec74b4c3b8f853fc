"""Health, reflection and channelz: what Envoy, operators and tools ask of a server besides its services."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection


class Health:
    """The grpc.health.v1 answers of a server, overall ("") and per service."""

    def __init__(self, server: grpc.aio.Server, services: Sequence[str]) -> None:
        self._servicer = health.aio.HealthServicer()
        self._names = ("", *services)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def serving(self) -> None:
        """Says that the server takes calls."""
        for name in self._names:
            await self._servicer.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def not_serving(self) -> None:
        """Says, for good, that it takes no more."""
        await self._servicer.enter_graceful_shutdown()


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Lets tools such as buf curl and grpcurl ask for the contract."""
    names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)


async def serve_channelz(path: Path) -> grpc.aio.Server:
    """Serves grpc.channelz.v1, which tells of connections and streams, on a Unix socket: only this machine sees it."""
    server = grpc.aio.server()
    channelz.add_channelz_servicer(server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    return server

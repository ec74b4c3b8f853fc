"""Where the parts of a stack are found."""

from __future__ import annotations

from pathlib import Path

from core.settings import Address
from stack import cache, mariadb, platform_processes, seaweed, state
from stack.options import RunFolder, StackError
from stack.state import State


class Addresses:
    """What the stack of one run folder remembers, and where its parts listen."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    @property
    def state(self) -> State:
        """What the stack remembers; raises StackError before the first start."""
        found = state.load(self.folder)
        if found is None:
            raise StackError(f"no stack has been started in {self.folder.root}")
        return found

    @property
    def config_path(self) -> Path:
        """The settings file for servers, workers and billow-admin."""
        return self.folder.settings

    @property
    def mysql_primary(self) -> Address:
        """The database that takes writes."""
        return mariadb.address(self.state, self.state.primary)

    @property
    def mysql_replica(self) -> Address:
        """The database that follows."""
        return mariadb.address(self.state, self.state.replica)

    @property
    def redis_url(self) -> str:
        """The cache, with its password."""
        return cache.url(self.state)

    @property
    def s3_endpoint(self) -> str:
        """The object store's URL; keys are in the settings file."""
        return seaweed.endpoint(self.state)

    @property
    def envoy(self) -> Address:
        """The edge: gRPC, gRPC-Web and JSON on one port."""
        return self.address("envoy")

    @property
    def servers(self) -> list[Address]:
        """Each server process's own gRPC port."""
        return [self.address(name) for name in platform_processes.server_names(self.state.options)]

    def address(self, port_name: str) -> Address:
        """Where something listens: any name in ports.json, for example "envoy-admin" or "server-1-metrics"."""
        return Address(host="127.0.0.1", port=self.state.ports[port_name])

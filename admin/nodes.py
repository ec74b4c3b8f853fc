"""Finds the database nodes as they are now: a command may be given after a failover."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from core.settings import Address, MySQLSettings, Settings
from core.storage.mysql.pool import Node, Primary
from core.storage.mysql.topology import Topology

CONNECT_TIMEOUT_MS: Final = 20_000  # no call waits for it, and a command of hours outlives a pause of seconds


@dataclass(frozen=True, slots=True)
class Nodes:
    """The present primary, and the other nodes of the settings whether they answer or not."""

    primary: Primary
    replicas: tuple[Node, ...]


async def find_primary(settings: MySQLSettings) -> tuple[Address, int]:
    """Returns where the primary is, and its epoch.

    Raises STORAGE_UNAVAILABLE when none, or more than one, takes writes in the present epoch.
    """
    topology = Topology(settings=settings)
    try:
        await topology.start()
        primary = topology.primary()
        return primary.node.address, primary.epoch
    finally:
        await topology.close()


@asynccontextmanager
async def open_nodes(settings: Settings) -> AsyncIterator[Nodes]:
    """Opens the nodes and closes them at the end. A connection may take CONNECT_TIMEOUT_MS to come about."""
    address, epoch = await find_primary(settings.mysql)
    mysql = patient(settings.mysql)
    primary = Node(mysql, address)
    others = tuple(Node(mysql, other) for other in dict.fromkeys((mysql.primary, *mysql.replicas)) if other != address)
    try:
        yield Nodes(Primary(primary, epoch=epoch), others)
    finally:
        for node in (primary, *others):
            node.drop()


def patient(settings: MySQLSettings) -> MySQLSettings:
    """Returns the settings for what no caller waits for: connections may take CONNECT_TIMEOUT_MS at least."""
    return replace(settings, connect_timeout_ms=max(settings.connect_timeout_ms, CONNECT_TIMEOUT_MS))

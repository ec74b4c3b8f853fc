"""Counts what a server process says to its stores: a statement, a pipeline or a request is one round trip."""

from __future__ import annotations

from collections import Counter
from typing import Any

import aiomysql
import pytest
from aiobotocore.client import AioBaseClient

from core.storage.mysql.topology import Topology
from core.storage.redis.link import RedisLink
from stack import Stack

PRIMARY, REPLICA, CACHE, OBJECTS = "primary", "replica", "cache", "objects"


class Counted:
    """Round trips by store. What a server says unasked does not count: looks at the nodes, the refreshing of API keys
    in the background, and the first words over a new connection."""

    def __init__(self, stack: Stack) -> None:
        self.trips: Counter[str] = Counter()
        self.primary_port = stack.mysql_primary.port

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Puts counters before the drivers' one way to send something."""
        looking: set[int] = set()
        opening: set[int] = set()
        connect, command = Topology._connect, aiomysql.Connection._execute_command
        opened = aiomysql.Connection._connect
        exchange, request = RedisLink._exchange, AioBaseClient._make_api_call

        async def look(topology: Topology, *arguments: Any) -> Any:
            connection = await connect(topology, *arguments)
            looking.add(id(connection))
            return connection

        async def begin(connection: Any) -> None:
            opening.add(id(connection))
            await opened(connection)
            opening.discard(id(connection))

        async def execute(connection: Any, number: int, sql: Any) -> Any:
            text = sql if isinstance(sql, str) else bytes(sql).decode(errors="replace")
            own = id(connection) in looking or id(connection) in opening or text.startswith("SELECT k.secret_sha256")
            if not own:
                self.trips[PRIMARY if connection.port == self.primary_port else REPLICA] += 1
            return await command(connection, number, sql)

        async def send(link: RedisLink, connection: Any, packed: bytes, replies: int) -> Any:
            self.trips[CACHE] += 1
            return await exchange(link, connection, packed, replies)

        async def ask(client: Any, *arguments: Any) -> Any:
            self.trips[OBJECTS] += 1
            return await request(client, *arguments)

        patch.setattr(Topology, "_connect", look)
        patch.setattr(aiomysql.Connection, "_connect", begin)
        patch.setattr(aiomysql.Connection, "_execute_command", execute)
        patch.setattr(RedisLink, "_exchange", send)
        patch.setattr(AioBaseClient, "_make_api_call", ask)

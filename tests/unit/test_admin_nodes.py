"""How patiently commands open connections."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from admin import nodes
from admin.nodes import CONNECT_TIMEOUT_MS, open_nodes, patient
from core.settings import Address, MySQLSettings, ObjectStoreSettings, RedisSettings, Settings


def mysql(port: int, *, connect_timeout_ms: int) -> MySQLSettings:
    return MySQLSettings(
        primary=Address("127.0.0.1", port), user="u", password="p", connect_timeout_ms=connect_timeout_ms
    )


@pytest.mark.parametrize(("set_ms", "expected_ms"), [(2_000, CONNECT_TIMEOUT_MS), (90_000, 90_000)])
def test_commands_never_wait_less_than_their_own_time(set_ms: int, expected_ms: int) -> None:
    assert patient(mysql(1, connect_timeout_ms=set_ms)).connect_timeout_ms == expected_ms


async def test_a_command_waits_for_a_slow_node_longer_than_a_call_would(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        settings = Settings(
            mysql=mysql(silent.getsockname()[1], connect_timeout_ms=10),
            redis=RedisSettings(url="redis://127.0.0.1:1"),
            object_store=ObjectStoreSettings(endpoint="http://127.0.0.1:1", access_key="a", secret_key="s"),
        )

        async def found(_: Any) -> tuple[Address, int]:
            return settings.mysql.primary, 1

        monkeypatch.setattr(nodes, "find_primary", found)
        async with open_nodes(settings) as opened:
            for node in (opened.primary.node, *opened.replicas):
                with pytest.raises(TimeoutError):  # ours; the node would say STORAGE_UNAVAILABLE after 10 ms
                    async with asyncio.timeout(0.2), node.connection():
                        pass

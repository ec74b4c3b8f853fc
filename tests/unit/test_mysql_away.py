"""What the driver raises when a node goes away, and how it is told from a wrong statement."""

from __future__ import annotations

from types import SimpleNamespace

import aiomysql
import pymysql
import pytest

from core.storage.mysql.pool import is_away


async def test_a_connection_that_is_reset_as_soon_as_it_is_made_counts_as_away() -> None:
    closed = SimpleNamespace(pause_reading=lambda: None, get_extra_info=lambda name, default=None: default)
    connection = aiomysql.Connection()
    connection._writer = SimpleNamespace(transport=closed)
    try:
        with pytest.raises(RuntimeError) as raised:
            connection._set_keep_alive()
    finally:
        connection._writer = None
    assert is_away(raised.value)


def test_a_wrong_statement_does_not() -> None:
    assert not is_away(pymysql.err.ProgrammingError(1064, "syntax"))
    assert not is_away(RuntimeError("a coroutine was never awaited"))

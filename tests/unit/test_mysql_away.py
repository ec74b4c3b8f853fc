"""What a driver says when a connection ends under a statement means "away", not a fault of ours (P10)."""

from __future__ import annotations

import aiomysql
import pytest

from core.storage.mysql.pool import is_away


async def test_a_connection_closed_under_a_statement_is_away() -> None:
    connection = aiomysql.Connection.__new__(aiomysql.Connection)
    connection._reader = connection._writer = None  # as close() leaves them
    with pytest.raises(AttributeError) as caught:
        await connection._read_bytes(4)
    assert is_away(caught.value)


def test_a_fault_of_ours_is_not_away() -> None:
    assert not is_away(AttributeError("'NoneType' object has no attribute 'number'"))
    assert not is_away(RuntimeError("something else"))

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


@pytest.mark.parametrize(
    "error",
    [
        pymysql.err.OperationalError(1021, "Disk full (/tmp/#sql); waiting for someone to free some space..."),
        pymysql.err.OperationalError(1114, "The table 'invoices' is full"),
        pymysql.err.OperationalError(1878, "Temporary file write failure."),
        pymysql.err.OperationalError(1026, "Error writing file 'binlog' (errno: 28 \"No space left on device\")"),
        pymysql.err.OperationalError(1030, 'Got error 28 "No space left on device" from storage engine InnoDB'),
        pymysql.err.InternalError(3, "Error writing file '/tmp/MYfd=37' (Errcode: 28 \"No space left on device\")"),
    ],
)
def test_a_full_disk_counts_as_away(error: Exception) -> None:
    assert is_away(error)


def test_another_failure_of_the_storage_engine_does_not() -> None:
    assert not is_away(pymysql.err.OperationalError(1030, "Got error 126 from storage engine InnoDB"))


def test_a_value_that_says_so_is_no_full_disk() -> None:
    assert not is_away(pymysql.err.IntegrityError(1062, "Duplicate entry 'No space left on device' for key 'name'"))

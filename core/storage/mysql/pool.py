"""Connections to MySQL: one pool a node, and two types, so that nothing is read from or written to the wrong one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiomysql
import pymysql
from pymysql.constants import CLIENT

from core.domain.errors import BillowError, Reason
from core.settings import Address, MySQLSettings

# the server's word that this node cannot do it now, though another may: too many connections, read only, shutting
# down, semi-sync or network trouble, connection lost
AWAY_ERRORS = frozenset(
    {1040, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1184, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 2014, 2055}
)
DUPLICATE_KEY = 1062
DEADLOCK = 1213
LOCK_TIMEOUT = 1205
AWAY_RETRY_MS = 500

# READ COMMITTED in the words of either server; and MariaDB shall not turn a list of 1,000 values or more, such as the
# numbers of a full batch, into a joined table: the invoices are then read from end to end
SESSION = (
    "SET SESSION /*M!100303 tx_isolation = 'READ-COMMITTED', in_predicate_conversion_threshold = 0 */"
    " /*!80000 transaction_isolation = 'READ-COMMITTED' */"
)


def unavailable(error: BaseException | str) -> BillowError:
    """The error for a store that is away."""
    return BillowError(Reason.STORAGE_UNAVAILABLE, f"the database is away: {error}", retry_delay_ms=AWAY_RETRY_MS)


def is_away(error: BaseException) -> bool:
    """Tells whether an error means that the node cannot be used now, rather than that the statement was wrong."""
    if isinstance(error, pymysql.err.InterfaceError | OSError | EOFError | asyncio.IncompleteReadError):
        return True
    if isinstance(error, pymysql.err.MySQLError) and error.args and error.args[0] in AWAY_ERRORS:
        return True
    return isinstance(error, RuntimeError) and "closed" in str(error)


class Node:
    """One database server and this process's pool of connections to it.

    `multi_statements` lets one round trip carry a whole transaction; only the issuing store asks for it.
    """

    def __init__(self, settings: MySQLSettings, address: Address, *, multi_statements: bool = False) -> None:
        self.address = address
        self.read_timeout_s = settings.read_timeout_ms / 1_000
        self._settings = settings
        self._flags = CLIENT.MULTI_STATEMENTS if multi_statements else 0
        self._pool: aiomysql.Pool | None = None
        self._opening = asyncio.Lock()

    async def _open(self) -> aiomysql.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await aiomysql.create_pool(
                    host=self.address.host,
                    port=self.address.port,
                    user=self._settings.user,
                    password=self._settings.password,
                    db=self._settings.database,
                    minsize=0,
                    maxsize=self._settings.pool_connections,
                    connect_timeout=self._settings.connect_timeout_ms / 1_000,
                    autocommit=True,
                    charset="utf8mb4",
                    client_flag=self._flags,
                    init_command=SESSION,
                )
            return self._pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[aiomysql.Connection]:
        """Lends a connection, waiting for a free one.

        It goes back to the pool only after success: any error or cancellation inside closes it, since nobody knows
        what it still has under way. Errors that mean "away" become STORAGE_UNAVAILABLE.
        """
        try:
            pool = self._pool or await self._open()
            connection = await pool.acquire()
        except Exception as error:
            if is_away(error):
                raise unavailable(error) from error
            raise
        try:
            yield connection
        except BaseException as error:
            connection.close()
            if is_away(error):
                raise unavailable(error) from error
            raise
        finally:
            pool.release(connection)

    async def drop(self) -> None:
        """Closes every connection; those lent are closed when they come back. The next use opens new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()
            await pool.wait_closed()


class Primary:
    """The node that takes writes. Whoever holds one may write."""

    def __init__(self, node: Node) -> None:
        self.node = node

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[aiomysql.Connection]:
        """Lends a connection to the primary."""
        async with self.node.connection() as connection:
            yield connection

    async def rows(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs one statement by itself (autocommit) and returns its rows; 1 round trip."""
        async with self.connection() as connection:
            return await rows(connection, sql, arguments)


class Replicas:
    """The nodes that answer reads. Whoever holds this can only read."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)
        self._turn = 0

    def pick(self) -> Node | None:
        """Returns a node to read from, in turn, or None when there is none."""
        if not self.nodes:
            return None
        self._turn = (self._turn + 1) % len(self.nodes)
        return self.nodes[self._turn]


async def rows(connection: aiomysql.Connection, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Runs one statement on a lent connection and returns its rows; 1 round trip."""
    async with connection.cursor() as cursor:
        await cursor.execute(sql, tuple(arguments) or None)
        return list(await cursor.fetchall())


async def read(node: Node, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Runs one reading statement on a node within the read timeout and returns its rows; 1 round trip.

    A read that takes longer costs its connection and raises STORAGE_UNAVAILABLE.
    """
    try:
        async with asyncio.timeout(node.read_timeout_s), node.connection() as connection:
            return await rows(connection, sql, arguments)
    except TimeoutError as error:
        raise unavailable(f"no answer within {node.read_timeout_s} s") from error

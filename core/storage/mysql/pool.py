"""Connections to MySQL: those to a node, and two types, so that nothing is read from or written to the wrong one.

Whatever writes does so between `begin` and COMMIT, or by `Primary.write`, or, when issuing, after
`issuing_sql.lock_ranges`: each compares the database's epoch with the one this process has seen, inside the
transaction (docs/adr/0029). Sessions are read-only otherwise, so that a statement past them fails.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

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
# no room on the node's disk: said by the number, or by the system's words in errors that may have other causes too
FULL_ERRORS = frozenset({1021, 1114, 1878})
FILE_ERRORS = frozenset({1, 3, 20, 1004, 1026, 1030, 1598})
NO_SPACE = "No space left on device"
DUPLICATE_KEY = 1062
DEADLOCK = 1213
LOCK_TIMEOUT = 1205
SEVERAL_ROWS = 1242  # what the fence answers when it is closed
AWAY_RETRY_MS = 500
FIRST_EPOCH: Final = 1

# READ COMMITTED in the words of either server; and MariaDB shall not turn a list of 1,000 values or more, such as the
# numbers of a full batch, into a joined table: the invoices are then read from end to end
SESSION = (
    "SET SESSION /*M!100303 tx_isolation = 'READ-COMMITTED', in_predicate_conversion_threshold = 0 */"
    " /*!80000 transaction_isolation = 'READ-COMMITTED' */"
)
READ_ONLY = ", /*M!100303 tx_read_only = 1 */ /*!80000 transaction_read_only = 1 */"
# A process that is frozen between two round trips of its transaction holds number ranges that others wait for: MariaDB
# ends its session, and the ranges are free. The process finds its connection gone and looks its request ids up (P10).
# MySQL knows nothing like it; there a frozen process is noticed by its health and ended by whoever runs it
IDLE_TRANSACTION_S = 3
LOCK_WAIT_S = 6  # less than LENT_S: who gives a connection up leaves no session behind that waits for locks
WRITES_ONLY = (
    f" /*M!100303 , idle_transaction_timeout = {IDLE_TRANSACTION_S} */, innodb_lock_wait_timeout = {LOCK_WAIT_S}"
)
BEGIN = "START TRANSACTION READ WRITE"
LOG = logging.getLogger(__name__)


class Access(enum.Enum):
    """What the connections of a pool are for."""

    READS = enum.auto()  # one statement at a time, in read-only sessions
    WRITES = enum.auto()  # a round trip may carry several statements; read-only outside `begin`, `write`, issuing
    ANY = enum.auto()  # for tools: several statements, nothing forbidden


# How long a connection is lent at most, in seconds. A firewall or a load balancer that forgets one tells nobody, and
# the kernel tries for a quarter of an hour. A commit that only waits for its receipt is given up, too: the same request
# ids find it later (P2). Pages and batches take far less
LENT_S: Final = {Access.WRITES: 8.0, Access.READS: 20.0, Access.ANY: None}


def fence(epoch: int) -> str:
    """A statement that fails with SEVERAL_ROWS unless the database has this epoch."""
    return f"SELECT IF(epoch = {epoch:d}, 1, (SELECT 1 UNION ALL SELECT 2)) FROM fencing"  # noqa: S608 (an integer)


def unavailable(error: BaseException | str) -> BillowError:
    """The error for a store that is away."""
    return BillowError(Reason.STORAGE_UNAVAILABLE, f"the database is away: {error}", retry_delay_ms=AWAY_RETRY_MS)


def is_away(error: BaseException) -> bool:
    """Tells whether an error means that the node cannot be used now, rather than that the statement was wrong."""
    if isinstance(error, pymysql.err.InterfaceError | OSError | EOFError | asyncio.IncompleteReadError):
        return True
    if isinstance(error, pymysql.err.MySQLError) and error.args:
        number = error.args[0]
        return number in AWAY_ERRORS | FULL_ERRORS or (number in FILE_ERRORS and NO_SPACE in str(error))
    if isinstance(error, AttributeError) and "'NoneType' object has no attribute 'read" in str(error):
        return True  # aiomysql's way to say that its connection was closed under a statement, by `drop`
    # closed by us; or by the node between its accepting the connection and aiomysql's first look at it
    return isinstance(error, RuntimeError) and ("closed" in str(error) or "does not expose socket" in str(error))


class Node:
    """One database server and the connections to it, of this process and for one purpose.

    At most `pool_connections` are lent at once; who wants another waits for one to come back. Opening one, with its
    handshake, takes `connect_timeout_ms` at most, and nobody waits for another's. `drop` ends whatever is under way,
    opening too. A connection that is lent for longer than LENT_S was forgotten by something on the way: nothing here
    ever waits for a server that does not answer (docs/adr/0046).
    """

    def __init__(self, settings: MySQLSettings, address: Address, *, access: Access = Access.ANY) -> None:
        self.address = address
        self.read_timeout_s = settings.read_timeout_ms / 1_000
        self._settings = settings
        self._flags = 0 if access is Access.READS else CLIENT.MULTI_STATEMENTS
        self._session = SESSION if access is Access.ANY else SESSION + READ_ONLY
        if access is Access.WRITES:
            self._session += WRITES_ONLY
        self._lent_s = LENT_S[access]
        self._room = asyncio.Semaphore(settings.pool_connections)
        self._free: list[aiomysql.Connection] = []  # the last one used is the next
        self._lent: set[aiomysql.Connection] = set()
        self._opening: set[asyncio.Timeout] = set()
        self._drops = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[aiomysql.Connection]:
        """Lends a connection, waiting for a free one.

        It is kept only after success: any error or cancellation inside closes it, since nobody knows what it still has
        under way. Errors that mean "away" become STORAGE_UNAVAILABLE, and so does a `drop` before one is there: who
        asked before it may know the node in a role that it has no more.
        """
        drops = self._drops
        async with self._room:
            connection = self._take() or await self._open(drops)
            self._lent.add(connection)
            try:
                async with asyncio.timeout(self._lent_s) as limit:
                    yield connection
            except BaseException as error:
                if limit.expired():
                    self._forget(connection)
                    raise unavailable(f"no answer within {self._lent_s} s") from error
                connection.close()
                if is_away(error):
                    raise unavailable(error) from error
                raise
            finally:
                self._give_back(connection)

    def drop(self) -> None:
        """Closes every connection, whatever is under way on it, and gives up opening more. The next use opens anew."""
        self._drops += 1
        for connection in (*self._free, *self._lent):
            _abort(connection)
        self._free.clear()
        self._lent.clear()
        for limit in self._opening:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    def _forget(self, connection: aiomysql.Connection) -> None:
        """Closes a connection without an answer, and the free ones: whatever lost its way may have lost theirs."""
        LOG.warning("no answer from %s:%s within %s s", self.address.host, self.address.port, self._lent_s)
        for item in (connection, *self._free):
            _abort(item)
        self._free.clear()

    def _take(self) -> aiomysql.Connection | None:
        """Returns a connection that is open and not used, or None. No I/O."""
        while self._free:
            connection = self._free.pop()
            if not _was_ended(connection):
                return connection
            connection.close()
        return None

    async def _open(self, drops: int) -> aiomysql.Connection:
        """Opens a connection, unless `drop` was or is called after the first `drops` times.

        Raises STORAGE_UNAVAILABLE then, and when it fails or takes too long.
        """
        name = f"{self.address.host}:{self.address.port}"
        if drops != self._drops:
            raise unavailable(f"{name} is no longer what it was")
        try:
            async with asyncio.timeout(self._settings.connect_timeout_ms / 1_000) as limit:
                self._opening.add(limit)
                try:
                    connection = await self._connect()
                finally:
                    self._opening.discard(limit)
        except TimeoutError as error:
            raise unavailable(f"no connection to {name}") from error
        except Exception as error:
            if is_away(error):
                raise unavailable(error) from error
            raise
        if drops != self._drops:  # in the moment in which it was open
            _abort(connection)
            raise unavailable(f"{name} is no longer what it was")
        return connection

    async def _connect(self) -> aiomysql.Connection:
        return await aiomysql.connect(
            host=self.address.host,
            port=self.address.port,
            user=self._settings.user,
            password=self._settings.password,
            db=self._settings.database,
            autocommit=True,
            charset="utf8mb4",
            client_flag=self._flags,
            init_command=self._session,
        )

    def _give_back(self, connection: aiomysql.Connection) -> None:
        """Keeps a lent connection for the next one, unless it was dropped, is closed or left inside a transaction."""
        if connection not in self._lent:
            return
        self._lent.discard(connection)
        if connection.closed:
            return
        if connection.get_transaction_status():
            connection.close()
            return
        self._free.append(connection)


def _was_ended(connection: aiomysql.Connection) -> bool:
    """Tells whether the server ended a connection that was not used; aiomysql has no word for it."""
    reader = connection._reader  # noqa: SLF001
    return reader is None or reader.eof_received or reader.at_eof() or reader.exception() is not None


def _abort(connection: aiomysql.Connection) -> None:
    """Closes a connection at once; `close` alone first waits until the server has read what was written to it."""
    writer = connection._writer  # noqa: SLF001
    if writer is not None:
        writer.transport.abort()
    connection.close()


@dataclass(frozen=True, slots=True)
class Written:
    """What a writing statement did: rows changed, and the key that AUTO_INCREMENT gave."""

    rows: int
    last_key: int


class Primary:
    """The node that takes writes, in one epoch. Whoever holds one may write.

    `node` is for reads, `writing` for transactions; without `writing` it is the same pool.
    """

    def __init__(self, node: Node, *, writing: Node | None = None, epoch: int = FIRST_EPOCH) -> None:
        self.node = node
        self.writing = writing or node
        self.epoch = epoch

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[aiomysql.Connection]:
        """Lends a connection to the primary that can be written on after `begin`."""
        async with self.writing.connection() as connection:
            yield connection

    async def begin(self, connection: aiomysql.Connection) -> None:
        """Starts a transaction on a lent connection; 1 round trip.

        Raises STORAGE_UNAVAILABLE when the database has another epoch than this process has seen: it slept through a
        failover, or reaches the old primary.
        """
        async with connection.cursor() as cursor:
            await cursor.execute(f"{BEGIN}; {fence(self.epoch)}")
            await self._pass(cursor)

    async def write(self, sql: str, arguments: Sequence[Any] = ()) -> Written:
        """Runs one writing statement in a transaction of its own; 1 round trip, 2 when it fails for its content.

        Raises as `begin` does, before anything is written.
        """
        async with self.connection() as connection:
            try:
                done: Written | Exception = await self.write_on(connection, sql, arguments)
            except pymysql.err.IntegrityError as error:  # the connection is in order and is kept
                await connection.rollback()
                done = error
        if isinstance(done, Exception):
            raise done
        return done

    async def write_on(self, connection: aiomysql.Connection, sql: str, arguments: Sequence[Any]) -> Written:
        """Does the same on a lent connection, outside a transaction; after an error that is for the caller to end."""
        async with connection.cursor() as cursor:
            text = cursor.mogrify(sql, tuple(arguments) or None)
            await cursor.execute(f"{BEGIN}; {fence(self.epoch)}; {text}; COMMIT")
            await self._pass(cursor)
            await cursor.nextset()
            done = Written(cursor.rowcount, cursor.lastrowid or 0)
            await cursor.nextset()
            return done

    async def confirm(self) -> None:
        """Returns when a replica has received all that this primary had committed before; 1 round trip.

        A primary that has crashed comes back with commits that nobody had received (docs/adr/0029). Whoever answers
        by what was read, rather than by a commit of its own, makes this small one first: its receipt confirms all
        before it.
        """
        async with self.connection() as connection:
            await self.confirm_on(connection)

    async def confirm_on(self, connection: aiomysql.Connection) -> None:
        """Does the same on a lent connection, outside a transaction."""
        await self.write_on(connection, "UPDATE fencing SET confirmations = confirmations + 1", ())

    @staticmethod
    async def _pass(cursor: aiomysql.Cursor) -> None:
        """Reads the fence's answer, which follows that of BEGIN."""
        try:
            await cursor.nextset()
        except pymysql.err.MySQLError as error:
            if error.args[0] == SEVERAL_ROWS:
                raise unavailable("the primary has changed") from error
            raise

    async def rows(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Runs one reading statement and returns its rows; 1 round trip."""
        async with self.node.connection() as connection:
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

"""Replication between the database nodes: who follows whom, and how it stands."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import pymysql
import pymysql.cursors

from stack.mariadb import root, variables
from stack.options import RunFolder, StackError
from stack.state import State

REPLICATION_S: Final = 20.0
POLL_S: Final = 0.05
STALLED_S: Final = 3.0  # a commit that waits so long for what a replica has: its receipt is lost
APPLY_S: Final = 2
WAITS: Final = (
    "SELECT COALESCE(MAX(TIME_MS), 0) / 1000 AS waits_s FROM information_schema.PROCESSLIST "
    "WHERE STATE = 'Waiting for semi-sync ACK from slave'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationStatus:
    """How the nodes stand to each other. Of several replicas: the worst."""

    semi_sync: bool  # the primary waits for a replica before it acknowledges
    wait_point: str
    replicas: int  # replicas whose receipts count
    running: bool  # every replica receives and applies
    lag_s: int | None  # None: unknown
    error: str
    primary_gtid: str
    replica_gtid: str  # of the replica that has applied least
    waits_s: float  # how long the oldest commit has waited for a receipt; 0 when none waits
    received: bool  # a replica has all that the primary has written

    @property
    def stalled(self) -> bool:
        """Whether commits wait for a receipt that was lost: nobody will give it any more (docs/adr/0044)."""
        return self.received and self.waits_s >= STALLED_S


def join(folder: RunFolder, state: State) -> None:
    """Makes the replicas follow the primary and waits until it counts them; does nothing when it already does.

    Raises StackError when replication stands still.
    """
    for node in state.replicas:
        with root(folder, state, node) as cursor:
            row = slave_status(cursor)
            same = row and row["Master_Port"] == state.ports[state.primary] and row["Using_Gtid"] == "Slave_Pos"
            if not same or row["Slave_SQL_Running"] != "Yes":
                follow(cursor, state)
    wait_joined(folder, state)


def wait_joined(folder: RunFolder, state: State) -> None:
    """Waits until every replica runs and counts; raises StackError when it stands still."""
    deadline = time.monotonic() + REPLICATION_S
    while True:
        status = replication(folder, state)
        if status.running and status.semi_sync and status.replicas >= len(state.replicas):
            return
        if time.monotonic() > deadline:
            raise StackError(f"a replica does not follow the primary: {status}")
        time.sleep(POLL_S)


def follow(cursor: pymysql.cursors.DictCursor, state: State) -> None:
    """Makes a node follow the primary from where it is; what it has received before and not applied is fetched anew."""
    cursor.execute("STOP SLAVE")
    cursor.execute(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %s, MASTER_USER = 'billow_repl', "
        "MASTER_PASSWORD = %s, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 2",
        (state.ports[state.primary], state.secrets["mysql_replication"]),
    )
    cursor.execute("START SLAVE")


def slave_status(cursor: pymysql.cursors.DictCursor) -> dict[str, Any]:
    """How a node follows another; empty when it follows none."""
    cursor.execute("SHOW SLAVE STATUS")
    found: Any = cursor.fetchall()
    return found[0] if found else {}


def sequence(gtid: str) -> int:
    """The number of the last transaction in a position of one domain, for example 7 in 0-1-7; 0 of an empty one."""
    return int(gtid.rsplit("-", 1)[1]) if gtid else 0


def replication(folder: RunFolder, state: State) -> ReplicationStatus:
    """Asks the primary and its replicas how replication stands. Raises StackError when one does not answer."""
    rows: list[dict[str, Any]] = []
    positions: list[str] = []
    try:
        with root(folder, state, state.primary) as cursor:
            waits_s = _waits_s(cursor)
            primary = variables(cursor, "STATUS", "rpl_semi_sync_master%")
            primary |= variables(cursor, "VARIABLES", "rpl_semi_sync_master%")
            primary |= variables(cursor, "VARIABLES", "gtid_binlog_pos")
        for node in state.replicas:
            with root(folder, state, node) as cursor:
                rows.append(slave_status(cursor))
                positions.append(variables(cursor, "VARIABLES", "gtid_slave_pos")["gtid_slave_pos"])
    except (pymysql.err.MySQLError, OSError) as error:
        raise StackError(f"a database node does not answer: {error}") from error
    lags = [row.get("Seconds_Behind_Master") for row in rows]
    known = [lag for lag in lags if lag is not None]
    return ReplicationStatus(
        semi_sync=primary["rpl_semi_sync_master_status"] == "ON" and primary["rpl_semi_sync_master_enabled"] == "ON",
        wait_point=primary["rpl_semi_sync_master_wait_point"],
        replicas=int(primary["rpl_semi_sync_master_clients"]),
        running=all(row.get("Slave_IO_Running") == row.get("Slave_SQL_Running") == "Yes" for row in rows),
        lag_s=max(known, default=None) if len(known) == len(lags) else None,
        error="; ".join(filter(None, (row.get("Last_IO_Error") or row.get("Last_SQL_Error") for row in rows))),
        primary_gtid=primary["gtid_binlog_pos"],
        replica_gtid=min(positions, key=sequence, default=""),
        waits_s=waits_s,
        received=any(sequence(position) >= sequence(primary["gtid_binlog_pos"]) for position in positions),
    )


def release(folder: RunFolder, state: State) -> str | None:
    """Makes good a receipt that was lost: a replica that has everything says so. Returns its name; None: no stall.

    Only a position gives a receipt anew: a replica that connects by GTID reports none. So it connects by file and
    position once, after two proofs by GTID: it has applied all that the primary has written, and the position is the
    end of just that. Raises StackError when no replica can prove it, and then nothing is released.
    """
    try:
        with root(folder, state, state.primary, read_s=int(REPLICATION_S)) as primary:
            if _waits_s(primary) < STALLED_S:
                return None
            wanted = variables(primary, "VARIABLES", "gtid_binlog_pos")["gtid_binlog_pos"]
            for node in state.replicas:
                with root(folder, state, node, read_s=int(REPLICATION_S)) as cursor:
                    cursor.execute("STOP SLAVE")
                    try:
                        if _report(primary, cursor, wanted):
                            return node
                    finally:
                        follow(cursor, state)
    except (pymysql.err.MySQLError, OSError) as error:
        raise StackError(f"a database node does not answer: {error}") from error
    raise StackError(f"no replica has all of {wanted}, so nothing was released; bring one back first")


def _report(primary: pymysql.cursors.DictCursor, cursor: pymysql.cursors.DictCursor, wanted: str) -> bool:
    """Lets a stopped replica report its position, until no commit waits for `wanted`; tells whether it could."""
    row = slave_status(cursor)
    place = (row["Relay_Master_Log_File"], row["Exec_Master_Log_Pos"])
    primary.execute("SELECT BINLOG_GTID_POS(%s, %s) AS gtid", place)
    (there,) = primary.fetchall()
    if not there["gtid"] == variables(cursor, "VARIABLES", "gtid_slave_pos")["gtid_slave_pos"] == wanted:
        return False
    cursor.execute("CHANGE MASTER TO MASTER_LOG_FILE = %s, MASTER_LOG_POS = %s, MASTER_USE_GTID = no", place)
    cursor.execute("START SLAVE")
    deadline = time.monotonic() + REPLICATION_S
    released = False
    while not released and time.monotonic() < deadline:
        time.sleep(POLL_S)
        released = (
            not _waits_s(primary) or variables(primary, "VARIABLES", "gtid_binlog_pos")["gtid_binlog_pos"] != wanted
        )
    # what it has received meanwhile it may have given receipts for: it is applied before `follow` drops it
    deadline = time.monotonic() + REPLICATION_S
    while time.monotonic() < deadline:
        cursor.execute("STOP SLAVE IO_THREAD")
        row = slave_status(cursor)
        cursor.execute("SELECT MASTER_POS_WAIT(%s, %s, %s) AS events", (*_read(row), APPLY_S))
        (waited,) = cursor.fetchall()
        if waited["events"] is not None and waited["events"] >= 0:
            break
        cursor.execute("START SLAVE")  # half a transaction: the rest of it
    return released


def _read(row: dict[str, Any]) -> tuple[str, int]:
    """Up to where a replica has received."""
    return row["Master_Log_File"], row["Read_Master_Log_Pos"]


def _waits_s(cursor: pymysql.cursors.DictCursor) -> float:
    """How long the oldest commit of a primary has waited for a receipt."""
    cursor.execute(WAITS)
    (row,) = cursor.fetchall()
    return float(row["waits_s"])

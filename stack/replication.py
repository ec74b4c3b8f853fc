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


def join(folder: RunFolder, state: State) -> None:
    """Makes the replicas follow the primary and waits until it counts them; does nothing when it already does.

    Raises StackError when replication stands still.
    """
    for node in state.replicas:
        with root(folder, state, node) as cursor:
            row = slave_status(cursor)
            if not row or row["Master_Port"] != state.ports[state.primary] or row["Slave_SQL_Running"] != "Yes":
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
    )

"""MariaDB: equal nodes, one of them the primary, joined by lossless semi-synchronous replication (P1).

All nodes run the same configuration but for role.cnf, so that they can change places. What makes an acknowledged
commit durable is in COMMON and ROLES; no option of the stack changes it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pymysql
import pymysql.cursors

from core.settings import Address
from stack.options import RunFolder, StackError
from stack.state import NODES, State, write
from stack.supervision import Program

DATABASE: Final = "billow"
CONNECT_S: Final = 5
SERVER_IDS: Final = {node: number for number, node in enumerate(NODES, 1)}

# Why each line is as it is: stack/README.md.
COMMON: Final = """\
[mariadbd]
server_id = {server_id}
bind_address = 127.0.0.1
port = {port}
datadir = {folder}/data
socket = {folder}/mariadb.sock
pid_file = {folder}/mariadb.pid
tmpdir = {folder}/tmp
init_file = {folder}/users.sql
{user}skip_name_resolve = ON
character_set_server = utf8mb4
collation_server = utf8mb4_bin
transaction_isolation = READ-COMMITTED
performance_schema = OFF
max_connections = 400
max_allowed_packet = 64M
thread_cache_size = 64
table_open_cache = 1000
key_buffer_size = 8M
aria_pagecache_buffer_size = 16M

# durable: nothing is acknowledged before it is on the disk of the primary and in the hands of the replica (P1)
innodb_flush_log_at_trx_commit = 1
innodb_doublewrite = ON
innodb_flush_method = O_DIRECT
sync_binlog = 1
rpl_semi_sync_master_wait_point = AFTER_SYNC
rpl_semi_sync_master_wait_no_slave = ON
rpl_semi_sync_master_timeout = {wait_ms}

innodb_buffer_pool_size = {pool_mib}M
innodb_log_file_size = 256M
innodb_log_buffer_size = 32M
innodb_autoinc_lock_mode = 2
innodb_flush_neighbors = 0
innodb_io_capacity = 1000
innodb_lock_wait_timeout = 5

log_bin = {folder}/binlog/binlog
log_slave_updates = ON
binlog_format = ROW
binlog_row_image = MINIMAL
# the rows say it all: the statements beside them are two thirds of the log (744 against 256 bytes an invoice)
binlog_annotate_row_events = OFF
replicate_annotate_row_events = OFF
binlog_cache_size = 1M
max_binlog_size = 256M
binlog_expire_logs_seconds = 86400
gtid_domain_id = 0
gtid_strict_mode = ON
relay_log = {folder}/binlog/relay
relay_log_recovery = ON
slave_parallel_mode = optimistic
slave_parallel_threads = 4
slave_net_timeout = 10

!include {folder}/role.cnf
"""
WAIT_MS: Final = 4_294_967_295_000  # 136 years: waiting for a replica never turns into going on without one
_PRIMARY: Final = "[mariadbd]\nrpl_semi_sync_master_enabled = ON\nrpl_semi_sync_slave_enabled = OFF\nread_only = "
_REPLICA: Final = "[mariadbd]\nrpl_semi_sync_master_enabled = OFF\nrpl_semi_sync_slave_enabled = ON\nread_only = ON\n"
ROLES: Final = {
    "primary": f"{_PRIMARY}OFF\n",
    "waiting": f"{_PRIMARY}ON\n",  # a primary without replicas that takes no writes while the first one is copied
    "replica": _REPLICA,
    # follows nobody yet; at its start it cuts off what of its binary log no replica has confirmed
    "outside": f"{_REPLICA}skip_slave_start = ON\nloose_init_rpl_role = SLAVE\n",
}
# Not in the binary log: each node keeps its own users, so that creating them waits for no replica.
USERS: Final = """\
SET SESSION sql_log_bin = 0;
ALTER USER 'root'@'localhost' IDENTIFIED BY '{mysql_root}';
DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost');
FLUSH PRIVILEGES;
CREATE DATABASE IF NOT EXISTS billow CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS 'billow'@'127.0.0.1', 'billow_admin'@'127.0.0.1', 'billow_repl'@'127.0.0.1';
ALTER USER 'billow'@'127.0.0.1' IDENTIFIED BY '{mysql_app}';
ALTER USER 'billow_admin'@'127.0.0.1' IDENTIFIED BY '{mysql_admin}';
ALTER USER 'billow_repl'@'127.0.0.1' IDENTIFIED BY '{mysql_replication}';
GRANT SELECT, INSERT, UPDATE, DELETE ON billow.* TO 'billow'@'127.0.0.1';
GRANT SLAVE MONITOR ON *.* TO 'billow'@'127.0.0.1';
GRANT ALL ON billow.* TO 'billow_admin'@'127.0.0.1';
GRANT REPLICATION SLAVE ON *.* TO 'billow_repl'@'127.0.0.1';
"""


def role(state: State, node: str) -> str:
    """The role of a node: one of ROLES."""
    if node == state.primary:
        return "primary"
    return "outside" if node in state.outside else "replica"


def write_role(folder: RunFolder, node: str, role: str) -> None:
    """Writes the part of a node's configuration that says what it is. Takes effect at its next start."""
    write(folder.mysql(node) / "role.cnf", ROLES[role])


def write_config(folder: RunFolder, state: State, node: str) -> None:
    """Writes a node's configuration. Takes effect at its next start."""
    place = folder.mysql(node)
    for name in ("tmp", "binlog"):
        (place / name).mkdir(parents=True, exist_ok=True)
    is_primary = node == state.primary
    text = COMMON.format(
        server_id=SERVER_IDS[node],
        port=state.ports[node],
        folder=place,
        user="user = root\n" if os.geteuid() == 0 else "",
        wait_ms=WAIT_MS,
        pool_mib=state.options.primary_pool_mib if is_primary else state.options.replica_pool_mib,
    )
    write(place / "my.cnf", text)
    write_role(folder, node, role(state, node))
    write(place / "users.sql", USERS.format(**state.secrets), mode=0o600)


def program(folder: RunFolder, node: str) -> Program:
    """The process of one node."""
    return Program(
        name=node,
        command=(binary("mariadbd"), f"--defaults-file={folder.mysql(node)}/my.cnf"),
        stop_grace_s=20,
    )


def binary(name: str) -> str:
    """Returns the path of a MariaDB binary; raises StackError when it is not installed."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if path is None:
        raise StackError(f"{name} not found: apt-get install mariadb-server")
    return path


def create_data(folder: RunFolder, nodes: Sequence[str]) -> None:
    """Makes the data folders of the nodes, the same ones; blocks for about 1.5 s. Those that are there are kept.

    A folder appears under its name only when it is complete, so an interrupted first start is simply repeated.
    """
    missing = [folder.mysql(node) / "data" for node in nodes if not (folder.mysql(node) / "data").exists()]
    if not missing:
        return
    fresh = folder.root / "mysql-new"
    shutil.rmtree(fresh, ignore_errors=True)
    command = [
        binary("mariadb-install-db"),
        "--no-defaults",
        f"--datadir={fresh}",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
        "--innodb-log-file-size=4M",  # grows to its real size at the first start
        *(["--user=root"] if os.geteuid() == 0 else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError(f"mariadb-install-db failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    for data in missing:
        data.parent.mkdir(parents=True, exist_ok=True)
        copy = data.with_name("data-new")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(fresh, copy)
        copy.rename(data)
    shutil.rmtree(fresh)


@contextmanager
def root(
    folder: RunFolder, state: State, node: str, *, read_s: int = CONNECT_S
) -> Iterator[pymysql.cursors.DictCursor]:
    """Lends a cursor of the node's root user over its socket, autocommit on. Raises pymysql.err.MySQLError."""
    connection: pymysql.Connection[pymysql.cursors.DictCursor] = pymysql.connect(
        unix_socket=str(folder.mysql(node) / "mariadb.sock"),
        user="root",
        password=state.secrets["mysql_root"],
        autocommit=True,
        connect_timeout=CONNECT_S,
        read_timeout=read_s,
        cursorclass=pymysql.cursors.DictCursor,
        defer_connect=True,
    )
    connection.connect(_open_socket(folder.mysql(node) / "mariadb.sock"))
    with connection, connection.cursor() as cursor:
        yield cursor


def _open_socket(path: Path) -> socket.socket:
    """Connects to a Unix socket; pymysql would leave its own open when nobody listens yet."""
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(CONNECT_S)
    try:
        opened.connect(str(path))
    except OSError:
        opened.close()
        raise
    return opened


def answers(folder: RunFolder, state: State, node: str) -> bool:
    """Tells whether a node takes connections and statements."""
    try:
        with root(folder, state, node) as cursor:
            cursor.execute("SELECT 1")
    except (pymysql.err.MySQLError, OSError):
        return False
    return True


def variables(cursor: pymysql.cursors.DictCursor, kind: str, pattern: str) -> dict[str, str]:
    """Returns the global variables or the status counters whose names match, by name in lower case."""
    cursor.execute(f"SHOW GLOBAL {kind} LIKE %s", (pattern,))
    return {row["Variable_name"].lower(): row["Value"] for row in cursor.fetchall()}


def has_schema(folder: RunFolder, state: State) -> bool:
    """Tells whether the primary has tables that migrations made."""
    try:
        with root(folder, state, state.primary) as cursor:
            cursor.execute(f"SELECT version_num FROM {DATABASE}.alembic_version")  # noqa: S608  # a constant
            return bool(cursor.fetchall())
    except pymysql.err.MySQLError:
        return False


def address(state: State, node: str) -> Address:
    """Where a node listens."""
    return Address(host="127.0.0.1", port=state.ports[node])

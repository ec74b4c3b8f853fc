"""The stack itself, really started: lossless replication, processes that come back, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pymysql
import pytest
from click.testing import CliRunner

from core import settings as core_settings
from stack import DATA_STORES, Stack, StackError, StackOptions, mariadb, processes, seaweed
from stack.command import main
from stack.options import CHECKOUT

WAIT_S = 30.0
SMALL = StackOptions(parts=frozenset({"redis"}), redis_max_mib=32)


def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition; fails the test when it does not come."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def app_connection(stack: Stack, node: str) -> pymysql.Connection[pymysql.cursors.Cursor]:
    """A connection of the platform's own user."""
    config = core_settings.load(stack.config_path).mysql
    return pymysql.connect(
        host="127.0.0.1",
        port=stack.state.ports[node],
        user=config.user,
        password=config.password,
        database=config.database,
        autocommit=True,
    )


def command(stack_dir: Path, *arguments: str) -> tuple[int, str]:
    """Runs a command of `python -m stack` in this process and returns its exit code and what it wrote to stdout.

    Of a command that fails, what it wrote to stderr follows.
    """
    done = CliRunner().invoke(main, ["--run-dir", str(stack_dir), *arguments], prog_name="stack")
    return done.exit_code, done.stdout + (done.stderr if done.exit_code else "")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Stores of this module's own: its tests break them."""
    options = StackOptions(parts=DATA_STORES, primary_pool_mib=64, replica_pool_mib=64, redis_max_mib=32)
    with Stack(run_dir=tmp_path_factory.mktemp("own"), options=options) as stack:
        with mariadb.root(stack.folder, stack.state, "mysql-1") as cursor:
            cursor.execute("CREATE TABLE billow.marks (mark INT PRIMARY KEY)")
        yield stack


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Stack]:
    """A stack of Redis alone, up, and down afterwards whatever happened."""
    stack = Stack(run_dir=tmp_path, options=SMALL)
    stack.up(with_owner=True)
    yield stack
    stack.down()


def test_the_primary_is_lossless(stores: Stack) -> None:
    status = stores.replication()
    assert status.semi_sync
    assert status.wait_point == "AFTER_SYNC"
    assert (status.replicas, status.running, status.error) == (1, True, "")
    wanted = {
        "innodb_flush_log_at_trx_commit": "1",
        "sync_binlog": "1",
        "innodb_doublewrite": "ON",
        "rpl_semi_sync_master_timeout": str(mariadb.WAIT_MS),
        "rpl_semi_sync_master_wait_no_slave": "ON",
        "tx_isolation": "READ-COMMITTED",
        "binlog_format": "ROW",
    }
    for node in ("mysql-1", "mysql-2"):
        with mariadb.root(stores.folder, stores.state, node) as cursor:
            for name, value in wanted.items():
                cursor.execute(
                    "SELECT VARIABLE_VALUE AS v FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME = %s",
                    (name,),
                )
                assert list(cursor.fetchall()) == [{"v": value}], name
            cursor.execute("SELECT @@read_only AS v")
            assert list(cursor.fetchall()) == [{"v": int(node == "mysql-2")}]


def test_a_commit_waits_for_the_replica_and_nobody_sees_it_before(stores: Stack) -> None:
    """P1: with the replica frozen an insert is not answered; when it goes on, the insert is there on both."""
    stores.pause("mysql-2")
    try:
        connection = app_connection(stores, "mysql-1")
        thread_id = int(connection.thread_id())  # type: ignore[no-untyped-call]
        insert = threading.Thread(target=lambda: connection.cursor().execute("INSERT INTO marks VALUES (1)"))
        insert.start()
        until(lambda: "semi-sync ACK" in state_of(stores, thread_id))
        with app_connection(stores, "mysql-1") as other, other.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM marks")
            assert cursor.fetchall() == ((0,),)
        assert insert.is_alive()
    finally:
        stores.resume("mysql-2")
    insert.join(WAIT_S)
    assert not insert.is_alive()
    connection.close()
    for node in ("mysql-1", "mysql-2"):
        until(lambda node=node: marks(stores, node) == {1})  # type: ignore[misc]


def test_acknowledged_commits_survive_the_death_of_the_primary(stores: Stack) -> None:
    """P1, P10: kill -9 under load; everything answered before is there afterwards, on both nodes."""
    answered: set[int] = set()

    def issue() -> None:
        with app_connection(stores, "mysql-1") as connection, connection.cursor() as cursor:
            for mark in range(1_000, 1_000_000):
                cursor.execute("INSERT INTO marks VALUES (%s)", (mark,))
                answered.add(mark)

    def issue_until_killed() -> None:
        with pytest.raises(pymysql.err.OperationalError):
            issue()

    issuing = threading.Thread(target=issue_until_killed)
    issuing.start()
    until(lambda: len(answered) >= 50)
    stores.kill("mysql-1")
    issuing.join(WAIT_S)
    stores.wait_healthy("mysql-1")
    assert answered <= marks(stores, "mysql-1")
    until(lambda: stores.replication().running and stores.replication().replicas == 1)
    until(lambda: marks(stores, "mysql-2") == marks(stores, "mysql-1"))


def test_a_killed_replica_comes_back_and_catches_up(stores: Stack) -> None:
    before = stores.kill("mysql-2")
    with app_connection(stores, "mysql-1") as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO marks VALUES (2)")  # waits for the replica's return
    assert stores.pid("mysql-2") != before
    until(lambda: 2 in marks(stores, "mysql-2"))


def test_killed_stores_come_back(stores: Stack) -> None:
    for name in ("redis", "s3"):
        before = stores.kill(name)
        until(lambda name=name, before=before: stores.status()[name].pid not in (0, before))  # type: ignore[misc]
        stores.wait_healthy(name)


def test_the_platform_s_users_can_do_no_more_than_they_need(stores: Stack) -> None:
    with app_connection(stores, "mysql-1") as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("DROP TABLE marks")
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("SELECT Host, User FROM mysql.global_priv")
    replica = app_connection(stores, "mysql-2")
    with replica, replica.cursor() as cursor, pytest.raises(pymysql.err.OperationalError, match="read-only"):
        cursor.execute("INSERT INTO marks VALUES (99)")


def test_what_is_locked_in_the_archive_cannot_be_deleted(stores: Stack) -> None:
    from botocore.exceptions import ClientError

    admin = seaweed.admin_client(stores.state)
    kept = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
    version = admin.put_object(Bucket=seaweed.BUCKET, Key="kept", Body=b"1", **kept)["VersionId"]
    with pytest.raises(ClientError, match="AccessDenied"):
        admin.delete_object(Bucket=seaweed.BUCKET, Key="kept", VersionId=version, BypassGovernanceRetention=True)
    assert admin.get_object(Bucket=seaweed.BUCKET, Key="kept", VersionId=version)["Body"].read() == b"1"


def test_up_again_changes_nothing_and_down_leaves_nothing(small: Stack) -> None:
    pids = processes.find(small.folder.root)
    assert len(pids) == 2
    assert not Stack(run_dir=small.folder.root).up()
    assert processes.find(small.folder.root) == pids
    assert small.down()
    assert processes.find(small.folder.root) == []
    assert not small.down()
    with pytest.raises(StackError, match="not answer"):
        small.pid("redis")


def test_a_taken_port_is_avoided_and_the_new_one_remembered(small: Stack) -> None:
    small.down()
    old = small.address("redis").port
    with socket.create_server(("127.0.0.1", old)):
        small.up(with_owner=True)
    new = small.address("redis").port
    assert new != old
    small.down()
    small.up(with_owner=True)
    assert small.address("redis").port == new


def test_orphans_of_a_dead_supervisor_are_ended_by_the_next_start(small: Stack) -> None:
    orphan = small.pid("redis")
    (supervisor,) = set(processes.find(small.folder.root)) - {orphan}
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not processes.belongs(supervisor, small.folder.root))
    assert processes.belongs(orphan, small.folder.root)
    assert small.up(with_owner=True)
    assert not processes.belongs(orphan, small.folder.root)


def test_a_stack_ends_with_the_process_that_opened_it(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from stack import Stack, StackOptions\n"
        "options = StackOptions(parts=frozenset({'redis'}), redis_max_mib=32)\n"
        "with Stack(run_dir=pathlib.Path(sys.argv[1]), options=options):\n"
        "    print('up', flush=True)\n"
        "    time.sleep(600)\n"
    )
    line = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(line, cwd=CHECKOUT, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        assert len(processes.find(tmp_path)) == 2
        owner.kill()
    until(lambda: processes.find(tmp_path) == [])


def test_a_process_that_cannot_start_is_named_with_its_log(small: Stack) -> None:
    small.stop("redis")
    config = small.folder.redis / "redis.conf"
    config.write_text(config.read_text() + "nonsense 1\n")
    with pytest.raises(StackError, match=r"(?s)redis does not start.*nonsense"):
        small.start("redis")


def test_the_command_line(small: Stack) -> None:
    root = small.folder.root
    code, output = command(root, "status", "--json")
    report = json.loads(output)
    assert (code, report["healthy"], [row["name"] for row in report["processes"]]) == (0, True, ["redis"])
    assert "already running" in command(root, "up")[1]
    assert "there are: redis" in command(root, "logs", "rediss")[1]
    assert "neither server=N nor worker=N" in command(root, "scale", "servers=2")[1]
    assert command(root, "doctor")[0] == 0
    line = [sys.executable, "-m", "stack", "--run-dir", str(root), "logs", "redis"]
    assert b"Ready to accept connections" in subprocess.run(line, cwd=CHECKOUT, capture_output=True, timeout=60).stdout
    assert command(root, "down") == (0, "down\n")
    assert command(root, "down") == (0, "nothing was running\n")
    assert command(root, "status")[0] == 1


def state_of(stack: Stack, thread_id: int) -> str:
    """What a connection to the primary is doing."""
    with mariadb.root(stack.folder, stack.state, "mysql-1") as cursor:
        cursor.execute("SELECT STATE AS s FROM information_schema.PROCESSLIST WHERE ID = %s", (thread_id,))
        rows = cursor.fetchall()
        return str(rows[0]["s"]) if rows else ""


def marks(stack: Stack, node: str) -> set[int]:
    """What a node has in the table of these tests."""
    with app_connection(stack, node) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT mark FROM marks")
        return {row[0] for row in cursor.fetchall()}

"""Failover as a managed database does it, and the return of the node that was left behind (docs/failover.md).

The order is what keeps P1: first no replica gives the old primary another receipt, so it acknowledges nothing any more
(it waits for ever); then all that replicas have received is applied, and since every acknowledged commit was received
by one of them, the most advanced one has them all; only then somebody else takes writes, under the next epoch.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

import pymysql

from stack import mariadb, processes, state
from stack.backup import copy, noted
from stack.health import Waiter
from stack.mariadb import root, variables, write_role
from stack.options import RunFolder, StackError
from stack.progress import Progress
from stack.replication import POLL_S, REPLICATION_S, follow, sequence, slave_status, wait_joined
from stack.state import State
from stack.supervision import Supervisor

APPLIED_S: Final = 90.0  # for replicas to come back and apply what they have received; one may be 30 s behind
FENCED_S: Final = 5  # for the commits under way on a primary that is told to stop
DIVERGED: Final = 1236  # the primary's word for a position that is not in its history
T = TypeVar("T")
AWAY: Final = (pymysql.err.MySQLError, OSError)


class Failover:
    """Moves the primary's role. All methods block and raise StackError with what stands in the way."""

    def __init__(self, *, folder: RunFolder, supervisor: Supervisor, waiter: Waiter, progress: Progress) -> None:
        self._folder = folder
        self._supervisor = supervisor
        self._waiter = waiter
        self._progress = progress

    def failover(self, before: State, *, kill: bool, reachable: bool) -> State:
        """Fences the primary, promotes the most advanced replica, lets the others follow it; about a second.

        All replicas must come back in time, or nothing is promoted: one that is away may be the only one that has
        received an acknowledged commit. With a single replica the new primary has none: commits wait until the old
        one has rejoined, which is right (P1).
        """
        if not before.replicas:
            raise StackError("no replica is left to promote; bring one back with rejoin")
        old = before.primary
        after = replace(before, outside=(*before.outside, old))
        write_role(self._folder, old, "outside")  # whoever starts it now starts no primary
        try:
            with self._progress.step(f"fence {old}"):
                if kill and reachable:
                    self._end(old)
                elif reachable:
                    self._ask(before)
                for node in before.replicas:
                    self._on(before, node, lambda cursor: cursor.execute("STOP SLAVE IO_THREAD"))
            with self._progress.step("apply what was received"):
                positions = {node: self._apply(before, node) for node in before.replicas}
        except BaseException:
            write_role(self._folder, old, "primary")  # nothing was promoted: it may come back as what it was
            self._forget(before)
            raise
        new = max(positions, key=lambda node: sequence(positions[node]))
        after = replace(after, primary=new)
        with self._progress.step(f"promote {new}"):
            self._promote(after, new)
            for node in after.nodes:
                mariadb.write_config(self._folder, after, node)
            state.save(self._folder, after)
            self._on(after, new, lambda cursor: cursor.execute("SET GLOBAL read_only = OFF"))
            for node in after.replicas:
                self._on(after, node, lambda cursor: follow(cursor, after))
            wait_joined(self._folder, after)
        return after

    def rejoin(self, before: State, name: str) -> State:
        """Brings a node back as a replica: restarted, its tail cut off, or copied anew where that is not enough.

        The tail is what stands in its binary log and was received by nobody. MariaDB cuts it off while it recovers
        from the crash; what has gone into the tables already stays beside the new history, the primary refuses such
        a node by its GTID, and it becomes a copy of the primary.
        """
        if name not in before.others:
            raise StackError(f"{name} is no node that could rejoin; these are: {', '.join(before.others)}")
        after = replace(before, outside=tuple(node for node in before.outside if node != name))
        write_role(self._folder, name, "outside")
        with self._progress.step(f"rejoin {name}"):
            self._end(name)
            if not (self._start(before, name) and self._follows(after, name)):
                self._copy(before, name)
                if not (
                    self._start(before, name)
                    and self._follows(after, name, at=noted(self._folder.mysql(name) / "data")[1])
                ):
                    raise StackError(f"{name} does not follow {before.primary} although it is a copy of it")
            mariadb.write_config(self._folder, after, name)
            state.save(self._folder, after)
            wait_joined(self._folder, after)
            write_role(self._folder, after.primary, "primary")
            self._on(after, after.primary, lambda cursor: cursor.execute("SET GLOBAL read_only = OFF"))
        return after

    # --- fencing ------------------------------------------------------------------------------------------------

    def _end(self, node: str) -> None:
        """Kills a node and keeps it away."""
        known = self._supervisor.states().get(node)
        if known is not None and known.pid and processes.belongs(known.pid, self._folder.root):
            # frozen first: it must not hear of an orderly end, in which it might acknowledge what nobody has received;
            # and the supervisor is told before it ends, or it starts it again, and an orderly end then takes 20 s
            os.kill(known.pid, signal.SIGSTOP)
            self._supervisor.tell_to_stop([node])
            os.kill(known.pid, signal.SIGKILL)
        self._supervisor.stop([node])

    def _ask(self, before: State) -> None:
        """Tells a living primary to take no more writes, and waits until its replicas have all of them.

        read_only waits for the commits under way; when they do not end the replicas leave it, and it never will
        acknowledge them. Its connections are killed after that and not before: a killed one may acknowledge a commit
        that nobody has received.
        """
        try:
            with root(self._folder, before, before.primary, read_s=2 * FENCED_S) as cursor:
                cursor.execute(f"SET SESSION lock_wait_timeout = {FENCED_S:d}")
                cursor.execute("SET GLOBAL read_only = ON")
                gtid = variables(cursor, "VARIABLES", "gtid_binlog_pos")["gtid_binlog_pos"]
                for user in ("billow", "billow_admin"):
                    cursor.execute(f"KILL USER '{user}'@'127.0.0.1'")
        except AWAY:
            return
        for node in before.replicas:
            self._wait_applied(before, node, lambda: gtid)

    def _apply(self, before: State, node: str) -> str:
        """Waits until a replica has applied all it has received; returns its position."""

        def received(cursor: Any) -> str:
            row = slave_status(cursor)
            if row.get("Using_Gtid") == "No":
                raise StackError(
                    f"{node} follows by position since a release that broke off: CHANGE MASTER TO "
                    "MASTER_USE_GTID = slave_pos, once it has applied all, and again"
                )
            if row.get("Slave_SQL_Running") == "No":
                cursor.execute("START SLAVE SQL_THREAD")
            return str(row.get("Gtid_IO_Pos", ""))

        gtid = self._on(before, node, received)
        return self._wait_applied(before, node, lambda: gtid)

    def _wait_applied(self, before: State, node: str, wanted: Callable[[], str]) -> str:
        """Waits until a node has applied a position; returns where it is then."""
        deadline = time.monotonic() + APPLIED_S
        while True:
            position = self._on(before, node, lambda cursor: variables(cursor, "VARIABLES", "gtid_slave_pos"))
            if sequence(position["gtid_slave_pos"]) >= sequence(wanted()):
                return position["gtid_slave_pos"]
            if time.monotonic() > deadline:
                raise StackError(f"{node} has not applied what it has received: {position}, wanted {wanted()}")
            time.sleep(POLL_S)

    def _on(self, before: State, node: str, work: Callable[[Any], T]) -> T:
        """Does something on a node, waiting for it to come back if it is away."""
        deadline = time.monotonic() + APPLIED_S
        while True:
            try:
                with root(self._folder, before, node) as cursor:
                    return work(cursor)
            except AWAY as error:
                if time.monotonic() > deadline:
                    raise StackError(f"{node} does not answer, so nothing was promoted: {error}") from error
                time.sleep(POLL_S)

    # --- promotion ----------------------------------------------------------------------------------------------

    def _promote(self, after: State, node: str) -> None:
        """Makes a replica the primary, but for taking writes.

        The epoch is raised before it waits for receipts: it may have no replica yet, and nobody else writes.
        """

        def work(cursor: Any) -> None:
            cursor.execute("STOP SLAVE")
            cursor.execute("RESET SLAVE ALL")
            cursor.execute("SET GLOBAL rpl_semi_sync_slave_enabled = OFF")
            cursor.execute(f"UPDATE {mariadb.DATABASE}.fencing SET epoch = epoch + 1")  # noqa: S608  # a constant
            cursor.execute("SET GLOBAL rpl_semi_sync_master_enabled = ON")

        self._on(after, node, work)

    def _forget(self, before: State) -> None:
        """Lets the replicas go on following, as far as they can be reached."""
        for node in before.replicas:
            try:
                with root(self._folder, before, node) as cursor:
                    cursor.execute("START SLAVE")
            except AWAY:
                continue
        self._supervisor.start([before.primary])

    # --- return -------------------------------------------------------------------------------------------------

    def _start(self, before: State, node: str) -> bool:
        """Starts a node; tells whether it came up."""
        self._supervisor.start([node])
        try:
            self._waiter.wait(before, node)
        except StackError:
            return False
        return True

    def _follows(self, after: State, node: str, *, at: str | None = None) -> bool:
        """Makes a node follow the primary from `at`, or from where it is; tells whether that works.

        It does when the node has the present epoch: then it has received something of the new primary.
        """
        with root(self._folder, after, node) as cursor:
            cursor.execute("STOP SLAVE")
            cursor.execute("RESET SLAVE ALL")
            if at is None:
                at = variables(cursor, "VARIABLES", "gtid_binlog_pos")["gtid_binlog_pos"]
            try:
                cursor.execute("SET GLOBAL gtid_slave_pos = %s", (at,))
            except pymysql.err.MySQLError:
                return False
            follow(cursor, after)
            deadline = time.monotonic() + REPLICATION_S
            while time.monotonic() < deadline:
                row = slave_status(cursor)
                if row["Last_IO_Errno"] == DIVERGED or row["Last_SQL_Errno"]:
                    return False
                running = row["Slave_IO_Running"] == row["Slave_SQL_Running"] == "Yes"
                if running and self._has_epoch(after, cursor):
                    return True
                time.sleep(POLL_S)
        raise StackError(f"{node} does not follow {after.primary} after {REPLICATION_S:.0f} s")

    def _has_epoch(self, after: State, cursor: Any) -> bool:
        """Tells whether a node has the primary's epoch."""
        sql = f"SELECT epoch FROM {mariadb.DATABASE}.fencing"  # noqa: S608  # a constant
        cursor.execute(sql)
        here = cursor.fetchall()
        with root(self._folder, after, after.primary) as primary:
            primary.execute(sql)
            return bool(here == primary.fetchall())

    def _copy(self, before: State, node: str) -> None:
        """Replaces a node's data by a copy of the primary's, taken while the primary works.

        Without any replica the primary's commits stand still and with them the copying tool, which waits for them:
        then the primary is restarted so that it takes no writes until the copy is there. Nothing is lost by that, as
        nobody was told of those commits; who asked finds out by the request id.
        """
        self._end(node)
        if not before.replicas:
            write_role(self._folder, before.primary, "waiting")
            self._end(before.primary)
            if not self._start(before, before.primary):
                raise StackError(f"{before.primary} does not come back to be copied")
        place = self._folder.mysql(node)
        fresh = place / "data-new"
        copy(self._folder, before, before.primary, fresh)
        shutil.rmtree(place / "data")
        shutil.rmtree(place / "binlog")
        (place / "binlog").mkdir()
        fresh.rename(place / "data")

"""Restoring the database from a backup, to its end or to the commit of a named invoice (docs/backup.md, ADR 0038).

The restored node is made beside what is there: the backup, its logs replayed up to the point, numbers that may be out
in the world set aside, the epoch raised. Only then the folders change places, under a mark that keeps the stack from
starting in between. Nothing is deleted: what was there before lies in `before-restore-TIME/`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pymysql
import pymysql.cursors

from core.storage import withdrawal
from core.storage.spans import Span
from stack import backup, history, mariadb, processes, state
from stack.backup import Backup
from stack.binlog import following, log_files, transactions
from stack.history import History
from stack.lost import FILE, Lost
from stack.mariadb import root, variables
from stack.options import RunFolder, StackError
from stack.progress import Progress
from stack.replication import sequence
from stack.state import NODES, State

START_S: Final = 120.0  # a prepared copy recovers nothing, but its log file grows to its size
STOP_S: Final = 60.0
POLL_S: Final = 0.05
SCRATCH: Final = "new"  # where the node is made; short, for the path of its socket
# so far behind all that anybody has seen goes the new history on: a node of the old one cannot pass for one of the new
GTID_JUMP: Final = 1_000_000
AWAY: Final = (pymysql.err.MySQLError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did."""

    gtid: str  # of the last transaction of the old history in it
    epoch: int
    issued_after: int  # invoices that the logs have and the database has not; `list` names them
    list: str
    withdrawn: int  # numbers set aside
    before: str  # the folder with what was there


@dataclass(slots=True)
class _Plan:
    chosen: History
    lost: Sequence[Span]  # numbers issued after the point
    last_sequence: int
    epoch: int
    complete: bool  # the log of the primary itself was read to its end


class Restorer:
    """Restores the database of a stack that is down. Raises StackError with what stands in the way."""

    def __init__(self, *, folder: RunFolder, progress: Progress) -> None:
        self._folder = folder
        self._progress = progress
        self._scratch = RunFolder(folder.root / SCRATCH)
        self._node = NODES[0]

    def restore(self, current: State, source: Path, *, number: str | None, margin: int | None) -> Restored:
        """Makes the database what it was after the commit of invoice `number`, or after the last one there is.

        `margin`: how many numbers more to set aside in every range that could have gone on; needed where the log of
        the old primary is not there to its end, because nobody can say then what was issued last.
        """
        made = backup.load(source)
        with Lost.listed_in(self._folder.root) as lost:
            with self._progress.step("read the logs"):
                plan = self._plan(current, made, source, number, lost)
            if margin is None and not plan.complete:
                raise StackError(
                    f"the log of {current.primary} is not there to its end, so invoices may have been issued that no"
                    " log tells of, and their numbers must not be given again: say with --margin how many numbers of"
                    " every range to set aside beyond those known (more than can have been issued since the last copy"
                    " of logs)"
                )
            aside = self._aside()
            lost.keep(aside / FILE)
        with self._progress.step(f"replay to {plan.chosen.replay.gtid}"):
            epoch, withdrawn = self._make(current, made, source, plan, margin or 0)
        with self._progress.step("change places"):
            self._swap(current, aside)
        return Restored(
            gtid=plan.chosen.replay.gtid,
            epoch=epoch,
            issued_after=lost.count,
            list=str(aside / FILE),
            withdrawn=withdrawn,
            before=str(aside),
        )

    # --- what to do ---------------------------------------------------------------------------------------------

    def _plan(self, current: State, made: Backup, source: Path, number: str | None, lost: Lost) -> _Plan:
        """Reads all logs that go beyond the backup: those of nodes that survived, joined with those beside it."""
        seen: list[History] = []
        complete = False
        wrong: list[str] = []
        for node in current.nodes:
            own = log_files(self._own(node) / "binlog")
            files = join_logs(log_files(source / "logs" / node), own)
            if not files:
                continue
            try:
                found = history.read(
                    transactions(following(files, sequence(made.gtid))),
                    backup_sequence=sequence(made.gtid),
                    backup_gtid=made.gtid,
                    number=number,
                    lose=lost.note,
                )
            except StackError as error:  # the wreck of a node may be unreadable; others are asked
                wrong.append(str(error))
                continue
            seen.append(found)
            complete = complete or bool(own and node == current.primary)
        usable = [item for item in seen if item.found]
        if not usable:
            told = f"; unreadable: {'; '.join(wrong)}" if wrong else ""
            raise StackError(
                f"no log after the backup of {made.taken_at} has invoice {number}: is it in the backup already? then"
                f" take an earlier one{told}"
                if number
                else f"there are no logs that follow the backup{told}"
            )
        chosen = max(usable, key=lambda item: sequence(item.replay.gtid))
        last = max(item.last_sequence for item in seen)
        return _Plan(chosen, lost.numbers.spans(), last, max(item.epoch for item in seen), complete)

    def _own(self, node: str) -> Path:
        """Where a node of the old history lies: aside, when an earlier attempt was interrupted."""
        mark = _mark(self._folder)
        if mark.exists() and (aside := self._folder.root / mark.read_text().strip() / node).exists():
            return aside
        return self._folder.mysql(node)

    # --- the new node -------------------------------------------------------------------------------------------

    def _make(self, current: State, made: Backup, source: Path, plan: _Plan, margin: int) -> tuple[int, int]:
        """Makes the restored node; returns its epoch and how many numbers were set aside."""
        shutil.rmtree(self._scratch.root, ignore_errors=True)
        alone = replace(current, primary=self._node, outside=())
        mariadb.write_config(self._scratch, alone, self._node)
        mariadb.write_role(self._scratch, self._node, "outside")  # takes no writes but root's, waits for nobody
        place = self._scratch.mysql(self._node)
        _copy_tree(source / "data", place / "data")
        with self._running(alone):
            with root(self._scratch, alone, self._node) as cursor:
                cursor.execute("RESET MASTER")
                cursor.execute("SET GLOBAL gtid_binlog_state = %s", (made.gtid,))
            if plan.chosen.replay.files:
                self._replay(alone, plan)
            with root(self._scratch, alone, self._node, read_s=int(START_S)) as cursor:
                at = variables(cursor, "VARIABLES", "gtid_binlog_pos")["gtid_binlog_pos"]
                if at != plan.chosen.replay.gtid:
                    raise StackError(f"the logs were replayed to {at}, not to {plan.chosen.replay.gtid}")
                cursor.execute("SET SESSION gtid_seq_no = %s", (plan.last_sequence + GTID_JUMP,))
                sql = f"UPDATE {mariadb.DATABASE}.fencing SET epoch = GREATEST(epoch, %s) + 1"  # noqa: S608  # a constant
                cursor.execute(sql, (plan.epoch,))
                cursor.execute(f"SELECT epoch FROM {mariadb.DATABASE}.fencing")  # noqa: S608  # a constant
                epoch = int(cursor.fetchall()[0]["epoch"])
                withdrawn = withdraw(cursor, plan.lost, margin)
                at = variables(cursor, "VARIABLES", "gtid_binlog_pos")["gtid_binlog_pos"]
                cursor.execute("SET GLOBAL gtid_slave_pos = %s", (at,))  # for its copies, which become replicas
        return epoch, withdrawn

    @contextmanager
    def _running(self, alone: State) -> Iterator[None]:
        """Runs the new node, reachable over its socket only, and ends it in good order."""
        place = self._scratch.mysql(self._node)
        command = [mariadb.binary("mariadbd"), f"--defaults-file={place / 'my.cnf'}", "--skip-networking"]
        log = self._folder.logs / "restore.log"
        log.parent.mkdir(exist_ok=True)
        environment = {**os.environ, processes.MARK: str(self._folder.root)}
        with log.open("ab") as output:
            server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            deadline = time.monotonic() + START_S
            while not mariadb.answers(self._scratch, alone, self._node):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise StackError(f"the restored database does not start; see {log}")
                time.sleep(POLL_S)
            yield
            server.terminate()
            if server.wait(STOP_S) != 0:
                raise StackError(f"the restored database did not end well; see {log}")
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()

    def _replay(self, alone: State, plan: _Plan) -> None:
        """Replays logs as MariaDB's own documentation has it: what mariadb-binlog prints goes into the client."""
        part = plan.chosen.replay
        stop = [f"--stop-position={part.stop}"] if part.stop else []
        start = f"--start-position={part.start}"
        reading = [mariadb.binary("mariadb-binlog"), "--no-defaults", start, *stop, *map(str, part.files)]
        place = self._scratch.mysql(self._node)
        secret = alone.secrets["mysql_root"]
        with backup.login(place / "replay.cnf", "client", user="root", password=secret) as option:
            writing = [mariadb.binary("mariadb"), option, f"--socket={place / 'mariadb.sock'}", "--binary-mode"]
            writing.append("--max-allowed-packet=1G")
            with subprocess.Popen(reading, stdout=subprocess.PIPE) as reader:
                writer = subprocess.run(writing, stdin=reader.stdout, capture_output=True, check=False)
        if reader.returncode or writer.returncode:
            raise StackError(f"the logs could not be replayed: {writer.stderr.decode(errors='replace')[-2000:]}")

    # --- its place ----------------------------------------------------------------------------------------------

    def _aside(self) -> Path:
        """The folder for what is there now; the one of an interrupted attempt is taken again."""
        mark = _mark(self._folder)
        if mark.exists():
            return self._folder.root / mark.read_text().strip()
        return self._folder.root / f"before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"

    def _swap(self, current: State, aside: Path) -> None:
        """Moves the old nodes aside and the new ones in."""
        made = self._scratch.mysql(self._node)
        for node in current.nodes[1:]:
            _copy_tree(made / "data", self._scratch.mysql(node) / "data")
            (self._scratch.mysql(node) / "binlog").mkdir(exist_ok=True)
        home = self._folder.mysql(self._node) / "binlog"
        listed = [f"{home / path.name}\n" for path in log_files(made / "binlog")]
        state.write(made / "binlog" / "binlog.index", "".join(listed))  # it names them by their whole paths
        state.write(_mark(self._folder), f"{aside.name}\n")
        for node in current.nodes:
            place = self._folder.mysql(node)
            if place.exists() and not (aside / node).exists():
                place.rename(aside / node)
            (aside / node).mkdir(exist_ok=True)  # also of a node that was gone: from here on its name is the new one's
        for node in current.nodes:
            shutil.rmtree(self._folder.mysql(node), ignore_errors=True)
            self._scratch.mysql(node).rename(self._folder.mysql(node))
        state.save(self._folder, replace(current, primary=self._node, outside=()))
        _mark(self._folder).unlink()
        shutil.rmtree(self._scratch.root)


def withdraw(cursor: Any, lost: Sequence[Span], margin: int) -> int:
    """Sets aside the numbers of lost invoices and `margin` more of every open range; returns how many in all."""
    cursor.execute(f"USE {mariadb.DATABASE}")
    cursor.execute("START TRANSACTION")
    cursor.execute(withdrawal.LOCK)
    rows = [withdrawal.range_row(**found) for found in cursor.fetchall()]
    count = 0
    for item in withdrawal.withdrawals(rows, lost, margin, now_us=time.time_ns() // 1_000):
        for sql, values in item.statements:
            cursor.execute(sql, values)
        count += item.count
    cursor.execute("COMMIT")
    return count


def join_logs(copied: Iterable[Path], own: Iterable[Path]) -> list[Path]:
    """A node's logs in order, of what was copied and what it still has: of each the longer one."""
    longest: dict[str, Path] = {}
    for path in (*copied, *own):
        if path.name not in longest or path.stat().st_size > longest[path.name].stat().st_size:
            longest[path.name] = path
    return sorted(longest.values(), key=lambda path: int(path.suffix[1:]))


def require_whole(folder: RunFolder) -> None:
    """Raises StackError where a restore was interrupted while folders changed places: a node may be missing."""
    if _mark(folder).exists():
        raise StackError(f"a restore was interrupted in {folder.root}: run it again before anything is started")


def _mark(folder: RunFolder) -> Path:
    return folder.root / "restoring"


def _copy_tree(source: Path, target: Path) -> None:
    """Copies a folder, holes as holes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    backup.run("cp", "--recursive", "--sparse=always", "--reflink=auto", str(source), str(target))

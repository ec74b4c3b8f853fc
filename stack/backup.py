"""Backups of the database: a physical copy of one node, and the binary logs that came after it (docs/backup.md).

A backup is a folder: `data` (prepared, ready to be started), `logs/NODE/` (binary logs, one folder a node they were
copied from), and `backup.json`, written last: a folder without it is no backup.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import pymysql

from stack import mariadb, state
from stack.binlog import log_files
from stack.mariadb import root
from stack.options import RunFolder, StackError
from stack.progress import Progress
from stack.state import State

COPY_S: Final = 3_600
BLOCK_BYTES: Final = 1024 * 1024
NOTED: Final = ("mariadb_backup_binlog_info", "xtrabackup_binlog_info")  # by newer and by older releases


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What `backup.json` says."""

    node: str  # that was copied
    gtid: str  # of the last transaction in the copy
    log: str  # its binary log then
    taken_at: str  # UTC


def load(folder: Path) -> Backup:
    """Reads what a backup is; raises StackError where none is."""
    try:
        return Backup(**json.loads((folder / "backup.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise StackError(f"{folder} is no backup, or one that was interrupted: {error}") from error


class Backups:
    """Takes backups of a running stack. All methods block and raise StackError with what stands in the way."""

    def __init__(self, *, folder: RunFolder, progress: Progress) -> None:
        self._folder = folder
        self._progress = progress

    def take(self, current: State, target: Path, *, node: str | None = None) -> Backup:
        """Copies a node while it works, the first replica unless told otherwise, and makes the copy startable.

        The node must be able to commit: the primary without a replica is not, and the copying tool would wait for it.
        """
        source = node or next(iter(current.replicas), current.primary)
        if source not in (current.primary, *current.replicas):
            raise StackError(f"{source} is neither the primary nor a replica")
        if target.exists() and any(target.iterdir()):
            raise StackError(f"{target} is not empty")
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._progress.step(f"copy {source}"):
            copy(self._folder, current, source, target / "data")
        log, gtid = noted(target / "data")
        taken_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        made = Backup(node=source, gtid=gtid, log=log, taken_at=taken_at)
        state.write(target / "backup.json", json.dumps(asdict(made), indent=2) + "\n")
        self.copy_logs(current, target, node=source)
        return made

    def copy_logs(self, current: State, target: Path, *, node: str | None = None) -> list[str]:
        """Brings the backup's logs up to this moment, and names those that were copied; may be repeated.

        From the node that the backup was taken from as long as it is there, else from a replica or the primary.
        """
        made = load(target)
        usable = (*current.replicas, current.primary)
        source = node or (made.node if made.node in usable else usable[0])
        place = target / "logs" / source
        place.mkdir(parents=True, exist_ok=True)
        with self._progress.step(f"binary logs of {source}"):
            there = self._logs(current, source)
            known = [path.name for path in log_files(place)]
            first = known[-1] if known else made.log if source == made.node else there[0]
            if first not in there:
                raise StackError(f"{source} has no log {first} any more: take a new backup")
            wanted = there[there.index(first) :]
            self._fetch(current, source, place, wanted)
        return wanted

    def _logs(self, current: State, node: str) -> list[str]:
        """The binary logs of a node in order."""
        try:
            with root(self._folder, current, node) as cursor:
                cursor.execute("SHOW BINARY LOGS")
                return [row["Log_name"] for row in cursor.fetchall()]
        except (pymysql.err.MySQLError, OSError) as error:
            raise StackError(f"{node} does not answer: {error}") from error

    def _fetch(self, current: State, node: str, place: Path, names: Sequence[str]) -> None:
        """Reads logs as a replica would, from the first one named to the present end; each appears when it is whole."""
        arriving = place / "arriving"
        shutil.rmtree(arriving, ignore_errors=True)
        arriving.mkdir()
        password = current.secrets["mysql_replication"]
        with login(place / "fetch.cnf", "mariadb-binlog", user="billow_repl", password=password) as option:
            run(
                mariadb.binary("mariadb-binlog"),
                option,
                "--read-from-remote-server",
                "--raw",
                "--host=127.0.0.1",
                f"--port={current.ports[node]}",
                f"--result-file={arriving}/",
                "--to-last-log",
                names[0],
            )
        for path in log_files(arriving):
            if not _goes_on(place / path.name, path):
                raise StackError(f"{node} has another {path.name} than it had: its logs began anew, take a new backup")
            path.replace(place / path.name)
        arriving.rmdir()


def copy(folder: RunFolder, current: State, node: str, data: Path) -> None:
    """Copies a running node's data and makes the copy startable; an earlier attempt is removed."""
    shutil.rmtree(data, ignore_errors=True)
    place = folder.mysql(node)
    program = mariadb.binary("mariadb-backup")
    secret = current.secrets["mysql_root"]
    with login(data.with_name("copy.cnf"), "mariadb-backup", user="root", password=secret) as option:
        run(
            program,
            option,
            "--backup",
            f"--target-dir={data}",
            f"--datadir={place / 'data'}",
            f"--socket={place / 'mariadb.sock'}",
        )
    run(program, "--prepare", f"--target-dir={data}")


def noted(data: Path) -> tuple[str, str]:
    """The binary log and the GTID at which a copy was taken."""
    for name in NOTED:
        if (data / name).exists():
            log, _, gtid = (data / name).read_text().split()[:3]
            return log, gtid
    raise StackError(f"no position was noted with the copy in {data}")


@contextmanager
def login(path: Path, section: str, *, user: str, password: str) -> Iterator[str]:
    """Lends the option that names a file with a login, which nobody else can read and which goes afterwards."""
    state.write(path, f"[{section}]\nuser={user}\npassword={password}\n", mode=0o600)
    try:
        yield f"--defaults-file={path}"
    finally:
        path.unlink()


def run(*command: str) -> None:
    """Runs a program to its end; raises StackError with what it said when that is not a good one."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COPY_S)
    if done.returncode != 0:
        raise StackError(f"{command[0]} failed:\n{done.stderr[-2000:]}")


def _goes_on(before: Path, now: Path) -> bool:
    """Tells whether a log begins with what was copied of it before."""
    if not before.exists():
        return True
    with before.open("rb") as old, now.open("rb") as new:
        while block := old.read(BLOCK_BYTES):
            if new.read(len(block)) != block:
                return False
    return True

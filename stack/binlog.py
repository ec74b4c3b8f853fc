"""What binary logs hold, read by mariadb-binlog: which transaction issued an invoice, and what came after it.

The logs are in row format: an invoice is the text `### INSERT INTO `billow`.`invoices`` and its columns behind it.
Values cannot imitate that, as line breaks in them are escaped.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.mariadb import DATABASE, binary
from stack.options import StackError
from stack.replication import sequence

FILES: Final = "binlog.[0-9]*"
_AT: Final = re.compile(rb"# at (\d+)$")
_GTID: Final = re.compile(rb"#\d{6} [ \d:]{8} server id \d+ .*\tGTID (\d+-\d+-\d+)(?: |$)")
_ROW: Final = re.compile(rb"### (INSERT INTO|UPDATE|DELETE FROM) `(\w+)`\.`(\w+)`$")
_BEFORE: Final = b"\tGtid list ["
_PLACE: Final = re.compile(rb"\d+-\d+-(\d+)")
HEAD_LINES: Final = 1_000  # of what is printed of a log; its list has a line for each server that ever was a primary
_VALUE: Final = b"###   @"
_SET: Final = b"### SET"
_NUMBER, _SELLER, _REQUEST = b"1=", b"2=", b"3="  # places of columns in `invoices`; new ones come at the end
_EPOCH: Final = b"2="  # in `fencing`
_WANTED: Final = frozenset((_NUMBER, _SELLER, _REQUEST, _EPOCH))


@dataclass(frozen=True, slots=True)
class Issued:
    """An invoice as a log has it."""

    number: str
    seller_key: int
    request_id: str


@dataclass(slots=True)
class Transaction:
    """One transaction: where it begins in its file, and what of it matters here."""

    gtid: str
    file: Path
    at: int
    issued: list[Issued]
    epoch: int = 0  # that it raised to; 0: it did not

    @property
    def sequence(self) -> int:
        """Its place in the history."""
        return sequence(self.gtid)


def log_files(folder: Path) -> list[Path]:
    """The binary logs of a folder in their order."""
    return sorted(folder.glob(FILES), key=lambda path: int(path.suffix[1:]))


def following(files: Sequence[Path], place: int) -> list[Path]:
    """Leaves out the logs that end before a place in the history: those before the last one that begins by then."""
    begun = [at for at, file in enumerate(files) if (begin := begins(_lines(file))) is not None and begin <= place]
    return list(files[begun[-1] if begun else 0 :])


def begins(lines: Iterable[bytes]) -> int | None:
    """The place in the history where a log begins: its head names the last transactions before it, by server.

    None of a log that ends in its head. `lines`: what mariadb-binlog printed.
    """
    told: list[bytes] = []
    for line in itertools.islice(lines, HEAD_LINES):
        if told or _BEFORE in line:
            told.append(line.rsplit(b"[", 1)[-1])
            if line.endswith(b"]"):
                return max(map(int, _PLACE.findall(b" ".join(told))), default=0)
    return None


def transactions(files: Iterable[Path]) -> Iterator[Transaction]:
    """Yields the transactions of some logs in order; raises StackError when one cannot be read."""
    for file in files:
        yield from parse(file, _lines(file))


def parse(file: Path, lines: Iterable[bytes]) -> Iterator[Transaction]:
    """Yields the transactions of what mariadb-binlog printed of one file; about 4 µs an invoice."""
    now: Transaction | None = None
    at, table, values = 0, b"", dict[bytes, bytes]()

    def finish() -> None:
        if now is not None and table == b"invoices":
            request_id = values[_REQUEST][1:-1].decode("latin1")
            now.issued.append(Issued(values[_NUMBER][1:-1].decode(), int(values[_SELLER].split()[0]), request_id))
        elif now is not None and table == b"fencing" and _EPOCH in values:
            now.epoch = max(now.epoch, int(values[_EPOCH].split()[0]))

    for line in lines:
        if line.startswith(_VALUE):
            if table and (place := line[7:9]) in _WANTED:
                values[place] = line[9:]
        elif line.startswith(_SET):
            values = {}  # of an UPDATE what was there before is of no interest
        elif row := _ROW.match(line):
            finish()
            known = row[2] == DATABASE.encode() and (row[1] == b"INSERT INTO" or row[3] == b"fencing")
            table, values = row[3] if known else b"", {}
        elif not line.startswith(b"#"):
            continue
        elif found := _AT.match(line):
            finish()
            table, at = b"", int(found[1])
        elif found := _GTID.match(line):
            if now is not None:
                yield now
            now = Transaction(found[1].decode(), file, at, [])
    finish()
    if now is not None:
        yield now


def _lines(file: Path) -> Iterator[bytes]:
    """Lets mariadb-binlog print a file, its rows as comments."""
    command = [binary("mariadb-binlog"), "--no-defaults", "--base64-output=decode-rows", "--verbose", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        line = b""
        for line in process.stdout or ():
            yield line.rstrip(b"\n")
    if process.returncode != 0:
        raise StackError(f"{file} cannot be read: {line.decode(errors='replace')}")

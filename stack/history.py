"""What a restore finds in the binary logs: where to begin, where to stop, and what was issued after that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from stack.binlog import Issued, Transaction
from stack.options import StackError


@dataclass(slots=True)
class Replay:
    """A part of one node's logs: `files` in order, from `start` in the first to before `stop` in the last.

    Positions are bytes; `stop` 0 means the end. No files: the backup itself is what was asked for.
    """

    gtid: str  # of the last transaction of it
    files: list[Path] = field(default_factory=list)
    start: int = 0
    stop: int = 0


@dataclass(slots=True)
class History:
    """A node's logs after a backup, and the part of them that is wanted."""

    replay: Replay
    found: bool  # the invoice that was named, or no invoice was named
    last_sequence: int = 0
    epoch: int = 0  # the highest one that the logs raised to


def read(
    after: Iterable[Transaction],
    *,
    backup_sequence: int,
    backup_gtid: str,
    number: str | None,
    lose: Callable[[Iterable[Issued]], None],
) -> History:
    """Goes through one node's transactions once; raises StackError when they do not follow the backup without a gap.

    `number`: the invoice whose commit is the last one wanted; None: all there is. `lose` is told what was issued later.
    """
    history = History(Replay(backup_gtid), found=number is None, last_sequence=backup_sequence)
    replay = history.replay
    taking, ended = True, False
    for item in after:
        history.epoch = max(history.epoch, item.epoch)
        if item.sequence <= backup_sequence:
            continue
        if item.sequence != history.last_sequence + 1:
            raise StackError(f"{item.file} goes from {history.last_sequence} to {item.gtid}: a log is missing")
        history.last_sequence = item.sequence
        if taking:
            if not replay.files:
                replay.start = item.at
            if item.file not in replay.files:
                replay.files.append(item.file)
            replay.gtid = item.gtid
            if any(issued.number == number for issued in item.issued):
                history.found, taking = True, False
            continue
        if not ended and item.file == replay.files[-1]:
            replay.stop = item.at
        ended = True
        lose(item.issued)
    return history

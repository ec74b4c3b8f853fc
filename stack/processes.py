"""The processes of this machine as /proc tells them: whose they are, how old, how large, and how to end them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARK: Final = "BILLOW_STACK_RUN_DIR"  # in the environment of every process of a stack; names its run folder
FROZEN_S: Final = 1.0
_PROC: Final = Path("/proc")
_GONE: Final = frozenset({"Z", ""})  # states (proc(5)); the empty one: no such process
_STILL: Final = _GONE | {"T", "t"}
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process has used so far."""

    cpu_s: float
    rss_bytes: int
    uptime_s: float


def belongs(pid: int, run_dir: Path) -> bool:
    """Tells whether a live process was started by the stack of this run folder.

    The mark in the environment decides, never a remembered pid: after a crash of the machine that may be anybody's.
    """
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={run_dir}".encode() in environment.split(b"\0") and not _is_zombie(pid)


def find(run_dir: Path) -> list[int]:
    """Returns the pids of every live process of this run folder's stack, the caller's own excepted."""
    own = os.getpid()
    pids = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())
    return sorted(pid for pid in pids if pid != own and belongs(pid, run_dir))


def end(pids: Iterable[int], *, run_dir: Path, grace_s: float) -> None:
    """Ends the given processes: SIGTERM, and SIGKILL for those still there after the grace. Blocks until they are gone.

    Each pid is checked again just before each signal.
    """
    left = [pid for pid in pids if belongs(pid, run_dir)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            _send(pid, number)
            _send(pid, signal.SIGCONT)  # a stopped process takes no SIGTERM
        deadline = time.monotonic() + grace_s
        while left and time.monotonic() < deadline:
            left = [pid for pid in left if belongs(pid, run_dir)]
            time.sleep(0.02)


def wait_frozen(pid: int, *, within_s: float = FROZEN_S) -> None:
    """Returns when every thread of a process that was sent SIGSTOP stands still, or the process is gone.

    The signal only asks: a thread in the middle of a system call finishes it. One that waits for a disk may take as
    long as the disk; after `within_s` nobody waits for it any more.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        states = [_state(stat) for stat in (_PROC / str(pid)).glob("task/*/stat")]
        if all(state in _STILL for state in states):
            return
        time.sleep(0.001)


def usage(pid: int) -> Usage | None:
    """Returns what a process has used, or None when it is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        uptime_s = float((_PROC / "uptime").read_text().split()[0])
    except OSError:
        return None
    # counted from the field after the name: utime 11, stime 12, starttime 19, rss 21 (proc(5))
    return Usage(
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND,
        rss_bytes=int(fields[21]) * _PAGE_BYTES,
        uptime_s=uptime_s - int(fields[19]) / _TICKS_A_SECOND,
    )


def _is_zombie(pid: int) -> bool:
    return _state(_PROC / str(pid) / "stat") in _GONE


def _state(stat: Path) -> str:
    """The letter that a stat file of /proc gives as state; empty when the process or thread is gone."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)

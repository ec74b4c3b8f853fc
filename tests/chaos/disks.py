"""File systems of their own for data folders, so that one is full while the machine is not (docs/chaos.md).

Each is a tmpfs of a bounded size. Like the page cache it keeps what was written when a process is killed.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from stack import StackError

SIZE_MIB: Final = 3_072  # of one; a run of 45 minutes uses a quarter (docs/chaos.md)
MEMORY_MIB: Final = 10_240  # for two that are full at once, and what is in the others
BLOCK_BYTES: Final = 4_096
COMMAND_S: Final = 30


def why_not() -> str | None:
    """Why no file system can be mounted here, or None. It is tried: root in a container may not be allowed to."""
    if os.geteuid() != 0:
        return "only root may mount file systems"
    if psutil.virtual_memory().available >> 20 < MEMORY_MIB:
        return f"file systems in memory need {MEMORY_MIB} MiB of it"
    with tempfile.TemporaryDirectory(prefix="billow-mount-") as place:
        try:
            with mounted([Path(place)], size_mib=1):
                return None
        except StackError as error:
            return str(error)


@contextmanager
def mounted(places: Iterable[Path], *, size_mib: int = SIZE_MIB) -> Iterator[None]:
    """Gives each folder, new or empty, a file system of its own inside the block; what is in it goes with it.

    Raises StackError when that cannot be; those mounted before are unmounted, and never one of somebody else. SIGTERM
    ends the block as an exception does. For the main thread.
    """
    with ExitStack() as made:
        made.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _told_to_end))
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
            if place.is_mount() or any(place.iterdir()):
                raise StackError(f"{place} must be empty to become a file system of its own")
            made.callback(_unmount, place)  # first: an interrupt may come as soon as it is mounted
            done = _run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=755", "billow-chaos", str(place))
            if done.returncode:
                raise StackError(f"{place} cannot be mounted: {done.stderr.strip()}")
        yield


def fill(filler: Path) -> None:
    """Makes a file that leaves not one block free on its file system, though others write there meanwhile. Blocks."""
    with filler.open("wb") as file:
        size, step = 0, shutil.disk_usage(filler).free
        while step >= BLOCK_BYTES:
            try:
                os.posix_fallocate(file.fileno(), size, step)
                size += step
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step = step // 2 // BLOCK_BYTES * BLOCK_BYTES


def used_mib(place: Path) -> int:
    """How much of the file system of a folder is used."""
    return shutil.disk_usage(place).used >> 20


def _told_to_end(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _unmount(place: Path) -> None:
    """Unmounts; if somebody still has a file open there, it goes when that is closed."""
    if place.is_mount() and _run("umount", str(place)).returncode:
        _run("umount", "-l", str(place))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that Ctrl-C does not reach."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=COMMAND_S, start_new_session=True
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))

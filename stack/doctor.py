"""What a stack needs of the machine, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack import cache, edge, mariadb, seaweed
from stack.options import StackError

DISK_FREE_MIN_BYTES: Final = 3 * 2**30
MEMORY_MIN_BYTES: Final = 3 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. `remedy` is empty when it is well."""

    name: str
    found: str
    remedy: str = ""


def examine(run_dir: Path) -> list[Finding]:
    """Looks at everything a start needs; starts nothing."""
    binaries: list[tuple[str, Callable[[], str]]] = [
        ("mariadbd", lambda: mariadb.binary("mariadbd")),
        ("mariadb-install-db", lambda: mariadb.binary("mariadb-install-db")),
        ("mariadb-backup", lambda: mariadb.binary("mariadb-backup")),
        ("redis-server", cache.binary),
        ("weed", seaweed.binary),
        ("envoy", edge.binary),
        ("setpriv", _setpriv),
    ]
    return [
        _system(),
        *(_binary(name, find) for name, find in binaries),
        _disk(run_dir),
        _memory(),
    ]


def require_all(run_dir: Path) -> None:
    """Raises StackError naming everything that is missing, each with its remedy."""
    missing = [f"{finding.name}: {finding.remedy}" for finding in examine(run_dir) if finding.remedy]
    if missing:
        raise StackError("the stack cannot start:\n  " + "\n  ".join(missing))


def _system() -> Finding:
    name = f"{platform.system()} {platform.machine()}"
    fits = platform.system() == "Linux" and platform.machine() in ("x86_64", "aarch64")
    return Finding(name="system", found=name, remedy="" if fits else "needs Linux on x86_64 or aarch64")


def _binary(name: str, find: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, found=find())
    except StackError as error:
        return Finding(name=name, found="missing", remedy=str(error))


def _setpriv() -> str:
    path = shutil.which("setpriv")
    if path is None:
        raise StackError("setpriv not found: apt-get install util-linux")
    return path


def _disk(run_dir: Path) -> Finding:
    place = run_dir
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    enough = free >= DISK_FREE_MIN_BYTES
    return Finding(
        name="disk",
        found=f"{free / 2**30:.1f} GiB free at {place}",
        remedy="" if enough else f"needs {DISK_FREE_MIN_BYTES / 2**30:.0f} GiB; choose another place with --run-dir",
    )


def _memory() -> Finding:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    enough = total >= MEMORY_MIN_BYTES
    return Finding(
        name="memory",
        found=f"{total / 2**30:.1f} GiB",
        remedy="" if enough else f"needs {MEMORY_MIN_BYTES / 2**30:.0f} GiB",
    )

"""Full disks: the file system of one data folder has no block left (ENOSPC). Redis writes nothing to its disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Final

from tests.chaos.disks import fill
from tests.chaos.faults.fault import PROMISED, Fault, Site
from tests.chaos.faults.processes import PARTS, name_of

FILLER: Final = "filler"
NOTICED_S: Final = 90


class DiskFull(Fault):
    """A file takes every free block, and is removed again."""

    breaks = "its file system has no block left: nothing can grow, nothing can be made"
    heals = "there is room again"
    promises: ClassVar[tuple[str, ...]] = PROMISED
    hold_s = (3.0, 20.0)
    quick_hold_s = (2.0, 4.0)
    own_disk = True

    def __init__(self, kind: str) -> None:
        self.name = f"disk full of {kind}"
        self.parts = frozenset({PARTS.get(kind, kind)})
        self._kind = kind
        self._filler: Path | None = None

    def begin(self, site: Site) -> None:
        self._filler = site.stack.folder.root / name_of(self._kind, site) / FILLER
        fill(self._filler)

    def end(self, site: Site) -> None:
        filler, self._filler = self._filler, None
        if filler is not None:
            filler.unlink(missing_ok=True)


class DiskFullOfPrimary(DiskFull):
    """Commits wait in the binary log, which looks once a minute whether there is room."""

    heals = "there is room again; MariaDB notices it within a minute"
    stalls = True
    full_only = True

    def __init__(self) -> None:
        super().__init__("primary")

    def settle(self, site: Site) -> None:
        site.wait_until_well()
        with site.sql(site.primary, read_s=NOTICED_S) as cursor:
            cursor.execute(f"SET innodb_lock_wait_timeout = {NOTICED_S}")  # a commit that waits may hold the row
            cursor.execute("UPDATE billow.fencing SET confirmations = confirmations + 1")


class DiskFullOfPrimaryKilled(DiskFullOfPrimary):
    """The operator gives room, and kills what would notice it only later."""

    heals = "there is room again, and the primary is killed so that it notices at once"
    full_only = False

    def __init__(self) -> None:
        super().__init__()
        self.name = "disk full of primary killed after it"

    def end(self, site: Site) -> None:
        super().end(site)
        site.kill(site.primary)


class DiskFullOfPrimaryRestarted(DiskFullOfPrimary):
    """The primary dies while there is no room to start in."""

    breaks = "its file system has no block left, and the process is killed: it cannot start"
    heals = "there is room again; the supervisor starts it, or its start notices it within a minute"
    hold_s = (3.0, 10.0)

    def __init__(self) -> None:
        super().__init__()
        self.name = "disk full of primary killed in it"

    def begin(self, site: Site) -> None:
        super().begin(site)
        site.kill(site.primary)


class DiskFullOfReplica(DiskFull):
    """It receives nothing, and its logs too look once a minute; the other one confirms commits."""

    heals = "there is room again; MariaDB notices it within a minute"
    full_only = True

    def __init__(self) -> None:
        super().__init__("replica")


class DiskFullOfStore(DiskFull):
    """Nothing can be archived; issuing goes on."""

    promises: ClassVar[tuple[str, ...]] = ("P6",)
    target_s = 0.0

    def __init__(self) -> None:
        super().__init__("s3")


def faults() -> Iterable[Fault]:
    """One of each."""
    return (
        DiskFullOfPrimary(),
        DiskFullOfPrimaryKilled(),
        DiskFullOfPrimaryRestarted(),
        DiskFullOfReplica(),
        DiskFullOfStore(),
    )

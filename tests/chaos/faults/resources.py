"""What processes run out of: file descriptors, and room on their disks."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

import psutil

from stack import StackError
from tests.chaos.faults import proxies
from tests.chaos.faults.fault import PROMISED, Fault, Site
from tests.chaos.faults.network import Cut
from tests.chaos.faults.processes import AFFECTS, PARTS, name_of

ROOM_BYTES: Final = 16 * 1024  # that a file may still grow by
GONE: Final = (ProcessLookupError, psutil.NoSuchProcess, StackError)


class Limited(Fault):
    """A limit of one running process is lowered, later raised again; one that is started anew has none."""

    LIMIT: ClassVar[int]

    def __init__(self, kind: str) -> None:
        self.parts = frozenset({PARTS.get(kind, kind)})
        self.affects = AFFECTS.get(kind, "issue")
        self._kind = kind
        self._name = ""
        self._limited: tuple[int, tuple[int, int]] | None = None

    def begin(self, site: Site) -> None:
        self._name = name_of(self._kind, site)
        pid = site.stack.pid(self._name)
        soft, hard = resource.prlimit(pid, self.LIMIT)
        resource.prlimit(pid, self.LIMIT, (self.lowered(pid), hard))
        self._limited = pid, (soft, hard)

    def end(self, site: Site) -> None:
        limited, self._limited = self._limited, None
        if limited is not None:
            with suppress(*GONE):
                resource.prlimit(limited[0], self.LIMIT, limited[1])

    def lowered(self, pid: int) -> int:
        """The limit."""
        raise NotImplementedError


class NoDescriptors(Limited):
    """Nothing more can be opened, while connections that are there are cut: some cannot be made again."""

    LIMIT = resource.RLIMIT_NOFILE
    breaks = "no socket and no file can be opened; what was open is cut"
    heals = "the limit is raised again"
    promises: ClassVar[tuple[str, ...]] = PROMISED
    hold_s = (1.0, 10.0)
    quick_hold_s = (0.5, 1.0)

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.name = f"no descriptors left in {kind}"
        self.parts |= {"mysql", "redis", "s3"}  # whose connections are cut

    def begin(self, site: Site) -> None:
        super().begin(site)
        between = proxies.of(site)
        for proxy in (*between.nodes.values(), between.redis, between.s3):
            proxy.begin(Cut)
            proxy.heal()

    def lowered(self, pid: int) -> int:
        return psutil.Process(pid).num_fds() // 2


class NoDescriptorsInEnvoy(NoDescriptors):
    """Envoy cannot connect to a server that has been killed and is back."""

    def __init__(self) -> None:
        super().__init__("envoy")
        self.parts = frozenset({"envoy", "server"})

    def begin(self, site: Site) -> None:
        Limited.begin(self, site)
        site.kill(site.any_of("server"))


class NoRoom(Limited):
    """The files of a process may not grow beyond a size: what stands across that is written in part, as on a full disk.

    The limit is one of the process (RLIMIT_FSIZE). MariaDB ends in the middle of its write; the one that is started
    anew has room. The object store refuses.
    """

    LIMIT = resource.RLIMIT_FSIZE
    breaks = "its files cannot grow: a write is torn in the middle, the rest is refused"
    heals = "there is room again"
    promises: ClassVar[tuple[str, ...]] = PROMISED
    hold_s = (1.0, 10.0)
    quick_hold_s = (0.8, 1.5)
    FILES: ClassVar[dict[str, str]] = {"primary": "binlog.0*", "replica": "relay.0*", "s3": "*.dat"}

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.name = f"no room for files of {kind}"

    def lowered(self, pid: int) -> int:
        """A little more than the size of what it writes at the end of now; of the object store the smallest volume."""
        paths = {Path(file.path) for file in psutil.Process(pid).open_files()}
        sizes = [path.stat().st_size for path in paths if path.match(self.FILES[self._kind]) and path.exists()]
        if not sizes:
            raise StackError(f"{self._name} has no file open that is called {self.FILES[self._kind]}")
        return ROOM_BYTES + (min(sizes) if self._kind == "s3" else max(sizes))


class NoRoomInStore(NoRoom):
    """Volumes of the object store cannot grow."""

    promises: ClassVar[tuple[str, ...]] = ("P6",)


def faults() -> Iterable[Fault]:
    """One of each."""
    yield from (NoDescriptors(kind) for kind in ("server", "worker", "primary", "redis", "s3"))
    yield NoDescriptorsInEnvoy()
    yield from (NoRoom(kind) for kind in ("primary", "replica"))
    yield NoRoomInStore("s3")

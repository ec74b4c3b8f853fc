"""Wall clocks that jump: of one process at a time, as after an NTP step or when a frozen machine goes on.

libfaketime stands before the C library of those processes and adds what a file says to the wall clock alone; the
monotonic clock and the times of files stay true. The stack starts them with it (`StackOptions.environment`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

from stack import StackError
from stack.install import LIBFAKETIME
from stack.state import write
from tests.chaos.faults.fault import PROMISED, Fault, Site
from tests.chaos.faults.processes import AFFECTS, PARTS, name_of

KINDS: Final = ("server", "worker", "primary", "replica")
READ_S: Final = 1  # so often a process reads its file; without a pause each look at the clock would cost 2 µs
SEEN_S: Final = READ_S + 1.2  # it counts whole seconds
STAY_S: Final = (0.0, 3.0)  # at a time before the next jump
SHARED: Final = Path("/dev/shm")  # where libfaketime leaves two small files of every process that was killed
HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S
QUICK: Final = {("server", "a month"), ("primary", "a month")}  # seven seconds each
SPANS_S: Final = {"some seconds": 7, "an hour": HOUR_S, "a day": DAY_S, "a month": 31 * DAY_S}


def library() -> Path | None:
    """Where libfaketime lies; None where it is not installed."""
    return next(Path("/").glob(LIBFAKETIME), None)


@contextmanager
def steered(folder: Path, processes: Sequence[str]) -> Iterator[dict[str, dict[str, str]]]:
    """Yields what the processes of a stack in `folder` must be started with, their clocks true; {} without libfaketime.

    What libfaketime left in SHARED of processes that were killed is removed before and after.
    """
    found = library()
    if found is None:
        yield {}
        return
    _sweep()
    try:
        for process in processes:
            jump(folder, process, 0)
        yield {
            process: {
                "LD_PRELOAD": str(found),
                "FAKETIME_TIMESTAMP_FILE": str(_file(folder, process)),
                "FAKETIME_CACHE_DURATION": str(READ_S),
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            }
            for process in processes
        }
    finally:
        _sweep()


def jump(folder: Path, process: str, offset_s: int) -> None:
    """Sets a clock so far off true time; the process sees it within SEEN_S, one that starts anew at once."""
    write(_file(folder, process), f"{offset_s:+d}\n")


def _file(folder: Path, process: str) -> Path:
    return folder / "clocks" / process


def _sweep() -> None:
    """Removes the files of processes that are gone: another with that pid could not start."""
    for path in (*SHARED.glob("faketime_shm_*"), *SHARED.glob("sem.faketime_sem_*")):
        if not Path("/proc", path.name.rpartition("_")[2]).exists():
            path.unlink(missing_ok=True)


class Jumps(Fault):
    """The wall clock of a process jumps ahead and behind, and in the end to true time. Its monotonic clock does not."""

    heals = "it jumps back to true time"
    promises: ClassVar[tuple[str, ...]] = (*PROMISED, "P6", "P7")
    hold_s = (1.0, 8.0)
    quick_hold_s = (0.5, 1.0)
    target_s = 0.0

    def __init__(self, kind: str, span: str) -> None:
        self.name = f"clock of {kind} {span} off"
        self.breaks = f"what it takes for now is {span} ahead, then behind, or the other way round"
        self.parts = frozenset({PARTS.get(kind, kind)})
        self.affects = AFFECTS.get(kind, "issue")
        self.full_only = (kind, span) not in QUICK
        self._kind = kind
        self._span_s = SPANS_S[span]
        self._name = ""

    def begin(self, site: Site) -> None:
        self._name = name_of(self._kind, site)
        if self._name not in site.stack.state.options.environment:
            raise StackError(f"the clock of {self._name} cannot jump: apt-get install libfaketime")
        sign = site.random.choice((1, -1))
        jump(site.stack.folder.root, self._name, sign * self._span_s)
        time.sleep(SEEN_S + site.random.uniform(*STAY_S) / (3 if site.quick else 1))
        jump(site.stack.folder.root, self._name, -sign * self._span_s)
        time.sleep(SEEN_S)

    def end(self, site: Site) -> None:
        name, self._name = self._name, ""
        if name:
            jump(site.stack.folder.root, name, 0)
            time.sleep(SEEN_S)


def faults() -> Iterable[Fault]:
    """One of each."""
    yield from (Jumps(kind, span) for kind in KINDS for span in SPANS_S)

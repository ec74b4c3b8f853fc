"""A folder becomes a file system that can be full, and is none any more afterwards, whatever happens in between."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from stack import StackError
from tests.chaos import disks
from tests.chaos.faults.disks import FILLER, DiskFull
from tests.chaos.faults.fault import Site
from tests.chaos.run import DISKS, Plan, Runner


class Machine:
    """Mounts and unmounts without being root; what it was told is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mounts: list[str] = []
        self.told: list[tuple[str, ...]] = []
        self.refuses: set[str] = set()  # folders that cannot be mounted
        self.busy: set[str] = set()  # folders that can be unmounted only lazily
        monkeypatch.setattr(disks, "_run", self.run)
        monkeypatch.setattr(Path, "is_mount", lambda path: str(path) in self.mounts)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        place = command[-1]
        self.told.append(command)
        failed = place in self.refuses or (place in self.busy and command[:2] != ("umount", "-l"))
        if not failed and command[0] == "mount":
            self.mounts.append(place)
        elif not failed:
            self.mounts.remove(place)
        return subprocess.CompletedProcess(command, int(failed), "", "no")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def places(tmp_path: Path) -> list[Path]:
    return [tmp_path / name for name in ("one", "two")]


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_mounts_are_undone_after_an_interrupt(
    machine: Machine, tmp_path: Path, number: signal.Signals, raised: type[BaseException]
) -> None:
    def interrupted() -> None:
        with disks.mounted(places(tmp_path)):
            assert machine.mounts == [str(place) for place in places(tmp_path)]
            signal.raise_signal(number)

    interrupts = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(raised):
            interrupted()
    finally:
        signal.signal(signal.SIGINT, interrupts)
    assert not machine.mounts
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_first_is_undone_when_the_second_cannot_be(machine: Machine, tmp_path: Path) -> None:
    machine.refuses = {str(tmp_path / "two")}
    with pytest.raises(StackError, match=r"two cannot be mounted: no"), disks.mounted(places(tmp_path)):
        pass
    assert not machine.mounts
    assert machine.told[-1] == ("umount", str(tmp_path / "one"))


def test_what_is_busy_is_unmounted_lazily(machine: Machine, tmp_path: Path) -> None:
    with disks.mounted(places(tmp_path)):
        machine.busy = {str(tmp_path / "one")}
    assert not machine.mounts
    assert machine.told[-1] == ("umount", "-l", str(tmp_path / "one"))


def test_what_somebody_else_has_mounted_or_filled_is_left_alone(machine: Machine, tmp_path: Path) -> None:
    one, two = places(tmp_path)
    one.mkdir()
    machine.mounts = [str(one)]
    with pytest.raises(StackError, match="must be empty"), disks.mounted([one]):
        pass
    assert machine.mounts == [str(one)]
    two.mkdir()
    (two / "data").touch()
    with pytest.raises(StackError, match="must be empty"), disks.mounted([two]):
        pass
    assert not machine.told


def test_faults_are_left_out_and_named_where_nothing_can_be_mounted(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    told: list[str] = []
    plan = Plan(seed=1, patterns=("disk full of s3", "redis flushed"))
    runner = Runner(plan=plan, run_dir=tmp_path, tell=lambda text, part: told.append(text))
    runner._choose_disks()
    assert [fault.name for fault in runner._faults] == ["redis flushed"]
    assert runner._left_out == {"disk full of s3": "only root may mount file systems"}
    assert told == ["left out: disk full of s3: only root may mount file systems"]
    alone = Runner(plan=Plan(seed=1, patterns=("disk full*",)), run_dir=tmp_path, tell=lambda text, part: None)
    with pytest.raises(StackError, match="none of the faults"):
        alone._choose_disks()


def test_file_systems_in_memory_need_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 40))
    assert disks.why_not() is None
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 30))
    assert disks.why_not() == "file systems in memory need 10240 MiB of it"
    assert not machine.mounts


def test_only_a_fault_that_needs_it_gets_file_systems(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "why_not", lambda: None)
    for pattern, wanted in (("redis flushed", 0), ("disk full of s3", len(DISKS))):
        runner = Runner(plan=Plan(seed=1, patterns=(pattern,)), run_dir=tmp_path, tell=lambda text, part: None)
        runner._choose_disks()
        assert len(runner._disks) == wanted


def test_a_disk_is_full_while_the_fault_lasts(tmp_path: Path) -> None:
    why = disks.why_not()
    if why is not None:
        pytest.skip(why)
    stack: Any = SimpleNamespace(folder=SimpleNamespace(root=tmp_path))
    fault, site = DiskFull("s3"), Site(cast(Any, stack), random.Random(1))
    place = tmp_path / "s3"
    with disks.mounted([place], size_mib=2):
        (place / "data").write_bytes(b"x" * 5_000)
        fault.begin(site)
        with pytest.raises(OSError, match="No space left") as raised:
            (place / "more").write_bytes(b"x")
        assert raised.value.errno == errno.ENOSPC
        fault.end(site)
        assert not (place / FILLER).exists()
        (place / "more").write_bytes(b"x" * 100_000)
        fault.end(site)
    assert not place.is_mount()
    assert not any(place.iterdir())

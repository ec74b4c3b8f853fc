"""Clocks that jump: what tests/chaos/faults/clocks.py does to a process, and to no other clock of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.faults import clocks

LOOK = "import sys, time\nfor line in sys.stdin: print(time.time(), time.monotonic(), flush=True)"

Look = Callable[[], tuple[float, float]]

pytestmark = pytest.mark.skipif(
    clocks.library() is None, reason="libfaketime is not there: apt-get install libfaketime"
)


@pytest.fixture
def look(tmp_path: Path) -> Iterator[Look]:
    """Asks a process started with the hook how far its wall clock and its monotonic one are off."""
    with clocks.steered(tmp_path, ["one"]) as environment:
        process = subprocess.Popen(
            [sys.executable, "-c", LOOK],
            env={**os.environ, **environment["one"], "FAKETIME_NO_CACHE": "1"},  # it sees its file at once
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    asked, told = process.stdin, process.stdout

    def looked() -> tuple[float, float]:
        asked.write("\n")
        asked.flush()
        wall_s, monotonic_s = map(float, told.readline().split())
        return wall_s - time.time(), monotonic_s - time.monotonic()

    with process:
        yield looked
        asked.close()


def test_the_wall_clock_jumps_and_comes_back_and_the_monotonic_one_stays(tmp_path: Path, look: Look) -> None:
    for offset_s in (0, 31 * clocks.DAY_S, -clocks.HOUR_S, 0):
        clocks.jump(tmp_path, "one", offset_s)
        wall_s, monotonic_s = look()
        assert wall_s == pytest.approx(offset_s, abs=2)
        assert monotonic_s == pytest.approx(0, abs=2)


def test_files_of_processes_that_were_killed_are_removed(tmp_path: Path) -> None:
    with clocks.steered(tmp_path, ["one"]) as environment:
        process = subprocess.Popen(["sleep", "60"], env={**os.environ, **environment["one"]})
        left = clocks.SHARED / f"faketime_shm_{process.pid}"
        deadline = time.monotonic() + 10
        while not left.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with clocks.steered(tmp_path, ["one"]):
            assert left.exists()  # of one that lives
        process.kill()
        process.wait()
        assert left.exists()
    assert not left.exists()

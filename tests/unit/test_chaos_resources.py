"""Limits are lowered while a fault lasts and are what they were after it, also when the process is another one then."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.chaos.faults.fault import Site
from tests.chaos.faults.resources import Limited

LOW = 10


class Few(Limited):
    """A limit of ten descriptors."""

    name = "few"
    LIMIT = resource.RLIMIT_NOFILE

    def lowered(self, pid: int) -> int:
        return LOW


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """One that waits until its standard input ends."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as made:
        yield made


def site_of(pid: int) -> Site:
    """A site whose Envoy is this process."""
    stack: Any = SimpleNamespace(pid=lambda name: {"envoy": pid}[name])
    return Site(cast(Any, stack), random.Random(1))


def test_a_limit_is_lowered_and_raised_again(process: subprocess.Popen[bytes]) -> None:
    fault, site = Few("envoy"), site_of(process.pid)
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    fault.begin(site)
    assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (LOW, before[1])
    fault.end(site)
    assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == before


def test_a_process_that_has_ended_needs_no_limit(process: subprocess.Popen[bytes]) -> None:
    fault, site = Few("envoy"), site_of(process.pid)
    fault.begin(site)
    process.kill()
    process.wait()
    fault.end(site)

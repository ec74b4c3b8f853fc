"""The scheduling of a server's threads: they and those they start push nobody off a core."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.scheduling import take_turns


def test_a_thread_takes_turns_and_so_do_those_it_starts() -> None:
    def policies() -> tuple[int, int]:
        take_turns()
        with ThreadPoolExecutor(1) as inner:
            return os.sched_getscheduler(0), inner.submit(os.sched_getscheduler, 0).result()

    with ThreadPoolExecutor(1) as apart:  # pytest's own thread keeps its policy
        assert apart.submit(policies).result() == (os.SCHED_BATCH, os.SCHED_BATCH)


def test_where_it_is_not_allowed_a_warning_is_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with caplog.at_level(logging.WARNING):
        take_turns()
    assert "SCHED_BATCH" in caplog.text

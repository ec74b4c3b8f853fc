"""Whose process is whose, what is missing on a machine, what status shows."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from stack import StackError, doctor, install, processes, status
from stack.replication import ReplicationStatus
from stack.status import Figure, ProcessRow, Report

SLEEPER = [sys.executable, "-c", "import sys, time; print('ready', flush=True); time.sleep(600)"]


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that says it belongs to the stack in tmp_path."""
    environment = {**os.environ, processes.MARK: str(tmp_path)}
    with subprocess.Popen(SLEEPER, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_only_processes_with_the_mark_belong(marked: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert processes.find(tmp_path) == [marked.pid]
    assert not processes.belongs(marked.pid, tmp_path / "other")
    assert not processes.belongs(os.getpid(), tmp_path)
    assert not processes.belongs(2**22 + 1, tmp_path)


def test_a_pid_that_names_another_process_is_left_alone(marked: subprocess.Popen[bytes], tmp_path: Path) -> None:
    processes.end([marked.pid], run_dir=tmp_path / "other", grace_s=0.1)
    assert marked.poll() is None


def test_ending_works_on_a_paused_process_too(marked: subprocess.Popen[bytes], tmp_path: Path) -> None:
    os.kill(marked.pid, 19)
    processes.end([marked.pid], run_dir=tmp_path, grace_s=10)
    assert marked.wait() == -15
    assert processes.find(tmp_path) == []


def test_a_process_is_frozen_when_all_its_threads_stand_still(marked: subprocess.Popen[bytes]) -> None:
    os.kill(marked.pid, signal.SIGSTOP)
    processes.wait_frozen(marked.pid)
    states = [
        path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{marked.pid}/task").glob("*/stat")
    ]
    assert states
    assert set(states) == {"T"}
    marked.kill()
    marked.wait()
    processes.wait_frozen(marked.pid)  # gone: nothing to wait for


def test_a_process_that_was_not_told_to_freeze_is_not_waited_for_long(marked: subprocess.Popen[bytes]) -> None:
    processes.wait_frozen(marked.pid, within_s=0.01)
    assert marked.poll() is None


def test_usage_is_told_until_the_process_ends(marked: subprocess.Popen[bytes]) -> None:
    usage = processes.usage(marked.pid)
    assert usage is not None
    assert usage.rss_bytes > 2**20
    marked.kill()
    marked.wait()
    assert processes.usage(marked.pid) is None


def test_what_is_missing_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="redis-server not found: apt-get install redis-server"):
        doctor.require_all(tmp_path)
    missing = {finding.name for finding in doctor.examine(tmp_path) if finding.remedy}
    assert {"redis-server", "setpriv"} <= missing


def test_setup_runs_again_when_requirements_or_interpreter_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    requirement = tmp_path / "pyproject.toml"
    requirement.write_text("a")
    monkeypatch.setattr(install, "REQUIREMENTS", (requirement,))
    before = install.stamp("/usr/bin/python3")
    assert install.stamp("/usr/bin/python3") == before
    assert install.stamp("/opt/python3") != before
    requirement.write_text("b")
    assert install.stamp("/usr/bin/python3") != before


def test_an_interpreter_that_is_missing_or_too_old_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert install.makes_environments(sys.executable)
    assert not install.makes_environments(str(tmp_path / "python3"))
    monkeypatch.setattr(install, "SYSTEM_PYTHON", str(tmp_path / "python3"))
    assert install.interpreter() == sys.executable
    monkeypatch.setattr(install, "PYTHON_MIN", (99, 0))
    with pytest.raises(install.InstallError, match="needs Python"):
        install.interpreter()


def test_setup_needs_nothing_but_the_standard_library() -> None:
    script = "import sys, stack.install; print(*sys.modules)"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(install.CHECKOUT)!r}); {script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    roots = {name.split(".")[0] for name in done.stdout.split()}
    foreign = {"click", "grpc", "pymysql", "redis", "rich", "supervisor", "botocore"}
    assert not roots & foreign


def row(name: str, *, healthy: bool = True) -> ProcessRow:
    return ProcessRow(
        name=name,
        role="",
        state="running",
        healthy=healthy,
        pid=7,
        port=8,
        uptime_s=3_725,
        cpu_percent=12.4,
        rss_bytes=100 * 2**20,
    )


def replication(*, semi_sync: bool = True, waits_s: float = 0.0) -> ReplicationStatus:
    return ReplicationStatus(
        semi_sync=semi_sync,
        wait_point="AFTER_SYNC",
        replicas=1,
        running=True,
        lag_s=0,
        error="",
        primary_gtid="0-1-5",
        replica_gtid="0-1-5",
        waits_s=waits_s,
        received=True,
    )


@pytest.mark.parametrize(
    ("report", "healthy"),
    [
        (Report(run_dir="/r", processes=[], replication=None, figures=[]), False),
        (Report(run_dir="/r", processes=[row("redis")], replication=None, figures=[]), True),
        (Report(run_dir="/r", processes=[row("redis", healthy=False)], replication=None, figures=[]), False),
        (Report(run_dir="/r", processes=[row("mysql-1")], replication=None, figures=[]), False),
        (Report(run_dir="/r", processes=[row("mysql-1")], replication=replication(), figures=[]), True),
        (Report(run_dir="/r", processes=[row("mysql-1")], replication=replication(semi_sync=False), figures=[]), False),
        (Report(run_dir="/r", processes=[row("mysql-1")], replication=replication(waits_s=3.5), figures=[]), False),
    ],
)
def test_well_means_every_process_and_lossless_replication(report: Report, healthy: bool) -> None:
    assert report.healthy is healthy
    assert report.to_json()["healthy"] is healthy


def test_status_is_readable() -> None:
    figures = [Figure(name="invoices issued", value=150_000.0, per_s=5_000.0)]
    report = Report(run_dir="/r", processes=[row("mysql-1")], replication=replication(), figures=figures)
    console = Console(file=io.StringIO(), width=120)
    console.print(status.render(report))
    shown = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    for part in ("mysql-1", "1:02:05", "12 %", "100 MiB", "semi-sync ON (AFTER_SYNC", "150,000", "5,000"):
        assert part in shown


def test_a_restarted_process_shows_no_negative_rate() -> None:
    before = {"billow_issued_items_total": [500.0, 500.0]}
    after = {"billow_issued_items_total": [500.0, 3.0]}
    assert status._figures(before, after, 1.0) == [Figure(name="invoices issued", value=503.0, per_s=0.0)]

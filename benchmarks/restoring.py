"""How long a backup and a restore take, and what they leave: `python -m benchmarks.restoring` (docs/backup.md).

Issues some invoices; takes a backup while issuing goes on; issues on, notes one invoice, and issues on; copies the
logs; stops everything, restores to the noted invoice, starts again, and audits in full. Raises RuntimeError when the
restored database has another number of invoices than had been issued by then, or the audit finds anything. Writes
benchmarks/results/restore.json. `--earlier` and `--later` say how many invoices; the usual numbers take seven minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop
from rich.console import Console

from benchmarks import bulk, loads, report
from benchmarks.bench import Bench, admin, require_whole
from benchmarks.cpu import Meter, stack_pids
from benchmarks.plan import FULL
from benchmarks.progress import Progress
from stack import Stack

RESULTS: Final = report.RESULTS / "restore.json"
EARLIER, LATER = 2_000_000, 500_000
STREAMS: Final = 2
ITEMS: Final = 500
BEFORE_S: Final = 20.0  # of the rate without a backup
LOOK_S: Final = 0.05
MIB: Final = 1024 * 1024


class Steps:
    """A Progress of the stack that keeps how long each step took, in seconds."""

    def __init__(self) -> None:
        self.took_s: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Wraps one step."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.took_s[name] = round(time.monotonic() - began, 1)

    @contextmanager
    def of(self, name: str, found: dict[str, Any]) -> Iterator[None]:
        """Notes the whole under a name, with the steps inside."""
        self.took_s = {}
        began = time.monotonic()
        yield
        found[name] = {"whole_s": round(time.monotonic() - began, 1), "steps_s": dict(self.took_s)}


@contextmanager
def memory(found: dict[str, Any]) -> Iterator[None]:
    """Notes by how much this process grew at most inside the block."""
    process = psutil.Process()
    before = most = process.memory_info().rss
    over = threading.Event()

    def look() -> None:
        nonlocal most
        while not over.wait(LOOK_S):
            most = max(most, process.memory_info().rss)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
        found["restore_mib"] = round((most - before) / MIB, 1)


def mib(*folders: Path) -> float:
    """The size of what lies in folders."""
    sizes = (path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    return round(sum(sizes) / MIB, 1)


async def issue(bench: Bench, count: int) -> None:
    """Issues so many invoices by stream."""
    shape = await bench.shape(batch_items=ITEMS)
    messages = await bench.messages(shape, STREAMS, batches=count // ITEMS // STREAMS)
    require_whole(await loads.issue(bench.target, bench.secret, messages, keep_issued=False), "streamed issuing")


async def issue_one(bench: Bench) -> str:
    """Issues one invoice in a commit of its own and returns its number."""
    made = await bench.issue(await bench.shape(sellers=1, batch_items=1), streams=1, batches=1, keep=True)
    require_whole(made, "streamed issuing")
    return made.issued[0].number


async def count(bench: Bench) -> int:
    """How many invoices there are."""
    return int((await bench.primary().rows("SELECT COALESCE(SUM(items), 0) FROM batches"))[0][0])


async def back_up(bench: Bench, steps: Steps, target: Path, found: dict[str, Any]) -> None:
    """Takes a backup while issuing goes on."""
    found["rate_before"] = (await bulk.load(bench, await bench.shape(), duration_s=BEFORE_S))["rate"]
    going = asyncio.create_task(_until(bench, over := asyncio.Event()))
    with steps.of("backup", found):
        await asyncio.to_thread(bench.stack.backup, target)
    over.set()
    found["rate_during"] = await going
    found["backup_mib"] = mib(target / "data")


async def _until(bench: Bench, over: asyncio.Event) -> float:
    """Issues until told to stop; returns invoices a second."""
    began, before = time.monotonic(), await count(bench)
    while not over.is_set():
        await issue(bench, STREAMS * ITEMS * 10)
    return round((await count(bench) - before) / (time.monotonic() - began), 1)


async def measure(bench: Bench, steps: Steps, options: argparse.Namespace) -> dict[str, Any]:
    """All of it; see the module."""
    tell, stack = bench.progress.tell, bench.stack
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="billow-backup-") as folder:
        target = Path(folder) / "backup"
        tell(f"{options.earlier:,} invoices")
        await issue(bench, options.earlier)
        tell("a backup")
        await back_up(bench, steps, target, found)
        found["invoices_in_backup_at_least"] = options.earlier
        tell(f"{options.later:,} invoices more")
        await issue(bench, options.later)
        number = await issue_one(bench)
        wanted = await count(bench)
        await issue(bench, options.later)
        found["invoices"], found["lost_by_choice"] = wanted, await count(bench) - wanted
        await bench.settle()
        tell("logs")
        with steps.of("logs", found):
            await asyncio.to_thread(stack.copy_logs, target)
        found["logs_mib"] = mib(target / "logs")
        await bench.close()
        await asyncio.to_thread(stack.down)
        tell("a restore")
        with memory(found), steps.of("restore", found):
            done = await asyncio.to_thread(stack.restore, target, number=number)
        tell("start and audit")
        with steps.of("up", found):
            await asyncio.to_thread(partial(stack.up, with_owner=True))
        there = await count(bench)
        if (there, done.issued_after) != (wanted, found["lost_by_choice"]):
            raise RuntimeError(f"{there} invoices of {wanted}, {done.issued_after} named as lost: {found}")
        with steps.of("audit", found):
            await bench.audit()
        await issue(bench, ITEMS * STREAMS)  # and it goes on
        found["withdrawn"], found["audit"] = done.withdrawn, bench.audits[-1]
    return found


async def run(stack: Stack, steps: Steps, progress: Progress, options: argparse.Namespace) -> dict[str, Any]:
    """Measures on one stack."""
    scopes = [option for scope in ("issue", "registry") for option in ("--scope", scope)]
    key = await admin(stack, "key", "create", "--create-tenant", "--tenant", "bench", *scopes)
    supervisor = int((stack.folder.root / "supervisord.pid").read_text())
    meter = Meter(pids=partial(stack_pids, stack), supervisor=supervisor)
    bench = Bench(stack=stack, secret=str(key["secret"]), plan=FULL, progress=progress, meter=meter)
    try:
        return report.stamp(await measure(bench, steps, options), quick=False)
    finally:
        await bench.close()


def main() -> None:
    """Runs `python -m benchmarks.restoring`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restoring", description=__doc__)
    parser.add_argument("--earlier", type=int, default=EARLIER, help="invoices in the backup, at least")
    parser.add_argument("--later", type=int, default=LATER, help="before the point in the logs, and after it")
    options = parser.parse_args()
    steps = Steps()
    with (
        Progress(parts=1, console=Console()) as progress,
        tempfile.TemporaryDirectory(prefix="billow-") as folder,
        Stack(run_dir=Path(folder), progress=steps) as stack,
    ):
        progress.begin("restoring")
        found = uvloop.run(run(stack, steps, progress, options))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

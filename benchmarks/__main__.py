"""`make bench`: fresh stacks, every load in rounds, audits, and what came of it in benchmarks/results/."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from benchmarks import archive, bulk, growth, matrix, mixed, overload, report, singles, soak, surge, verifying
from benchmarks.bench import Bench, admin
from benchmarks.cpu import Meter, stack_pids
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.progress import Progress
from stack import Stack

TENANT = "bench"
SCOPES = ("issue", "read", "verify", "registry")
ROWS = (0, 1_000_000, 10_000_000)  # at which growth is measured, as far as asked for
USUAL_ROWS = 1_000_000
USUAL_SOAK_MINUTES = 20.0
USUAL_OVERLOAD_MINUTES = 5.0
Measure = Callable[[Bench], Awaitable[dict[str, Any]]]

PARTS: dict[str, Measure] = {
    "bulk": bulk.measure,
    "singles": singles.measure,
    "verifying": verifying.measure,
    "mixed": mixed.measure,
    "matrix": matrix.measure,
    "archive": archive.measure,
    "surge": surge.measure,
}
# only when asked for
APART: dict[str, Measure] = {"growth": growth.measure, "soak": soak.measure, "overload": overload.measure}


@contextmanager
def fresh_stack() -> Iterator[Stack]:
    """A new stack, gone after the block."""
    with tempfile.TemporaryDirectory(prefix="billow-") as folder, Stack(run_dir=Path(folder)) as stack:
        yield stack


async def run(
    stack: Stack, plan: Plan, progress: Progress, parts: Mapping[str, Measure], known: dict[str, float]
) -> tuple[Any, Any]:
    """Measures the parts on one stack; returns what they found and the audits, of which the last is at the end.

    `known`: figures that later parts build on.
    """
    scopes = [option for scope in SCOPES for option in ("--scope", scope)]
    key = await admin(stack, "key", "create", "--create-tenant", "--tenant", TENANT, *scopes)
    supervisor = int((stack.folder.root / "supervisord.pid").read_text())
    meter = Meter(pids=partial(stack_pids, stack), supervisor=supervisor)
    bench = Bench(stack=stack, secret=str(key["secret"]), plan=plan, progress=progress, meter=meter, found=known)
    found = {}
    try:
        bench.require_semi_sync()
        progress.begin("idle")
        await meter.learn_idle(plan.idle_s)
        for name, measure in parts.items():
            progress.begin(name)
            found[name] = report.stamp(await measure(bench), quick=plan.quick)
            progress.end()
        progress.begin("end")
        bench.require_semi_sync()
        await bench.audit(sample=plan.audit_sample if plan.quick else None)
    finally:
        await bench.close()
    return found, bench.audits


def chosen(options: argparse.Namespace) -> list[str]:
    """The names of the parts to measure; raises ValueError for one that does not exist."""
    names = [name.strip() for name in options.only.split(",") if name.strip()]
    if not names:
        asked = {"growth": options.rows, "soak": options.soak_minutes, "overload": options.overload_minutes}
        names = [*PARTS, *(name for name, value in asked.items() if value)]
    if unknown := set(names) - PARTS.keys() - APART.keys():
        raise ValueError(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join([*PARTS, *APART])}")
    return names


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short loads, all under two minutes")
    parser.add_argument("--only", default="", help=f"parts, with commas: {', '.join([*PARTS, *APART])}")
    parser.add_argument("--rows", type=int, help="also measure growth, up to so many: 10_000_000 takes half an hour")
    parser.add_argument("--soak-minutes", type=float, help="also run a soak for so long")
    parser.add_argument("--overload-minutes", type=float, help="also offer three times the capacity for so long")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="folder to write to")
    return parser.parse_args(words)


def plan_of(options: argparse.Namespace) -> Plan:
    """What the command line asks for."""
    most = options.rows or USUAL_ROWS
    soak_s = (options.soak_minutes or USUAL_SOAK_MINUTES) * 60
    overload_s = (options.overload_minutes or USUAL_OVERLOAD_MINUTES) * 60
    rows = (*(step for step in ROWS if step < most), most)
    return dataclasses.replace(QUICK if options.quick else FULL, soak_s=soak_s, overload_s=overload_s, rows=rows)


def draw(parts: Mapping[str, Any], folder: Path, console: Console) -> None:
    """Draws the plots; without matplotlib it says so, and the figures stand all the same."""
    try:
        from benchmarks import plots
    except ModuleNotFoundError as error:
        console.print(f"no plots: {error.name} is not there; `make bench` installs it")
        return
    plots.draw(parts, folder)


def main() -> int:
    """Runs the benchmark; exits 0 also when targets are missed: it ends with an error when anything is wrong (P1)."""
    options = arguments()
    plan = plan_of(options)
    names = chosen(options)
    console = Console()
    found: dict[str, Any] = {}
    audits: list[Any] = []
    known: dict[str, float] = {}
    # each part on an empty table, in a stack of its own; a short run has no time for that
    together = {name: PARTS[name] for name in names if plan.quick and name in PARTS}
    stacks = [together] if together else []
    stacks += [{name: (PARTS | APART)[name]} for name in names if name not in together]
    with Progress(parts=len(names), console=console) as progress:
        for parts in stacks:
            progress.begin("a fresh stack")
            with fresh_stack() as stack:
                figures, audited = uvloop.run(run(stack, plan, progress, parts, known))
            found |= figures
            audits += audited
            result = report.write(options.results, found, audits=audits, keep=bool(options.only))
    draw(result["parts"], options.results, console)
    for item in result["targets"]:
        words = f"{item['name']}: {report.number(item['figure'])} {item['unit']}; met: {report.verdict(item)}"
        console.print(words, highlight=False, soft_wrap=True)
    console.print(
        f"audits: {len(audits)}, without findings; everything in {options.results}/latest.json", soft_wrap=True
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.chaos`: see docs/chaos.md."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from stack.options import CHECKOUT
from tests.chaos import report
from tests.chaos.run import Plan, Runner, names

RESULTS = CHECKOUT / "benchmarks" / "results"


def main() -> int:
    """Runs it; returns the exit code: 0 all promises kept, 1 one was broken, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="repeats the schedule of a run; default: a new one")
    parser.add_argument("--quick", action="store_true", help="most faults once, some pairs: at most five minutes")
    parser.add_argument("--minutes", type=float, default=28.0, help="of faults, at least (full run)")
    parser.add_argument("--kills", type=int, default=200, help="at least so many (full run)")
    parser.add_argument("--failovers", type=int, default=40, help="at least so many (full run)")
    parser.add_argument("--faults", default="", help="names or patterns, separated by commas; see --list")
    parser.add_argument("--load", type=float, default=1.0, help="times the usual load")
    parser.add_argument("--alerts", action="store_true", help="Prometheus looks on: which alerts fire")
    parser.add_argument("--list", action="store_true", help="name the faults")
    parser.add_argument("--run-dir", type=Path, default=None, help="kept; default: one that goes when all was well")
    parser.add_argument("--out", type=Path, default=None, help="JSON; default: benchmarks/results/chaos.json, full run")
    asked = parser.parse_args()
    patterns = tuple(name.strip() for name in asked.faults.split(",") if name.strip())
    console = Console(width=None if sys.stdout.isatty() else 200)
    try:
        found = names(patterns, quick=asked.quick)
    except ValueError as error:
        parser.error(str(error))
    if asked.list:
        for fault in found:
            console.print(
                f"{fault.name:34} {fault.breaks}; {fault.heals} ({', '.join(fault.promises)})", highlight=False
            )
        return 0
    seed = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    plan = Plan(
        seed=seed,
        quick=asked.quick,
        minutes=asked.minutes,
        minutes_max=max(asked.minutes * 2, asked.minutes + 1),
        kills=asked.kills,
        failovers=asked.failovers,
        patterns=patterns,
        factor=asked.load,
        alerts=asked.alerts,
    )
    if asked.run_dir is not None and (asked.run_dir / "ledgers").exists():
        parser.error(f"{asked.run_dir} holds the ledgers of another run")
    return _run(plan, console, asked.run_dir, asked.out)


def _run(plan: Plan, console: Console, run_dir: Path | None, out: Path | None) -> int:
    """Runs a plan, shows and writes what came out."""
    place = run_dir or Path(tempfile.mkdtemp(prefix="billow-chaos-"))
    began = time.monotonic()
    console.print(f"seed {plan.seed}; ledgers and logs in {place}", highlight=False)

    def tell(text: str, part: float) -> None:
        seconds = int(time.monotonic() - began)
        console.print(f"{part:4.0%} {seconds // 60:3}:{seconds % 60:02}  {text}", highlight=False)

    result = Runner(plan=plan, run_dir=place, tell=tell).run()
    report.show(result, console)
    path = out or (None if plan.quick or plan.patterns else RESULTS / "chaos.json")
    if path is not None:
        report.write(result, path)
        console.print(f"written to {path}", highlight=False)
    if not result.kept:
        console.print(f"what happened lies in {place}; again: make chaos SEED={plan.seed}", highlight=False)
        return 1
    if "INTERNAL" in result.whole.reasons + result.whole.once_reasons:
        console.print(f"calls ended as INTERNAL, a fault of ours that the logs in {place} explain", highlight=False)
    elif run_dir is None:
        shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

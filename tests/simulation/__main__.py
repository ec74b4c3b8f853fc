"""`python -m tests.simulation --seeds 9 --from 1`: runs histories, prints those that break a promise."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from tests.simulation.faults import Kind
from tests.simulation.history import Outcome, Shape, run
from tests.simulation.machines import Build

TRACE_LINES = 60


def shrunk(outcome: Outcome, build: Build | None = None) -> Outcome:
    """Leaves out kinds of faults, clients and operations as long as the same promise breaks."""
    best = outcome
    for kind in sorted(Kind):
        best = _smaller(best, replace(best.shape, kinds=best.shape.kinds - {kind}), build)
    for _ in range(best.shape.clients - 1):
        best = _smaller(best, replace(best.shape, clients=best.shape.clients - 1), build)
    for operations in range(1, best.shape.operations):
        smaller = _smaller(best, replace(best.shape, operations=operations), build)
        if smaller is not best:
            return smaller
    return best


def _smaller(best: Outcome, shape: Shape, build: Build | None) -> Outcome:
    tried = run(shape, build)
    return tried if tried.broken == best.broken else best


def tell(outcome: Outcome) -> str:
    """A failure in words, with the line for seeds.txt."""
    shape = outcome.shape
    kinds = ",".join(sorted(kind.name for kind in shape.kinds)) or "-"
    lines = [
        f"seed {shape.seed} breaks {outcome.broken}: {outcome.words}",
        *outcome.trace[-TRACE_LINES:],
        f"keep it: {shape.seed} {shape.clients} {shape.operations} {kinds}",
    ]
    return "\n".join(lines)


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=2_000, help="how many histories")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first seed")
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--operations", type=int, default=8, help="of each client")
    options = parser.parse_args()
    began_s, failed, answers = time.process_time(), 0, 0
    for seed in range(options.first, options.first + options.seeds):
        outcome = run(Shape(seed, options.clients, options.operations))
        answers += outcome.answers
        if outcome.broken:
            failed += 1
            print(tell(shrunk(outcome)), flush=True)
    took_s = time.process_time() - began_s
    rate = options.seeds / took_s * 60
    print(f"{options.seeds} histories, {answers} answers, {failed} broken, {took_s:.1f} s of CPU: {rate:,.0f} a minute")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

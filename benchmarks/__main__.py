"""`make bench`: a fresh stack, repeated rounds of load through Envoy, an audit, and benchmarks/results/latest.json."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import echo
from benchmarks.rounds import FULL, QUICK, Measurement
from stack import Stack

RESULTS = Path(__file__).parent / "results" / "latest.json"
TENANT = "bench"
SCOPES = ("issue", "read", "verify", "registry")


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that DESIGN.md asks for: the median of a load, or of its ratio to another load of the same round."""

    name: str
    load: str
    target: float
    against: str = ""

    def report(self, raw: dict[str, list[float]]) -> dict[str, object]:
        """Sets the figure against the target."""
        if self.against:
            figure = statistics.median(a / b for a, b in zip(raw[self.load], raw[self.against], strict=True))
        else:
            figure = statistics.median(raw[self.load])
        return {
            "name": self.name,
            "figure": round(figure, 2),
            "target": round(self.target, 2),
            "unit": "ratio" if self.against else "a second",
            "met": figure >= self.target,
        }


TARGETS = (
    Target("bulk issuing: 3 lines, batches of 500, 2 streams, 10 sellers", "issue", 12_000),
    Target("bulk issuing against LOAD DATA", "issue", 1 / 3, "load_data"),
    Target("bulk issuing of one seller against ten", "issue_one_seller", 0.8, "issue"),
    Target("single issuing against a bare echo through the same Envoy", "single_issue", 0.6, "echo"),
    Target("single verification (hit) against that echo", "single_verify", 0.75, "echo"),
    Target("streamed verification", "verify", 60_000),
)


def admin(stack: Stack, *arguments: str) -> dict[str, object]:
    """Runs billow-admin and returns its line of JSON; an audit with findings is told as well."""
    command = [sys.executable, "-m", "admin", *arguments, "--config", str(stack.config_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout:
        raise RuntimeError(done.stderr)
    result: dict[str, object] = json.loads(done.stdout)
    return result


def require_semi_sync(stack: Stack) -> None:
    """Raises RuntimeError unless every commit waits for a replica (P1)."""
    if not stack.replication().semi_sync:
        raise RuntimeError("semi-sync is off: the figures would mean nothing")


def main() -> int:
    """Runs the benchmark; exits 1 when the audit finds anything, not when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short round, under two minutes")
    plan = QUICK if parser.parse_args().quick else FULL
    with tempfile.TemporaryDirectory(prefix="billow-") as folder, Stack(run_dir=Path(folder)) as stack:
        scopes = [option for scope in SCOPES for option in ("--scope", scope)]
        key = admin(stack, "key", "create", "--create-tenant", "--tenant", TENANT, *scopes)
        require_semi_sync(stack)
        with echo.processes(len(stack.servers)) as ports:
            measurement = Measurement(stack=stack, secret=str(key["secret"]), plan=plan, echo_ports=ports)
            raw = uvloop.run(measurement.run())
        require_semi_sync(stack)
        audit = admin(stack, "audit")
    figures = [target.report(raw) for target in TARGETS]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"figures": figures, "rounds": raw, "audit": audit}, indent=1) + "\n")
    for figure in figures:
        met = "met" if figure["met"] else "missed"
        print(f"{figure['name']}: {figure['figure']} {figure['unit']} (target {figure['target']}: {met})")
    print(f"audit: {audit.get('findings')} findings; raw rounds in {RESULTS}")
    return 1 if audit.get("findings") else 0


if __name__ == "__main__":
    sys.exit(main())

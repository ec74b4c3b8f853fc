"""`make bench`: a fresh stack, repeated rounds of load through Envoy, an audit, and benchmarks/results/latest.json."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import billow
from benchmarks import limits, loads
from benchmarks.shapes import Shape, stream_messages, tax_id
from core.settings import Settings, load
from stack import Stack

RESULTS = Path(__file__).parent / "results" / "latest.json"
TENANT = "bench"
STREAMS = 2
WARM_UP_BATCHES = 10
NUMBERS = 10**9


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    batches: int  # of 500 invoices, a stream and round
    sellers: int = 10


FULL = Plan(rounds=5, batches=120)
QUICK = Plan(rounds=3, batches=40)


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that DESIGN.md asks for."""

    name: str
    target: float
    unit: str


BULK = Target("bulk issuing, 3 lines, batches of 500, 2 streams, 10 sellers", 12_000, "invoices/s")
ONE_SELLER = Target("bulk issuing, one seller, as a share of ten sellers", 0.8, "ratio")
VERIFY = Target("streamed verification", 60_000, "checks/s")
LOAD_DATA = Target("bulk issuing as a share of LOAD DATA", 1 / 3, "ratio")


async def prepare(target: str, secret: str, sellers: int) -> list[str]:
    """Registers the sellers with a long range each."""
    names = [f"seller-{serial}" for serial in range(sellers)]
    async with billow.AsyncClient(target, api_key=secret) as client:
        for serial, name in enumerate(names):
            await client.registry.create_seller(name, billow.Party(name=f"卖方{serial}", tax_id=tax_id(10**6 + serial)))
            first = (26 * 10**4 + serial) * 10**14
            await client.registry.add_number_range(
                name,
                kind=billow.INVOICE_KIND_GENERAL,
                first_number=f"{first:020d}",
                last_number=f"{first + NUMBERS - 1:020d}",
            )
    return names


async def measure(target: str, secret: str, plan: Plan, settings: Settings) -> dict[str, list[float]]:
    """Runs the rounds and returns the raw figures of each load."""
    sellers = await prepare(target, secret, plan.sellers)

    def messages(names: list[str], batches: int) -> list[list[bytes]]:
        shape = Shape(seller_ids=names, run_id=f"{time.time_ns()}")
        return [list(stream_messages(shape, batches, worker)) for worker in range(STREAMS)]

    await loads.issue(target, secret, messages(sellers, WARM_UP_BATCHES))
    raw: dict[str, list[float]] = {"issue": [], "issue_one_seller": [], "verify": []}
    raw |= {"load_data": [], "redis_get": [], "object_put": []}
    for number in range(plan.rounds):
        for name, names in (("issue", sellers), ("issue_one_seller", sellers[:1])):
            outcome = await loads.issue(target, secret, messages(names, plan.batches))
            if outcome.failed:
                raise RuntimeError(f"{outcome.failed} items of {name} failed")
            raw[name].append(outcome.rate)
        checks = loads.check_messages(outcome.issued, 500)
        verified = await loads.verify(target, secret, [checks[stream::STREAMS] for stream in range(STREAMS)])
        if verified.failed:
            raise RuntimeError(f"{verified.failed} checks did not match")
        raw["verify"].append(verified.rate)
        raw["load_data"].append(await asyncio.to_thread(limits.load_data, settings, number))
        raw["redis_get"].append(await limits.redis_get(settings))
        raw["object_put"].append(await limits.object_put(settings))
        latest = ", ".join(f"{name} {values[-1]:,.0f}/s" for name, values in raw.items())
        print(f"round {number + 1} of {plan.rounds}: {latest}", flush=True)
    return raw


def report(raw: dict[str, list[float]]) -> list[dict[str, object]]:
    """Sets the medians against the targets."""
    bulk = statistics.median(raw["issue"])
    one = statistics.median(a / b for a, b in zip(raw["issue_one_seller"], raw["issue"], strict=True))
    share = statistics.median(a / b for a, b in zip(raw["issue"], raw["load_data"], strict=True))
    figures = [(BULK, bulk), (LOAD_DATA, share), (ONE_SELLER, one), (VERIFY, statistics.median(raw["verify"]))]
    return [
        {
            "name": t.name,
            "figure": round(figure, 2),
            "target": round(t.target, 2),
            "unit": t.unit,
            "met": figure >= t.target,
        }
        for t, figure in figures
    ]


def admin(stack: Stack, *arguments: str) -> dict[str, object]:
    """Runs billow-admin and returns its line of JSON; an audit with findings is told as well."""
    command = [sys.executable, "-m", "admin", *arguments, "--config", str(stack.config_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout:
        raise RuntimeError(done.stderr)
    result: dict[str, object] = json.loads(done.stdout)
    return result


def main() -> int:
    """Runs the benchmark; exits 1 when the audit finds anything, not when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short round, under two minutes")
    plan = QUICK if parser.parse_args().quick else FULL
    with tempfile.TemporaryDirectory(prefix="billow-") as folder, Stack(run_dir=Path(folder)) as stack:
        scopes = [option for scope in ("issue", "read", "verify", "registry") for option in ("--scope", scope)]
        key = admin(stack, "key", "create", "--create-tenant", "--tenant", TENANT, *scopes)
        if not stack.replication().semi_sync:
            raise RuntimeError("semi-sync is off")
        raw = asyncio.run(
            measure(f"{stack.envoy.host}:{stack.envoy.port}", str(key["secret"]), plan, load(stack.config_path))
        )
        if not stack.replication().semi_sync:
            raise RuntimeError("semi-sync went off")
        audit = admin(stack, "audit")
    figures = report(raw)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"figures": figures, "rounds": raw, "audit": audit}, indent=1) + "\n")
    for figure in figures:
        met = "met" if figure["met"] else "missed"
        print(f"{figure['name']}: {figure['figure']} {figure['unit']} (target {figure['target']}: {met})")
    print(f"audit: {audit.get('findings')} findings; raw rounds in {RESULTS}")
    return 1 if audit.get("findings") else 0


if __name__ == "__main__":
    sys.exit(main())

"""Streamed issuing and verification, and the machine's limits beside them, in rounds that interleave them all."""

from __future__ import annotations

import asyncio
import json
import statistics
from pathlib import Path
from typing import Any

import psutil

from benchmarks import limits, loads
from benchmarks.bench import Bench, require_whole
from benchmarks.cpu import stack_pids
from benchmarks.peers import naive
from benchmarks.shapes import Shape

STREAMS = 2
BATCH_ITEMS = 500
SELLERS = 10
WARM_UP_S = 1.0
MAXIMUM_S = 3.0  # of the burst that stands for the headline load where that was not asked for
MIB = 1024 * 1024
PEERS = Path(__file__).parent / "results" / "peers.json"

Result = dict[str, Any]


async def measure(bench: Bench) -> Result:
    """Runs the rounds; the medians are what counts."""
    await load(bench, await bench.shape(), duration_s=WARM_UP_S)
    rounds = []
    for number in range(bench.plan.rounds):
        bench.progress.tell(f"round {number + 1} of {bench.plan.rounds}")
        async with bench.checked(audit=bench.plan.audit_rounds):
            rounds.append(await _round(bench, number))
    bench.found["issue"] = statistics.median(one["figures"]["issue"] for one in rounds)
    return {"rounds": rounds}


async def load(
    bench: Bench, shape: Shape, *, duration_s: float, streams: int = STREAMS, beyond: bool = False
) -> Result:
    """Issues by streams as fast as answers come; returns rate, latencies of messages and CPU µs an invoice.

    `beyond`: it may be more than a tenant's share of the lanes, and refusals are counted; else none is allowed.
    """
    bench.meter.start()
    made = await bench.issue(shape, streams=streams, pace=loads.Pace(duration_s=duration_s))
    spent = bench.meter.stop()
    require_whole(made, "streamed issuing", refusals=beyond)
    return {
        "rate": round(made.rate, 1),
        "refused": made.refused,
        "invoices": made.items,
        "duration_s": round(made.duration_s, 3),
        "message_ms": made.latencies.summary(),
        "histogram": made.latencies.encoded(),
        "cpu_us": spent.us_each(made.items, bench.meter.idle),
    }


async def maximum(bench: Bench) -> float:
    """The rate of the headline load, measured shortly when no round has."""
    if "issue" not in bench.found:
        bench.found["issue"] = (await load(bench, await bench.shape(), duration_s=MAXIMUM_S))["rate"]
    return bench.found["issue"]


async def _round(bench: Bench, number: int) -> Result:
    """Every load once. Before the limits the archive has caught up, so that they have the machine to themselves."""
    await bench.settle()
    bench.progress.tell(f"round {number + 1}: ten sellers")
    many = await load(bench, await bench.shape(sellers=SELLERS), duration_s=bench.plan.bulk_s)
    bench.progress.tell(f"round {number + 1}: one seller")
    one = await load(bench, await bench.shape(sellers=1), duration_s=bench.plan.one_seller_s)
    bench.progress.tell(f"round {number + 1}: verification")
    batches = bench.plan.verified // BATCH_ITEMS // STREAMS
    issued = await bench.issue(await bench.shape(), streams=STREAMS, batches=batches, keep=True)
    checks = loads.check_messages(map(loads.check_of, issued.issued), BATCH_ITEMS)
    verified = await loads.verify(bench.target, bench.secret, [checks[place::STREAMS] for place in range(STREAMS)])
    require_whole(verified, "streamed verification")
    server_mib = max(
        psutil.Process(pid).memory_info().rss / MIB
        for name, pid in stack_pids(bench.stack).items()
        if name.startswith("server-")
    )
    await bench.settle()
    bench.progress.tell(f"round {number + 1}: the machine's limits")
    figures = {
        "issue": many["rate"],
        "issue_one_seller": one["rate"],
        "verify": round(verified.rate, 1),
        "server_mib": round(server_mib, 1),
        "cpu_us": many["cpu_us"]["all"],
        "load_data": round(await asyncio.to_thread(limits.load_data, bench.settings, number), 1),
        "redis_get": round(await limits.redis_get(bench.settings), 1),
        "object_put": round(await limits.object_put(bench.settings), 2),
    }
    if bench.plan.naive_batches:
        bench.progress.tell(f"round {number + 1}: the naive service")
        figures["naive"] = round(await naive.measure_bulk(bench.settings, batches=bench.plan.naive_batches), 1)
    if PEERS.exists():  # measured apart, by make bench-peers
        figures["tryton_100"] = json.loads(PEERS.read_text())["rate_100"]
    return {"figures": figures, "ten_sellers": many, "one_seller": one}

"""A soak: half of what the machine can do, for minutes, with every process's memory and descriptors watched."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

from benchmarks import bulk, mixed, singles
from benchmarks.apart import START_S
from benchmarks.bench import Bench
from benchmarks.cpu import stack_pids
from benchmarks.flood import Order, run

LOOK_S: Final = 5.0
SHARE: Final = 0.5  # of the headline rate
SINGLE_CALLS_A_S: Final = 50.0
BATCH_ITEMS: Final = 500
CHECKED: Final = 2_000
MIB: Final = 1024 * 1024


@dataclass(slots=True)
class Samples:
    """What was seen, every LOOK_S."""

    seconds: list[float] = field(default_factory=list)
    lag_s: list[float] = field(default_factory=list)
    rss_mib: dict[str, list[float]] = field(default_factory=dict)
    descriptors: dict[str, list[int]] = field(default_factory=dict)

    def servers_mib(self) -> list[list[float]]:
        """Memory of each server over time."""
        return [seen for name, seen in self.rss_mib.items() if name.startswith("server-")]


def growth(seen: list[float]) -> float:
    """The last quarter's median over that of the second quarter: the first is warm-up. 1 of too few samples."""
    quarter = len(seen) // 4
    if not quarter:
        return 1.0
    return statistics.median(seen[-quarter:]) / statistics.median(seen[quarter : 2 * quarter])


async def measure(bench: Bench) -> dict[str, Any]:
    """Issues in bulk and makes single calls for plan.soak_s."""
    rate = SHARE * await bulk.maximum(bench)
    checks = await singles.check_messages(bench, CHECKED)
    await bench.settle()
    duration_s = bench.plan.soak_s
    bench.progress.tell(f"{duration_s / 60:.1f} minutes of {rate:,.0f}/s")
    shape = await bench.shape(batch_items=BATCH_ITEMS)
    order = Order(
        target=bench.target,
        secret=bench.secret,
        seller_ids=shape.seller_ids,
        run_id=shape.run_id,
        batch_items=BATCH_ITEMS,
        streams=2,
        messages_per_s=rate / BATCH_ITEMS,
        duration_s=duration_s,
        start_at=time.perf_counter() + START_S,
    )
    samples = Samples()
    async with bench.checked(audit=False):  # the run ends with one
        flood = asyncio.create_task(run(order))
        watcher = asyncio.create_task(_watch(bench, samples))
        await asyncio.sleep(START_S)
        bench.meter.start()
        verified, issued = await mixed.calls_of(bench, checks, rate=SINGLE_CALLS_A_S, duration_s=duration_s)
        report = await flood
        spent = bench.meter.stop()
        watcher.cancel()
        await bench.settle()
    servers = samples.servers_mib()
    figures = {
        "server_mib": round(max(max(seen) for seen in servers), 1),
        "server_growth": round(max(growth(seen) for seen in servers), 3),
        "lag_s": max(samples.lag_s),
        "failed": verified.failed + issued.failed + report["failed"],
        "refused": verified.refused + issued.refused + report["refused"],
        "bulk_rate": report["rate"],
    }
    return {
        "rounds": [{"figures": figures}],
        "verify_ms": verified.latencies.summary(),
        "issue_ms": issued.latencies.summary(),
        "message_ms": report["message_ms"],
        "cpu_us": spent.us_each(report["items"] + issued.latencies.count, bench.meter.idle),
        "seconds": samples.seconds,
        "lag_s": samples.lag_s,
        "rss_mib": samples.rss_mib,
        "descriptors": samples.descriptors,
    }


async def _watch(bench: Bench, samples: Samples) -> None:
    """Looks at every process until cancelled."""
    began = time.perf_counter()
    while True:
        samples.seconds.append(round(time.perf_counter() - began, 1))
        samples.lag_s.append(round((await bench.backlog()).lag_s, 2))
        for name, pid in (await asyncio.to_thread(stack_pids, bench.stack)).items():
            process = psutil.Process(pid)
            samples.rss_mib.setdefault(name, []).append(round(process.memory_info().rss / MIB, 1))
            samples.descriptors.setdefault(name, []).append(process.num_fds())
        await asyncio.sleep(LOOK_S)

"""The archive: how far it is behind while invoices come at a pace, and how fast one worker catches up."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from benchmarks import bulk, loads
from benchmarks.bench import SETTLE_S, Bench

PACE: Final = 5_000  # invoices a second
LOOK_S: Final = 0.5
DRAIN_LOOK_S: Final = 0.05
WORKER: Final = "worker-1"


async def measure(bench: Bench) -> dict[str, Any]:
    """Issues at the pace with the lag watched; then stops the worker, issues, starts it and watches it catch up."""
    await bulk.load(bench, await bench.shape(), duration_s=bulk.WARM_UP_S)
    await bench.settle()
    async with bench.checked(audit=False):
        bench.progress.tell(f"{PACE:,}/s for {bench.plan.paced_s:.0f} s")
        paced = await _paced(bench)
        await bench.settle(always=True)
        bench.progress.tell(f"{WORKER} stands still while {bench.plan.drained:,} invoices are issued")
        drained = await _drained(bench)
    figures = {"lag_s": paced["lag_s"], "paced_rate": paced["rate"], "drain": drained["rate"]}
    return {"rounds": [{"figures": figures}], "paced": paced, "drained": drained}


async def _paced(bench: Bench) -> dict[str, Any]:
    lags: list[tuple[float, float]] = []
    began = time.perf_counter()

    async def watch() -> None:
        while True:
            lags.append((round(time.perf_counter() - began, 2), round((await bench.backlog()).lag_s, 2)))
            await asyncio.sleep(LOOK_S)

    watcher = asyncio.create_task(watch())
    try:
        pace = loads.Pace(duration_s=bench.plan.paced_s, messages_per_s=PACE / bulk.BATCH_ITEMS)
        shape = await bench.shape(batch_items=bulk.BATCH_ITEMS)
        bench.meter.start()
        made = await bench.issue(shape, pace=pace)
        spent = bench.meter.stop()
    finally:
        watcher.cancel()
    return {
        "rate": round(made.rate, 1),
        "lag_s": max((lag for _, lag in lags), default=0.0),
        "lags_s": lags,
        "message_ms": made.latencies.summary(),
        "cpu_us": spent.us_each(made.items, bench.meter.idle),
        "refused": made.refused,
        "failed": made.failed,
    }


async def _drained(bench: Bench) -> dict[str, Any]:
    """The clock runs from the worker's health to the last segment; what it had done by then does not count."""
    await asyncio.to_thread(bench.stack.stop, WORKER)
    before = await bench.archived()
    batches = bench.plan.drained // bulk.BATCH_ITEMS // 2
    made = await bench.issue(await bench.shape(batch_items=bulk.BATCH_ITEMS), batches=batches)
    bench.progress.tell(f"{WORKER} catches up with {made.items:,} invoices")
    await asyncio.to_thread(bench.stack.start, WORKER)
    began = time.perf_counter()
    at_start = await bench.archived()
    series: list[tuple[float, int]] = []
    for _ in range(int(SETTLE_S / DRAIN_LOOK_S)):
        archived = await bench.archived()
        series.append((round(time.perf_counter() - began, 2), archived - before))
        if archived - before >= made.items:
            break
        await asyncio.sleep(DRAIN_LOOK_S)
    took_s = time.perf_counter() - began
    changes = [point for point, last in zip(series[1:], series, strict=False) if point[1] != last[1]]
    return {"rate": round((series[-1][1] + before - at_start) / took_s, 1), "invoices": made.items, "archived": changes}

"""The cost of growth: the headline load on an empty table, and again when millions of invoices are there.

The rows are made by issuing them, so that the audit at the end holds for each; a million takes a few minutes. LOAD
DATA into its own table is measured beside each point: it tells how fast the machine was then.
"""

from __future__ import annotations

import asyncio
import statistics
from typing import Any, Final

from benchmarks import bulk, limits, loads
from benchmarks.bench import Bench, require_whole

REPEATS: Final = 3
FILL_STREAMS: Final = 2
FILL_ITEMS: Final = 1_000
FILL_STEP: Final = 200_000  # invoices between two words of progress


async def measure(bench: Bench) -> dict[str, Any]:
    """Measures at each number of rows of the plan, in growing order; the first should be 0 in a new stack."""
    points = []
    await bulk.load(bench, await bench.shape(), duration_s=bulk.WARM_UP_S)
    for serial, rows in enumerate(bench.plan.rows):
        await _fill(bench, rows)
        await bench.settle()
        async with bench.checked(audit=False):
            points.append(await _point(bench, serial))
    first, last = points[0], points[-1]
    figures = {
        "rate_against_empty": round(last["rate"] / first["rate"], 3),
        "rows": last["rows"],
        "load_data_against_empty": round(last["load_data"] / first["load_data"], 3),
    }
    return {"rounds": [{"figures": figures}], "points": points}


async def _rows(bench: Bench) -> int:
    """How many invoices there are: numbers used, as counting a large table would take seconds."""
    return int((await bench.primary().rows("SELECT COALESCE(SUM(used), 0) FROM number_ranges"))[0][0])


async def _fill(bench: Bench, rows: int) -> None:
    """Issues until there are so many."""
    while (missing := rows - await _rows(bench)) > 0:
        bench.progress.tell(f"{rows - missing:,} of {rows:,} rows")
        batches = -(-min(missing, FILL_STEP) // FILL_ITEMS // FILL_STREAMS)
        shape = await bench.shape(batch_items=FILL_ITEMS)
        messages = await bench.messages(shape, FILL_STREAMS, batches=max(1, batches))
        made = await loads.issue(bench.target, bench.secret, messages, keep_issued=False)
        require_whole(made, "streamed issuing")


async def _point(bench: Bench, serial: int) -> dict[str, Any]:
    """The median of a few runs, the archive caught up before each."""
    rows = await _rows(bench)
    bench.progress.tell(f"the rate at {rows:,} rows")
    runs = []
    for _ in range(REPEATS):
        await bench.settle()
        runs.append(await bulk.load(bench, await bench.shape(), duration_s=bench.plan.growth_s))
    middle = sorted(runs, key=lambda run: float(run["rate"]))[len(runs) // 2]
    await bench.settle()
    load_data = [
        await asyncio.to_thread(limits.load_data, bench.settings, serial * REPEATS + n) for n in range(REPEATS)
    ]
    return {
        "rows": rows,
        "rate": middle["rate"],
        "message_ms": middle["message_ms"],
        "cpu_us": middle["cpu_us"],
        "load_data": round(statistics.median(load_data), 1),
        "rates": [run["rate"] for run in runs],
    }

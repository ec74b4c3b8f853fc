"""A surge: fifty times the base load, with single calls watched second by second.

Offered in all, invoices and checks a second: 1.25 times what the machine can take in bulk, and a fiftieth of that
before and after. The single calls (80 % verification, 20 % issuing) go on at the same modest rate throughout, as those
of people would; all of the growth is bulk, over so many streams that more is under way than a server accepts. Bulk
that is refused is not sent again.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any, Final

from benchmarks import bulk, calls, mixed, singles
from benchmarks.apart import START_S
from benchmarks.bench import Bench
from benchmarks.flood import Order, run
from benchmarks.latency import Latencies, merged

TIMES: Final = 50
OVER_CAPACITY: Final = 1.25
SINGLE_CALLS_A_S: Final = 50.0
SURGE_STREAMS: Final = 12  # of 8 messages under way each: more than the lanes of two servers hold
SURGE_ITEMS: Final = 500
BASE_ITEMS: Final = 25
CHECKED: Final = 2_000

Result = dict[str, Any]


async def measure(bench: Bench) -> Result:
    """Base, surge, base; returns every second of it."""
    plan = bench.plan
    offered = OVER_CAPACITY * await bulk.maximum(bench)
    checks = await singles.check_messages(bench, CHECKED)
    await bench.settle()
    bench.progress.tell(f"{plan.surge_s:.0f} s of {offered:,.0f}/s offered")
    async with bench.checked(audit=plan.audit_rounds):
        start_at = time.perf_counter() + START_S
        base_bulk = max(BASE_ITEMS, offered / TIMES - SINGLE_CALLS_A_S)
        orders = [
            await _order(bench, start_at, plan.base_s, rate=base_bulk, base=True),
            await _order(bench, start_at + plan.base_s, plan.surge_s, rate=offered - SINGLE_CALLS_A_S, base=False),
            await _order(bench, start_at + plan.base_s + plan.surge_s, plan.base_s, rate=base_bulk, base=True),
        ]
        floods = [asyncio.create_task(run(order)) for order in orders]
        await asyncio.sleep(max(0.0, start_at - time.perf_counter()))
        bench.meter.start()
        watched_s = 2 * plan.base_s + plan.surge_s
        verified, issued = await mixed.calls_of(
            bench, checks, rate=SINGLE_CALLS_A_S, duration_s=watched_s, watched=True
        )
        reports = await asyncio.gather(*floods)
        spent = bench.meter.stop()
        await bench.settle()
    surge = range(math.ceil(plan.base_s), int(plan.base_s + plan.surge_s))
    during = _between([verified, issued], surge)
    figures = {
        "single_p99_ms": round(during.percentile_ms(0.99), 1),
        "single_failed": verified.failed + verified.refused + issued.failed + issued.refused,
        "bulk_failed": sum(report["failed"] for report in reports),
        "bulk_refused": sum(report["refused"] for report in reports),
        "bulk_rate": reports[1]["rate"],
        "offered": round(offered, 1),
    }
    return {
        "rounds": [{"figures": figures}],
        "surge": [surge.start, surge.stop],
        "single_ms": during.summary(),
        "issue_ms": _between([issued], surge).summary(),
        "verify_ms": _between([verified], surge).summary(),
        "cpu_us": spent.us_each(sum(report["items"] for report in reports), bench.meter.idle),
        "seconds": _seconds(verified, issued, reports),
        "bulk": [{name: value for name, value in report.items() if name != "seconds"} for report in reports],
        "words": (verified.words + issued.words).most_common(5),
    }


async def _order(bench: Bench, start_at: float, duration_s: float, *, rate: float, base: bool) -> Order:
    items = BASE_ITEMS if base else SURGE_ITEMS
    shape = await bench.shape(batch_items=items)
    return Order(
        target=bench.target,
        secret=bench.secret,
        seller_ids=shape.seller_ids,
        run_id=shape.run_id,
        batch_items=items,
        streams=1 if base else SURGE_STREAMS,
        messages_per_s=rate / items,
        duration_s=duration_s,
        start_at=start_at,
    )


def _between(made: list[calls.Load], seconds: range) -> Latencies:
    """The latencies of calls that ended within these seconds."""
    return merged(load.seconds[second].latencies for load in made for second in seconds if second in load.seconds)


def _seconds(verified: calls.Load, issued: calls.Load, reports: list[Result]) -> list[dict[str, float]]:
    """What happened in each second."""
    bulk_items: dict[int, int] = {}
    for report in reports:
        for second, items in report["seconds"]:
            place = round(report["began"] - verified.began) + second
            bulk_items[place] = bulk_items.get(place, 0) + items
    return [
        {
            "second": second,
            "issue_p99_ms": round(_between([issued], range(second, second + 1)).percentile_ms(0.99), 1),
            "verify_p99_ms": round(_between([verified], range(second, second + 1)).percentile_ms(0.99), 1),
            "failed": sum(load.seconds[second].failed for load in (verified, issued) if second in load.seconds),
            "refused": sum(load.seconds[second].refused for load in (verified, issued) if second in load.seconds),
            "bulk": bulk_items.get(second, 0),
        }
        for second in sorted({*verified.seconds, *issued.seconds, *bulk_items})
        if second >= 0
    ]

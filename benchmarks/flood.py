"""A bulk load by streams, from a process of its own (benchmarks/apart.py)."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import uvloop

from benchmarks import apart, loads
from benchmarks.shapes import Shape, bodies, stream_messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to issue. `messages_per_s` None: as answers allow. `start_at`: on the clock of time.perf_counter."""

    target: str
    secret: str
    seller_ids: Sequence[str]
    run_id: str
    batch_items: int
    streams: int
    messages_per_s: float | None
    duration_s: float
    start_at: float
    lines: int = 3


async def run(order: Order) -> dict[str, Any]:
    """Issues from a process of its own and returns its report; raises as apart.run does."""
    return await apart.run("benchmarks.flood", order)


async def serve(order: Order) -> dict[str, Any]:
    """Does it, in this process."""
    shape = Shape(seller_ids=order.seller_ids, lines=order.lines, batch_items=order.batch_items, run_id=order.run_id)
    messages = [stream_messages(shape, 10**9, stream) for stream in range(order.streams)]
    bodies(order.lines)
    await asyncio.sleep(max(0.0, order.start_at - time.perf_counter()))
    pace = loads.Pace(duration_s=order.duration_s, messages_per_s=order.messages_per_s)
    made = await loads.issue(order.target, order.secret, messages, pace=pace, keep_issued=False)
    return {
        "items": made.items,
        "refused": made.refused,
        "failed": made.failed,
        "words": made.words.most_common(5),
        "rate": round(made.rate, 1),
        "duration_s": round(made.duration_s, 2),
        "began": made.began,
        "message_ms": made.latencies.summary(),
        "seconds": sorted(made.seconds.items()),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(serve(Order(**json.load(sys.stdin))))))

"""Batches by unary calls from a process of its own: what an overload is made of.

Streams slow their callers down by flow control and so cannot offer more than is taken; calls of their own can. Each
has a deadline, as a caller's would (benchmarks/apart.py).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import uvloop

from benchmarks import apart, calls
from benchmarks.shapes import Shape, batch_messages, bodies

BATCH_ISSUE = "/billow.issuance.v1.IssuanceService/BatchIssueInvoices"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to issue: so many calls at `calls_per_s`, or, when that is None, with `under_way` at once.

    `start_at`: on the clock of time.perf_counter.
    """

    host: str
    port: int
    secret: str
    seller_ids: Sequence[str]
    run_id: str
    batch_items: int
    deadline_s: float
    calls_per_s: float | None
    under_way: int
    duration_s: float
    start_at: float
    lines: int = 3


async def run(order: Order) -> dict[str, Any]:
    """Issues from a process of its own and returns its report; raises as apart.run does."""
    return await apart.run("benchmarks.crowd", order)


async def serve(order: Order) -> dict[str, Any]:
    """Does it, in this process."""
    shape = Shape(seller_ids=order.seller_ids, lines=order.lines, batch_items=order.batch_items, run_id=order.run_id)
    messages = batch_messages(shape)
    bodies(order.lines)
    caller = calls.Caller(
        host=order.host, port=order.port, path=BATCH_ISSUE, secret=order.secret, deadline_s=order.deadline_s
    )
    await asyncio.sleep(max(0.0, order.start_at - time.perf_counter()))
    began_cpu_s = time.process_time()
    if order.calls_per_s:
        made = await caller.open_loop(messages, rate=order.calls_per_s, duration_s=order.duration_s, watched=True)
    else:
        made = await caller.closed_loop(_until(messages, order.duration_s), under_way=order.under_way)
    return {
        "offered": made.offered,
        "answered": made.latencies.count,
        "refused": made.refused,
        "failed": made.failed,
        "words": made.words.most_common(5),
        "rate": round(made.rate * order.batch_items, 1),
        "call_ms": made.latencies.summary(),
        "cpu_s": round(time.process_time() - began_cpu_s, 2),
        "seconds": [
            (second, seen.latencies.count * order.batch_items, seen.refused * order.batch_items)
            for second, seen in sorted(made.seconds.items())
        ],
    }


def _until(messages: Iterator[bytes], duration_s: float) -> Iterator[bytes]:
    """Messages until so much time has passed since the first."""
    give_up_at = time.perf_counter() + duration_s
    while time.perf_counter() < give_up_at:
        yield next(messages)


if __name__ == "__main__":
    print(json.dumps(uvloop.run(serve(Order(**json.load(sys.stdin))))))

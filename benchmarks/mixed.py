"""Mixed calls: 80 % verification and 20 % issuing in an open loop, at shares of what both reach together."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, Final

from benchmarks import calls, singles
from benchmarks.bench import ISSUE_ONE, VERIFY_ONE, Bench

VERIFIED: Final = 0.8  # of all calls
SHARES: Final = (0.5, 0.75)
CHECKED: Final = 2_000


async def measure(bench: Bench) -> dict[str, Any]:
    """Offers shares of the rate at which both would use up the machine, by their closed loops."""
    issue, verify = await singles.maximum(bench, "single_issue"), await singles.maximum(bench, "single_verify")
    most = 1 / (VERIFIED / verify + (1 - VERIFIED) / issue)
    checks = await singles.check_messages(bench, CHECKED)
    await bench.settle()
    steps = []
    async with bench.checked(audit=False):
        for share in SHARES:
            rate = share * most
            bench.progress.tell(f"{share:.0%}: {rate:,.0f}/s")
            verified, issued = await calls_of(bench, checks, rate=rate, duration_s=bench.plan.mixed_s)
            steps.append(
                {
                    "share": share,
                    "offered": round(rate, 1),
                    "rate": round(verified.rate + issued.rate, 1),
                    "verify_ms": verified.latencies.summary(),
                    "issue_ms": issued.latencies.summary(),
                    "refused": verified.refused + issued.refused,
                    "failed": verified.failed + issued.failed,
                }
            )
    return {"rounds": [], "open_loop": steps}


async def calls_of(
    bench: Bench, checks: list[bytes], *, rate: float, duration_s: float, watched: bool = False
) -> tuple[calls.Load, calls.Load]:
    """Makes calls at a rate; returns those that verified and those that issued."""
    requests = await bench.requests()
    async with asyncio.TaskGroup() as group:
        verified = group.create_task(
            bench.caller(VERIFY_ONE).open_loop(
                itertools.cycle(checks), rate=rate * VERIFIED, duration_s=duration_s, watched=watched
            )
        )
        issued = group.create_task(
            bench.caller(ISSUE_ONE).open_loop(
                requests, rate=rate * (1 - VERIFIED), duration_s=duration_s, watched=watched
            )
        )
    return verified.result(), issued.result()

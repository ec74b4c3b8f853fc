"""Verification, single and streamed: of entries in the cache, of a cache that was flushed, and of unknown numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import redis.asyncio

from benchmarks import calls, loads
from benchmarks.bench import VERIFY_ONE, Bench, require_whole
from benchmarks.bulk import BATCH_ITEMS, STREAMS
from benchmarks.singles import UNDER_WAY
from billow.verification.v1 import verification_pb2

MATCH: Final = verification_pb2.VERIFICATION_OUTCOME_MATCH
NOT_FOUND: Final = verification_pb2.VERIFICATION_OUTCOME_NOT_FOUND
UNKNOWN_FROM: Final = 9 * 10**8  # places in a range that no run comes to

Checks = Sequence[verification_pb2.InvoiceCheck]


async def measure(bench: Bench) -> dict[str, Any]:
    """Runs the three kinds in each round; every check is of another invoice, so that a miss stays one."""
    rounds = []
    for number in range(bench.plan.verifying_rounds):
        bench.progress.tell(f"round {number + 1} of {bench.plan.verifying_rounds}")
        async with bench.checked(audit=False):
            rounds.append(await _round(bench))
    return {"rounds": rounds}


async def _round(bench: Bench) -> dict[str, Any]:
    plan = bench.plan
    batches = -(-plan.verified // BATCH_ITEMS // STREAMS)
    issued = await bench.issue(await bench.shape(), streams=STREAMS, batches=batches, keep=True)
    require_whole(issued, "streamed issuing")
    known = [loads.check_of(item) for item in issued.issued]
    await bench.settle()
    figures: dict[str, float] = {}
    call_ms: dict[str, Any] = {}
    kinds: list[tuple[str, Checks, int, Callable[[], Any] | None]] = [
        ("hit", known, MATCH, None),
        ("miss", known, MATCH, lambda: flush(bench)),
        ("unknown", [_unknown(check) for check in known], NOT_FOUND, None),
    ]
    for name, checks, expected, before in kinds:
        if before is not None:
            await before()
        single = await _singles(bench, checks[: plan.checks])
        if before is not None:
            await before()
        messages = loads.check_messages(checks[plan.checks :], BATCH_ITEMS)
        shares = [messages[place::STREAMS] for place in range(STREAMS)]
        streamed = await loads.verify(bench.target, bench.secret, shares, expected=expected)
        require_whole(streamed, f"streamed verification: {name}")
        figures |= {f"single_{name}": round(single.rate, 1), f"streamed_{name}": round(streamed.rate, 1)}
        call_ms |= {f"single_{name}": single.latencies.summary(), f"streamed_{name}": streamed.latencies.summary()}
    return {"figures": figures, "call_ms": call_ms}


async def _singles(bench: Bench, checks: Checks) -> calls.Load:
    messages = iter(loads.one_check_messages(checks))
    made = await bench.caller(VERIFY_ONE).closed_loop(messages, under_way=UNDER_WAY, calls=len(checks))
    require_whole(made, "single verification")
    return made


def _unknown(check: verification_pb2.InvoiceCheck) -> verification_pb2.InvoiceCheck:
    """The check of a number that its seller has not got to."""
    other = verification_pb2.InvoiceCheck()
    other.CopyFrom(check)
    other.number = f"{int(check.number) + UNKNOWN_FROM:020d}"
    return other


async def flush(bench: Bench) -> None:
    """Empties Redis (P5: answers stay right)."""
    client = redis.asyncio.Redis.from_url(bench.stack.redis_url)
    await client.flushall()
    await client.aclose()

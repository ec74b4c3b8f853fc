"""Single calls through Envoy: closed loop beside a bare echo in the same rounds, then open loop over offered load."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks import calls, echo, loads
from benchmarks.bench import ISSUE_ONE, VERIFY_ONE, Bench, require_whole

# Calls at once, of the echo as well: the machine shall be busy while issuing. Idle of two fast cores while issuing, and
# in the echo: 8 and 8 % with 512, 5 and 8 % with 768, 4 and 7 % with 1,024, but then p99 of issuing is above 250 ms
UNDER_WAY = 768
CHECKED = 2_000  # different invoices verified
WARM_UP_CALLS = 200
SETTLED_TRIES = 20
SETTLED_PAUSE_S = 0.5
SHARES = (0.25, 0.5, 0.75, 0.9)  # of the closed loop's rate, offered in the open loop

Result = dict[str, Any]


async def measure(bench: Bench) -> Result:
    """Runs the rounds, then the open loop at shares of what they reached."""
    checks = await check_messages(bench, CHECKED)
    await closed(bench, ISSUE_ONE, await bench.requests(), WARM_UP_CALLS)
    await closed(bench, VERIFY_ONE, itertools.cycle(checks), WARM_UP_CALLS)
    rounds = []
    with echo.processes(len(bench.stack.servers)) as ports:
        for port in ports:  # the echo shall be warm as well
            direct = calls.Caller(host="127.0.0.1", port=port, path=ISSUE_ONE, secret=bench.secret)
            await direct.closed_loop(await bench.requests(), under_way=UNDER_WAY, calls=WARM_UP_CALLS)
        for number in range(bench.plan.single_rounds):
            bench.progress.tell(f"round {number + 1} of {bench.plan.single_rounds}")
            async with bench.checked(audit=bench.plan.audit_rounds):
                rounds.append(await _round(bench, checks, ports))
    for name in ("single_issue", "single_verify"):
        bench.found[name] = statistics.median(one["figures"][name] for one in rounds)
    async with bench.checked(audit=False):
        steps = [await _step(bench, share) for share in SHARES]
    return {"rounds": rounds, "open_loop": steps}


async def check_messages(bench: Bench, count: int) -> list[bytes]:
    """Issues so many invoices and returns messages that verify each."""
    issued = await bench.issue(await bench.shape(), batches=count // 1_000, keep=True)
    require_whole(issued, "streamed issuing")
    return loads.one_check_messages(map(loads.check_of, issued.issued))


async def closed(bench: Bench, path: str, messages: Iterator[bytes], count: int) -> calls.Load:
    """Makes so many calls, UNDER_WAY at once."""
    made = await bench.caller(path).closed_loop(messages, under_way=UNDER_WAY, calls=count)
    require_whole(made, path)
    return made


async def settled(bench: Bench, path: str, messages: Iterator[bytes]) -> None:
    """Makes some calls until none fails: on a busy machine Envoy may lose sight of new endpoints once more.

    Raises RuntimeError when it does not come to an end.
    """
    for _ in range(SETTLED_TRIES):
        made = await bench.caller(path).closed_loop(messages, under_way=UNDER_WAY, calls=WARM_UP_CALLS)
        if not made.failed:
            return
        await asyncio.sleep(SETTLED_PAUSE_S)
    require_whole(made, path)


async def maximum(bench: Bench, name: str) -> float:
    """The rate of "single_issue" or "single_verify", measured shortly when no round has."""
    if name not in bench.found:
        count = bench.plan.checks
        if name == "single_issue":
            made = await closed(bench, ISSUE_ONE, await bench.requests(), count)
        else:
            made = await closed(bench, VERIFY_ONE, itertools.cycle(await check_messages(bench, CHECKED)), count)
        bench.found[name] = made.rate
    return bench.found[name]


async def _round(bench: Bench, checks: list[bytes], ports: list[int]) -> Result:
    """The same number of calls to the servers and to the echo in their place."""
    await bench.settle()
    count = bench.plan.singles
    requests = await bench.requests()
    await settled(bench, VERIFY_ONE, itertools.cycle(checks))
    bench.meter.start()
    issue = await closed(bench, ISSUE_ONE, requests, count)
    issue_spent = bench.meter.stop()
    bench.meter.start()
    verify = await closed(bench, VERIFY_ONE, itertools.cycle(checks), count)
    verify_spent = bench.meter.stop()
    await bench.settle()
    async with echo.behind_envoy(bench.stack, ports):
        await settled(bench, ISSUE_ONE, await bench.requests())
        bare = await closed(bench, ISSUE_ONE, await bench.requests(), count)
    loads_made = {"single_issue": issue, "single_verify": verify, "echo": bare}
    return {
        "figures": {name: round(made.rate, 1) for name, made in loads_made.items()},
        "call_ms": {name: made.latencies.summary() for name, made in loads_made.items()},
        "cpu_us": {
            "single_issue": issue_spent.us_each(count, bench.meter.idle),
            "single_verify": verify_spent.us_each(count, bench.meter.idle),
        },
    }


async def _step(bench: Bench, share: float) -> Result:
    """Issues at a share of the maximum, whatever the answers do."""
    rate = share * await maximum(bench, "single_issue")
    bench.progress.tell(f"open loop at {share:.0%}: {rate:,.0f}/s")
    made = await bench.caller(ISSUE_ONE).open_loop(await bench.requests(), rate=rate, duration_s=bench.plan.open_s)
    return {
        "share": share,
        "offered": round(rate, 1),
        "rate": round(made.rate, 1),
        "refused": made.refused,
        "failed": made.failed,
        "call_ms": made.latencies.summary(),
        "histogram": made.latencies.encoded(),
    }

"""Three times what can be done, for minutes, by one greedy tenant, beside modest ones with people behind them (P9).

The best rate is measured before and after, by the same calls in a closed loop. Then the greedy tenant offers
OVER_CAPACITY times as much in an open loop: unary batches with a deadline each, whatever the answers do. The modest
tenants make the same few single calls and small batches alone and beside it; `best_beside` is the closed loop beside
them, so of what goodput loses, what is above it is their work, and what is below it is what refusing costs. The greedy
load comes from a process of its own, but from the same two cores: what it takes of them (`crowd_cpu_share`) the servers
do not have.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any, Final

import psutil

import billow
from benchmarks import calls, crowd
from benchmarks.apart import START_S
from benchmarks.bench import ISSUE_ONE, Bench, admin, register
from benchmarks.cpu import stack_pids
from benchmarks.latency import merged
from benchmarks.shapes import Shape, batch_messages, bodies, single_messages

OVER_CAPACITY: Final = 3.0
BATCH_ITEMS: Final = 100
DEADLINE_S: Final = 5.0
UNDER_WAY: Final = 32  # batches at once in the closed loop: enough that servers never wait for callers
MODEST_TENANTS: Final = 10
MODEST_SINGLES_A_S: Final = 4.0  # of each
MODEST_BATCHES_A_S: Final = 1.0
MODEST_BATCH_ITEMS: Final = 20
FIRST_SERIAL: Final = 500_000  # of the modest tenants' sellers: no other load's
LOOK_S: Final = 1.0
MIB: Final = 1024 * 1024

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A modest tenant."""

    secret: str
    seller_id: str


@dataclass(slots=True)
class Modest:
    """What the modest tenants' calls came to."""

    singles: list[calls.Load]
    batches: list[calls.Load]

    def bad(self) -> int:
        """Calls that were refused or failed."""
        return sum(load.refused + load.failed for load in (*self.singles, *self.batches))

    def report(self) -> Result:
        """Latencies and words."""
        return {
            "single_ms": merged(load.latencies for load in self.singles).summary(),
            "batch_ms": merged(load.latencies for load in self.batches).summary(),
            "refused": sum(load.refused for load in (*self.singles, *self.batches)),
            "failed": sum(load.failed for load in (*self.singles, *self.batches)),
            "words": [words for load in (*self.singles, *self.batches) for words in load.words.most_common(2)][:5],
        }


async def measure(bench: Bench) -> Result:
    """Best, modest tenants alone, best beside them, all together at OVER_CAPACITY, best again."""
    plan = bench.plan
    tenants = [await _tenant(bench, place) for place in range(MODEST_TENANTS)]
    order = await _order(bench)
    await crowd.run(replace(order, duration_s=plan.best_s))  # warm-up
    async with bench.checked(audit=False):
        bench.progress.tell("the best rate, before")
        bench.meter.start()
        before = await crowd.run(await _again(bench, duration_s=plan.best_s))
        best_spent = bench.meter.stop()
        await bench.settle()
        bench.progress.tell("modest tenants alone")
        bench.meter.start()
        alone = await _modest(bench, tenants, plan.best_s)
        alone_spent = bench.meter.stop()
        bench.progress.tell("the best rate beside them")
        shared = asyncio.create_task(crowd.run(await _again(bench, duration_s=plan.best_s)))
        await asyncio.sleep(START_S)
        await _modest(bench, tenants, plan.best_s)
        best_beside = (await shared)["rate"]
        await bench.settle()
        offered = OVER_CAPACITY * before["rate"]
        bench.progress.tell(f"{plan.overload_s:.0f} s of {offered:,.0f}/s")
        memory: list[float] = []
        watcher = asyncio.create_task(_watch(bench, memory))
        issued_before = await _issued(bench)
        greedy = asyncio.create_task(
            crowd.run(await _again(bench, duration_s=plan.overload_s, calls_per_s=offered / BATCH_ITEMS))
        )
        await asyncio.sleep(START_S)
        bench.meter.start()
        beside = await _modest(bench, tenants, plan.overload_s)
        found = await greedy
        spent = bench.meter.stop()
        watcher.cancel()
        issued = await _issued(bench) - issued_before
        await bench.settle()
        bench.progress.tell("the best rate, after")
        after = await crowd.run(await _again(bench, duration_s=plan.best_s))
    best = max(before["rate"], after["rate"])
    figures = {
        "goodput": found["rate"],
        "best": best,
        "best_beside": best_beside,
        "offered": round(found["offered"] * BATCH_ITEMS / plan.overload_s, 1),
        "accepted_p99_ms": found["call_ms"]["p99"],
        "failed": found["failed"],
        "modest_bad": beside.bad(),
        "modest_p99_ms": beside.report()["single_ms"]["p99"],
        "server_mib": round(max(memory), 1),
        "crowd_cpu_share": round(found["cpu_s"] / plan.overload_s / (psutil.cpu_count() or 1), 3),
    }
    return {
        "rounds": [{"figures": figures}],
        "before": before,
        "after": after,
        "greedy": found,
        "alone": alone.report(),
        "beside": beside.report(),
        "issued": issued,  # of all, by the database: what was answered, and what nobody waited for any more
        "cpu_us": spent.us_each(issued, bench.meter.idle),
        "alone_cpu_us_a_s": alone_spent.us_each(round(plan.best_s), bench.meter.idle),  # 1,000,000 are a core
        "best_cpu_us": best_spent.us_each(before["answered"] * BATCH_ITEMS, bench.meter.idle),
    }


async def _tenant(bench: Bench, place: int) -> Tenant:
    """Makes a tenant with a key and one seller."""
    scopes = [option for scope in ("issue", "registry") for option in ("--scope", scope)]
    key = await admin(bench.stack, "key", "create", "--create-tenant", "--tenant", f"modest-{place}", *scopes)
    async with billow.AsyncClient(bench.target, api_key=str(key["secret"])) as client:
        return Tenant(str(key["secret"]), await register(client, FIRST_SERIAL + place))


async def _order(bench: Bench) -> crowd.Order:
    """A closed loop of the greedy tenant, without an end or a beginning yet."""
    shape = await bench.shape(batch_items=BATCH_ITEMS)
    envoy = bench.stack.envoy
    return crowd.Order(
        host=envoy.host,
        port=envoy.port,
        secret=bench.secret,
        seller_ids=shape.seller_ids,
        run_id=shape.run_id,
        batch_items=BATCH_ITEMS,
        deadline_s=DEADLINE_S,
        calls_per_s=None,
        under_way=UNDER_WAY,
        duration_s=1.0,
        start_at=time.perf_counter() + START_S,
    )


async def _again(bench: Bench, *, duration_s: float, calls_per_s: float | None = None) -> crowd.Order:
    """The greedy tenant once more, with new request ids."""
    return replace(await _order(bench), duration_s=duration_s, calls_per_s=calls_per_s)


async def _modest(bench: Bench, tenants: list[Tenant], duration_s: float) -> Modest:
    """The modest tenants' calls, in open loops."""
    envoy = bench.stack.envoy
    bodies(3)

    async def load(tenant: Tenant, path: str, rate: float, items: int) -> calls.Load:
        shape = Shape(seller_ids=(tenant.seller_id,), batch_items=items, run_id=f"{time.time_ns()}")
        messages = single_messages(shape) if path == ISSUE_ONE else batch_messages(shape)
        caller = calls.Caller(host=envoy.host, port=envoy.port, path=path, secret=tenant.secret, deadline_s=DEADLINE_S)
        return await caller.open_loop(messages, rate=rate, duration_s=duration_s, connections=1)

    singles, batches = await asyncio.gather(
        asyncio.gather(*(load(tenant, ISSUE_ONE, MODEST_SINGLES_A_S, 1) for tenant in tenants)),
        asyncio.gather(
            *(load(tenant, crowd.BATCH_ISSUE, MODEST_BATCHES_A_S, MODEST_BATCH_ITEMS) for tenant in tenants)
        ),
    )
    return Modest(singles, batches)


async def _issued(bench: Bench) -> int:
    """How many invoices there are."""
    rows = await bench.primary().rows("SELECT COALESCE(SUM(items), 0) FROM batches")
    return int(rows[0][0])


async def _watch(bench: Bench, memory: list[float]) -> None:
    """Notes the memory of the largest server until cancelled."""
    while True:
        pids = await asyncio.to_thread(stack_pids, bench.stack)
        servers = [pid for name, pid in pids.items() if name.startswith("server-")]
        memory.append(max(psutil.Process(pid).memory_info().rss for pid in servers) / MIB)
        await asyncio.sleep(LOOK_S)

"""Delivers 10,000 webhooks to five receivers: good, hanging, failing and recovering, gone, moved; accounts for all.

`python -m benchmarks.webhooks [--invoices 2000]`: first to a good receiver alone, for the rate; then so many invoices
to all of them, five times as many webhooks. Real MySQL with its
replica, two workers' jobs and the receivers in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psutil

from core.storage.delivery_port import Endpoint
from stack import DATA_STORES, Stack, StackOptions
from tests.integration.test_delivery_worker import DELIVERED, FAILED, PENDING, Delivering
from tests.support.databases import own_stores
from tests.support.issuing import TestSeller
from tests.support.receivers import fails_first, hangs, is_gone, receiver, redirects, takes

BATCH = 500
LOOK_S = 0.1
GIVE_UP_LOOKS = 2_000


async def _states(work: Delivering, endpoint: Endpoint) -> dict[int, int]:
    """Counts an endpoint's deliveries by state."""
    sql = "SELECT state, COUNT(*) FROM deliveries WHERE endpoint_key = %s GROUP BY state"
    return dict(await work.stores.primary.rows(sql, (endpoint.endpoint_key,)))


async def _finished(work: Delivering, endpoint: Endpoint, wanted: int, began: float) -> float:
    """Waits until an endpoint has all; returns the seconds since `began`."""
    for _ in range(GIVE_UP_LOOKS):
        if (await _states(work, endpoint)).get(DELIVERED, 0) >= wanted:
            break
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - began


async def measure_alone(stack: Stack, folder: Path, invoices: int) -> None:
    """Delivers to one good receiver and prints the rate, and the CPU of the jobs with their receiver, and of MySQL."""
    async with own_stores(stack, folder) as stores, receiver(takes) as one:
        work = Delivering(stores)
        seller = await stores.issuer.seller()
        endpoint = await work.webhook(seller, one.url)
        for start in range(0, invoices, BATCH):
            await stores.issuer.issue(seller, min(BATCH, invoices - start))
        databases = [psutil.Process(stack.pid(name)) for name in ("mysql-1", "mysql-2")]
        before = [time.process_time(), *(_cpu_s(process) for process in databases)]
        async with work.workers(schedule_ms=[50] * 30):
            took_s = await _finished(work, endpoint, invoices, time.monotonic())
        after = [time.process_time(), *(_cpu_s(process) for process in databases)]
        jobs, primary, replica = ((now - then) / invoices * 1_000 for then, now in zip(before, after, strict=True))
        print(f"alone: {invoices} delivered in {took_s:.1f} s, {invoices / took_s:,.0f}/s")
        print(f"CPU a delivery: jobs and receiver {jobs:.2f} ms, primary {primary:.2f} ms, replica {replica:.2f} ms")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def measure(stack: Stack, folder: Path, invoices: int) -> None:
    """Runs and prints."""
    async with own_stores(stack, folder) as stores, AsyncExitStack() as opened:
        work = Delivering(stores)
        seller: TestSeller = await stores.issuer.seller()
        names = ("good", "hanging", "flaky", "gone")
        behaviours = (takes, hangs, fails_first(invoices // 10), is_gone)
        receivers = [await opened.enter_async_context(receiver(behaviour)) for behaviour in behaviours]
        receivers.append(await opened.enter_async_context(receiver(redirects(receivers[0].url))))
        endpoints = [await work.webhook(seller, one.url) for one in receivers]
        for start in range(0, invoices, BATCH):
            await stores.issuer.issue(seller, min(BATCH, invoices - start))
        began = time.monotonic()
        async with work.workers(schedule_ms=[50] * 30):
            good_s = await _finished(work, endpoints[0], invoices, began)
            flaky_s = await _finished(work, endpoints[2], invoices, began)
            hung = await _states(work, endpoints[1])
            receivers[1].behaviour = takes
            recovered = time.monotonic()
            hanging_s = await _finished(work, endpoints[1], invoices, recovered)
        print(f"good: {invoices} delivered in {good_s:.1f} s, {invoices / good_s:,.0f}/s beside the others")
        print(f"failing and recovering: all delivered after {flaky_s:.1f} s")
        print(f"hanging: {hung} until then; all delivered {hanging_s:.1f} s after it recovered")
        total = 0
        for name, endpoint, one in zip((*names, "moved"), endpoints, receivers, strict=True):
            states = await _states(work, endpoint)
            total += sum(states.values())
            told = ", ".join(f"{states.get(state, 0)} {state.name.lower()}" for state in (DELIVERED, PENDING, FAILED))
            print(f"{name:8} {told}; {len(one.received)} requests of {len(set(one.ids))} ids")
        print(f"accounted for: {total} of {5 * invoices}")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Delivers webhooks to receivers of every kind.")
    parser.add_argument("--invoices", type=int, default=2_000)
    invoices: int = parser.parse_args().invoices
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(run_dir=Path(folder) / "stack", options=StackOptions(parts=DATA_STORES)) as stack,
    ):
        asyncio.run(measure_alone(stack, Path(folder), invoices))
        asyncio.run(measure(stack, Path(folder), invoices))


if __name__ == "__main__":
    main()

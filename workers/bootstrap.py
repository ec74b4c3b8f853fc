"""Builds what a worker process is made of; the only place of `workers` that knows adapters."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server

from core.settings import Settings
from core.storage.mysql.outbox import MySQLOutboxStore
from core.storage.mysql.topology import Topology
from core.storage.objects.s3 import open_s3
from core.storage.redis.wake import RedisWakeSource
from workers.archive import ArchiveJob, LagJob
from workers.loop import Job, Loop
from workers.metrics import WorkerMetrics

LAG_INTERVAL_MS: Final = 1_000
STOP_GRACE_MS: Final = 10_000


def now_us() -> int:
    """The wall clock, µs since the epoch."""
    return time.time_ns() // 1_000


@asynccontextmanager
async def working(
    settings: Settings, *, metrics_port: int, slot: int
) -> AsyncIterator[Callable[[asyncio.Event], Awaitable[None]]]:
    """Opens everything and yields what runs all jobs until its event is set; needs no store to be there yet."""
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    async with AsyncExitStack() as stack:
        served, thread = start_http_server(metrics_port, addr="127.0.0.1", registry=registry)
        stack.callback(thread.join)
        stack.callback(served.server_close)
        stack.callback(served.shutdown)
        topology = Topology(settings=settings.mysql)
        stack.push_async_callback(topology.close)
        await topology.start()
        outbox = MySQLOutboxStore(primary=topology.primary)
        wake = RedisWakeSource(
            settings=settings.redis, consumer=f"worker-{slot}", wait_max_ms=settings.worker.idle_wait_ms
        )
        stack.push_async_callback(wake.close)
        jobs: list[Job] = [
            ArchiveJob(
                outbox=outbox,
                objects=await stack.enter_async_context(open_s3(settings.object_store)),
                wake=wake,
                settings=settings.worker,
                retention_days=settings.object_store.retention_days,
                metrics=metrics,
                owner=f"worker-{slot}",
                now_us=now_us,
            ),
            LagJob(outbox=outbox, metrics=metrics, interval_ms=LAG_INTERVAL_MS, now_us=now_us),
        ]
        loop = Loop(stop_grace_ms=STOP_GRACE_MS, chance=random.random, failed=metrics.failed)

        async def run(stop: asyncio.Event) -> None:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(loop.run(job, stop), name=job.name)

        yield run

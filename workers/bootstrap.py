"""Builds what a worker process is made of; the only place of `workers` that knows adapters."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server

from core.domain.destinations import Guard
from core.domain.webhooks import SCHEDULE_MS
from core.settings import DeliverySettings, Settings
from core.storage.delivery_port import EndpointKind
from core.storage.mysql.collection import MySQLCollector
from core.storage.mysql.delivery_queue import MySQLDeliveryQueue
from core.storage.mysql.entries import MySQLBookedInvoices
from core.storage.mysql.outbox import MySQLOutboxStore
from core.storage.mysql.reader import PrimaryReader
from core.storage.mysql.red_forms import MySQLFormStore
from core.storage.mysql.red_letter import MySQLRedStore
from core.storage.mysql.topology import Topology
from core.storage.objects.s3 import open_s3
from core.storage.redis.link import RedisLink
from core.storage.redis.verification_cache import RedisVerificationCache
from core.storage.redis.wake import RedisWakeSource
from workers.archive import ArchiveJob, LagJob
from workers.attempts import Policy, Sender
from workers.collect import CollectJob
from workers.deliver import FanOutJob, SendJob
from workers.email_sender import EmailSender
from workers.loop import Job, Loop
from workers.metrics import DeliveryMetrics, WorkerMetrics
from workers.red_letter import ExpireJob, ReassertJob
from workers.webhook_sender import WebhookSender

LAG_INTERVAL_MS: Final = 1_000
STOP_GRACE_MS: Final = 10_000
REDS_AWAY_WAIT_MS: Final = 0  # the jobs only read, and are run again


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
            CollectJob(collector=MySQLCollector(primary=topology.primary)),
            *await _delivery_jobs(settings.delivery, topology, DeliveryMetrics(registry), stack, slot=slot),
        ]
        jobs += _red_letter_jobs(settings, topology, stack)
        loop = Loop(stop_grace_ms=STOP_GRACE_MS, chance=random.random, failed=metrics.failed)

        async def run(stop: asyncio.Event) -> None:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(loop.run(job, stop), name=job.name)

        yield run


async def _delivery_jobs(
    settings: DeliverySettings, topology: Topology, metrics: DeliveryMetrics, stack: AsyncExitStack, *, slot: int
) -> list[Job]:
    """Builds what delivers; `stack` closes it."""
    queue = MySQLDeliveryQueue(primary=topology.primary)
    guard = Guard([ipaddress.ip_network(network) for network in settings.allowed_networks])
    webhook = WebhookSender(guard=guard, allow_http=settings.allow_http, timeout_ms=settings.timeout_ms, now_us=now_us)
    stack.push_async_callback(webhook.close)
    senders: dict[EndpointKind, Sender] = {EndpointKind.WEBHOOK: webhook}
    if settings.smtp_host:
        senders[EndpointKind.EMAIL] = EmailSender(settings=settings, now_us=now_us)
    policy = Policy(
        schedule_ms=settings.schedule_ms or SCHEDULE_MS, circuit_first_ms=settings.pause_ms, below=random.randrange
    )
    sending = SendJob(
        queue=queue,
        senders=senders,
        policy=policy,
        metrics=metrics,
        owner=f"worker-{slot}-{secrets.token_hex(4)}",  # a lease is one process's: what it sent is its own to note
        timeout_ms=settings.timeout_ms,
        idle_wait_ms=settings.idle_wait_ms,
        now_us=now_us,
    )
    stack.push_async_callback(sending.close)
    return [FanOutJob(queue=queue, idle_wait_ms=settings.idle_wait_ms), sending]


def _red_letter_jobs(settings: Settings, topology: Topology, stack: AsyncExitStack) -> list[Job]:
    """Builds what follows red invoices; `stack` closes it."""
    link = RedisLink(settings=settings.redis)
    stack.push_async_callback(link.close)
    reds = MySQLRedStore(
        primary=topology.primary, booked=MySQLBookedInvoices(), now_us=now_us, away_wait_ms=REDS_AWAY_WAIT_MS
    )
    return [
        ReassertJob(
            reds=reds,
            primary=PrimaryReader(primary=topology.primary),
            entries=RedisVerificationCache(link=link, settings=settings.redis),
            cached_s=settings.redis.verification_ttl_s,
            now_us=now_us,
        ),
        ExpireJob(forms=MySQLFormStore(primary=topology.primary), now_us=now_us),
    ]

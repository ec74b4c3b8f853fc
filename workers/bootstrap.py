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

from core.documents.formats import FORMATS
from core.domain.destinations import Guard
from core.domain.webhooks import SCHEDULE_MS, schedule_length_ms
from core.limits import EMAIL_ATTACHMENTS_BYTES_MAX
from core.settings import Settings
from core.storage.bodies import Bodies
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
from core.storage.ports import ObjectStore
from core.storage.redis.cluster import open_link
from core.storage.redis.verification_cache import RedisVerificationCache
from core.storage.redis.wake import RedisWakeSource
from core.storage.segment_reader import SegmentReader
from press.kept import KeptDocuments
from press.pool import ProcessPress
from workers.archive import ArchiveJob, LagJob
from workers.attachments import InvoiceDocuments
from workers.attempts import Policy, Sender
from workers.collect import CollectJob
from workers.deliver import FanOutJob, GiveUpJob, Notebook, NoteJob, SendJob
from workers.email_sender import EmailSender
from workers.loop import Job, Loop
from workers.metrics import DeliveryMetrics, WorkerMetrics
from workers.red_letter import ExpireJob, ReassertJob
from workers.sms_sender import HttpSmsGateway, SmsSender
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
    metrics, deliveries = WorkerMetrics(registry), DeliveryMetrics(registry)  # before anybody can read them
    async with AsyncExitStack() as stack:
        served, thread = start_http_server(metrics_port, addr="127.0.0.1", registry=registry)
        stack.callback(thread.join)
        stack.callback(served.server_close)
        stack.callback(served.shutdown)
        topology = Topology(settings=settings.mysql)
        stack.push_async_callback(topology.close)
        await topology.start()
        outbox = MySQLOutboxStore(primary=topology.primary)
        wake = RedisWakeSource(settings=settings.redis, consumer=f"worker-{slot}")
        stack.push_async_callback(wake.close)
        objects = await stack.enter_async_context(open_s3(settings.object_store))
        jobs: list[Job] = [
            ArchiveJob(
                outbox=outbox,
                objects=objects,
                wake=wake,
                settings=settings.worker,
                retention_days=settings.object_store.retention_days,
                metrics=metrics,
                owner=f"worker-{slot}",
                now_us=now_us,
            ),
            LagJob(outbox=outbox, metrics=metrics, interval_ms=LAG_INTERVAL_MS, now_us=now_us),
            CollectJob(collector=MySQLCollector(primary=topology.primary)),
            *_delivery_jobs(settings, topology, objects, deliveries, stack, slot=slot),
        ]
        jobs += _red_letter_jobs(settings, topology, stack)
        loop = Loop(stop_grace_ms=STOP_GRACE_MS, chance=random.random, failed=metrics.failed)

        async def run(stop: asyncio.Event) -> None:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(loop.run(job, stop), name=job.name)

        yield run


def _delivery_jobs(
    settings: Settings,
    topology: Topology,
    objects: ObjectStore,
    metrics: DeliveryMetrics,
    stack: AsyncExitStack,
    *,
    slot: int,
) -> list[Job]:
    """Builds what delivers; `stack` closes it."""
    config = settings.delivery
    queue = MySQLDeliveryQueue(primary=topology.primary)
    schedule_ms = config.schedule_ms or SCHEDULE_MS
    owner = f"worker-{slot}-{secrets.token_hex(4)}"  # a lease is one process's: what it sent is its own to note
    notebook = Notebook(queue=queue, owner=owner)
    sending = SendJob(
        queue=queue,
        notebook=notebook,
        senders=_senders(settings, topology, objects, stack),
        policy=Policy(schedule_ms=schedule_ms, circuit_first_ms=config.pause_ms, below=random.randrange),
        metrics=metrics,
        owner=owner,
        timeout_ms=config.timeout_ms,
        idle_wait_ms=config.idle_wait_ms,
        now_us=now_us,
    )
    stack.push_async_callback(sending.close)
    return [
        FanOutJob(queue=queue, idle_wait_ms=config.idle_wait_ms),
        sending,
        NoteJob(notebook),
        GiveUpJob(queue=queue, due_for_ms=schedule_length_ms(schedule_ms)),
    ]


def _senders(
    settings: Settings, topology: Topology, objects: ObjectStore, stack: AsyncExitStack
) -> dict[EndpointKind, Sender]:
    """Builds a sender for each kind of endpoint that is switched on; `stack` closes them."""
    config = settings.delivery
    guard = Guard([ipaddress.ip_network(network) for network in config.allowed_networks])
    webhook = WebhookSender(guard=guard, allow_http=config.allow_http, timeout_ms=config.timeout_ms, now_us=now_us)
    stack.push_async_callback(webhook.close)
    senders: dict[EndpointKind, Sender] = {EndpointKind.WEBHOOK: webhook}
    if config.smtp_host:
        documents = settings.documents
        press = ProcessPress(font=documents.font, processes=documents.processes, signing=documents.signing)
        stack.push_async_callback(press.close)
        reader = PrimaryReader(primary=topology.primary)
        attachments = InvoiceDocuments(
            invoices=reader,
            bodies=Bodies(
                batch=reader.batch, segment=reader.segment, archived=SegmentReader(objects=objects).read_body
            ),
            kept=KeptDocuments(
                press=press, objects=objects, retention_days=settings.object_store.retention_days, now_us=now_us
            ),
            formats=FORMATS,
            bytes_max=EMAIL_ATTACHMENTS_BYTES_MAX,
        )
        email = EmailSender(settings=config, attachments=attachments)
        stack.push_async_callback(email.close)
        senders[EndpointKind.EMAIL] = email
    if config.sms_url:
        gateway = HttpSmsGateway(settings=config, guard=guard)
        stack.push_async_callback(gateway.close)
        senders[EndpointKind.SMS] = SmsSender(gateway=gateway)
    return senders


def _red_letter_jobs(settings: Settings, topology: Topology, stack: AsyncExitStack) -> list[Job]:
    """Builds what follows red invoices; `stack` closes it."""
    link = open_link(settings=settings.redis)
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
        ),
        ExpireJob(forms=MySQLFormStore(primary=topology.primary), now_us=now_us),
    ]

"""Builds what a server process is made of; with server.wiring the only place of `server` that knows adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from prometheus_client import CollectorRegistry, start_http_server

from core import limits
from core.settings import Settings
from core.storage.mysql.issuing import MySQLIssuingStore
from core.storage.mysql.reader import PrimaryReader, ReplicaReader
from core.storage.mysql.registry import MySQLRegistryStore
from core.storage.mysql.topology import Topology
from core.storage.objects.s3 import open_s3
from core.storage.redis.cluster import open_link
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.verification_cache import RedisVerificationCache
from core.storage.segment_reader import SegmentReader
from server.admission import Admission
from server.coalescer import Lane
from server.handlers import (
    collection,
    delivery,
    documents,
    entries,
    imports,
    inspection,
    issuance,
    red_letter,
    registry,
    verification,
)
from server.health import Health, add_reflection, serve_channelz
from server.interceptors import Guard
from server.loop_lag import LoopLag
from server.metrics import ServerMetrics
from server.services.auth import KeyAuthenticator
from server.services.edge_identities import EdgeIdentities
from server.services.issuing import IssuingService
from server.services.reading import ReadingService
from server.services.sellers import SellerDirectory
from server.services.verification import VerificationService
from server.tenant_rates import tenant_rates
from server.wiring.buyers import buyer_handlers
from server.wiring.clock import now_us
from server.wiring.delivery import delivery_handler
from server.wiring.documents import document_handlers
from server.wiring.red_letter import red_letter_handler, red_stores
from server.wiring.registry import registry_handler

SERVICES = (
    issuance.SERVICE,
    verification.SERVICE,
    registry.SERVICE,
    entries.SERVICE,
    entries.TAX_ID_SERVICE,
    collection.SERVICE,
    red_letter.SERVICE,
    delivery.SERVICE,
    documents.SERVICE,
    inspection.SERVICE,
    imports.SERVICE,
)

# HTTP/2 and message limits; Envoy's stand in envoy/billow.yaml and are in step with these
GRPC_OPTIONS = (
    ("grpc.max_receive_message_length", limits.MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),  # an answer is bounded by its request
    ("grpc.so_reuseport", 0),  # a port taken by another server is an error, not a share (docs/adr/0002)
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),  # Envoy's come every 4 s; more are a GOAWAY
    ("grpc.http2.max_pings_without_data", 0),
)


# grpc.aio takes arriving calls one after the other, some turns of the event loop each, in a line for every registered
# method and one for all the others. Without lines of their own single calls stand behind the batches of an overload
# for seconds, before any lane or refusal knows of them (docs/adr/0045). Each line costs every call less than 1 µs.
OWN_LINES = (
    "/billow.issuance.v1.IssuanceService/IssueInvoice",
    "/billow.issuance.v1.IssuanceService/BatchIssueInvoices",
    "/billow.verification.v1.VerificationService/VerifyInvoice",
)


@asynccontextmanager
async def serving(config: Settings, *, port: int, metrics_port: int, slot: int) -> AsyncIterator[None]:
    """Serves inside the block; on leaving it drains: NOT_SERVING, wait, finish what is under way, stop.

    Needs no store to be there yet: calls wait for theirs. Raises RuntimeError when a port is taken.
    """
    metrics_registry = CollectorRegistry()
    metrics = ServerMetrics(metrics_registry)
    async with AsyncExitStack() as stack:
        served, thread = start_http_server(metrics_port, addr=config.server.host, registry=metrics_registry)
        stack.callback(thread.join)
        stack.callback(served.server_close)
        stack.callback(served.shutdown)
        server = grpc.aio.server(options=GRPC_OPTIONS)
        draining = asyncio.Event()
        handlers = await _handlers(config, metrics, stack, draining)
        server.add_generic_rpc_handlers(handlers)
        _give_lines(server, handlers)
        names = [service.full_name for service in SERVICES]
        health = Health(server, names)
        if config.server.reflection:
            add_reflection(server, names)
        if config.server.channelz_dir:
            channelz = await serve_channelz(Path(config.server.channelz_dir) / f"channelz-{slot}.sock")
            stack.push_async_callback(channelz.stop, None)
        server.add_insecure_port(f"{config.server.host}:{port}")
        await server.start()
        await health.serving()
        try:
            yield
        finally:
            await health.not_serving()
            await asyncio.sleep(config.server.drain_wait_ms / 1_000)
            draining.set()
            await server.stop(config.server.drain_grace_ms / 1_000)


def _give_lines(server: grpc.aio.Server, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
    """Gives each of OWN_LINES a line of its own for arriving calls; raises ValueError when no handler knows one."""
    for path in OWN_LINES:
        _, service, method = path.split("/")
        called: Any = _Called(path, ())
        (own,) = filter(None, (handler.service(called) for handler in handlers))
        server.add_registered_method_handlers(service, {method: own})


class _Called(NamedTuple):
    """What a handler is asked for a method by (grpc.HandlerCallDetails)."""

    method: str
    invocation_metadata: tuple[()]


async def _handlers(
    config: Settings, metrics: ServerMetrics, stack: AsyncExitStack, draining: asyncio.Event
) -> tuple[grpc.GenericRpcHandler, ...]:
    """Opens the stores, builds the services, and returns their gRPC handlers; `stack` closes what was opened."""
    wait_max_ms = config.server.commit_wait_max_ms
    topology = Topology(settings=config.mysql, metrics=metrics)
    stack.push_async_callback(topology.close)
    await topology.start()
    link = open_link(settings=config.redis, metrics=metrics)
    stack.push_async_callback(link.close)
    objects = await stack.enter_async_context(open_s3(config.object_store))

    registry_store = MySQLRegistryStore(primary=topology.primary, replicas=topology.replicas)
    primary = PrimaryReader(primary=topology.primary)
    replicas = ReplicaReader(replicas=topology.replicas)
    sellers = SellerDirectory(store=registry_store, wait_max_ms=wait_max_ms)
    issuing_store = MySQLIssuingStore(primary=topology.issuing, now_us=now_us, away_wait_ms=wait_max_ms)
    issue_cache = RedisIssueCache(link=link, settings=config.redis, metrics=metrics)
    make_lane = partial(
        Lane,
        store=issuing_store,
        cache=issue_cache,
        seller_tax_ids=sellers.tax_ids,
        metrics=metrics,
        wait_max_ms=wait_max_ms,
    )
    of_singles, of_batches = _admissions(metrics)
    interactive = make_lane(name="interactive", admission=of_singles)
    bulk = make_lane(name="bulk", remembers=False, beside=interactive, crowds=False, admission=of_batches)
    for lane in (interactive, bulk):
        stack.push_async_callback(lane.close)
    entries_cache = RedisVerificationCache(link=link, settings=config.redis, metrics=metrics)
    issuing_service = IssuingService(interactive=interactive, bulk=bulk, wait_max_ms=wait_max_ms)
    reading_service = ReadingService(
        primary=primary,
        replicas=replicas,
        segments=SegmentReader(objects=objects),
        sellers=sellers,
        now_us=now_us,
        wait_max_ms=wait_max_ms,
    )
    verification_service = VerificationService(
        cache=entries_cache, replicas=replicas, primary=primary, metrics=metrics, now_us=now_us, wait_max_ms=wait_max_ms
    )
    stack.push_async_callback(verification_service.close)
    reds = red_stores(topology, issue_cache, entries_cache, wait_max_ms)
    guard = _guard(config, metrics, stack, registry_store)
    return (
        guard.handlers(
            issuance.SERVICE,
            issuance.IssuanceHandlers(issuing=issuing_service, sellers=sellers, reading=reading_service),
            issuance.ACCESS,
        ),
        guard.handlers(
            verification.SERVICE,
            verification.VerificationHandlers(verification=verification_service),
            verification.ACCESS,
        ),
        red_letter_handler(guard, stack, reds, sellers=sellers, reading=reading_service),
        registry_handler(guard, topology, registry_store, sellers, wait_max_ms),
        delivery_handler(guard, config, topology, sellers),
        *buyer_handlers(guard, topology, registry_store, draining, reading=reading_service, wait_max_ms=wait_max_ms),
        *document_handlers(
            *(guard, config, stack, topology), reading=reading_service, checks=verification_service, objects=objects
        ),
    )


def _admissions(metrics: ServerMetrics) -> tuple[Admission, Admission]:
    """The doors of the lane of single calls and of that of batches."""
    return (
        Admission(
            lane="interactive",
            delay_ms=limits.INTERACTIVE_DELAY_MS,
            commit_items=limits.INTERACTIVE_COMMIT_ITEMS,
            metrics=metrics,
        ),
        Admission(lane="bulk", delay_ms=limits.BULK_DELAY_MS, commit_items=limits.BULK_COMMIT_ITEMS, metrics=metrics),
    )


def _guard(config: Settings, metrics: ServerMetrics, stack: AsyncExitStack, registry: MySQLRegistryStore) -> Guard:
    """Builds what stands before every method."""
    authenticator = KeyAuthenticator(store=registry, wait_max_ms=config.server.commit_wait_max_ms)
    stack.push_async_callback(authenticator.close)
    lag = LoopLag(metrics=metrics)
    lag.start()
    stack.callback(lag.close)
    rates = tenant_rates(
        checks_a_second=config.server.tenant_checks_a_second,
        reads_a_second=config.server.tenant_reads_a_second,
        metrics=metrics,
    )
    secret, wait_max_ms = config.server.edge_secret, config.server.commit_wait_max_ms
    identities = EdgeIdentities(store=registry, secret=secret, wait_max_ms=wait_max_ms) if secret else None
    return Guard(
        authenticator=authenticator,
        metrics=metrics,
        refusal_ms=lag.refusal_ms,
        rates=rates,
        identities=identities,
    )

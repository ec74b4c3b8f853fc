"""Builds what a server process is made of; the only place of `server` that knows adapters."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
from prometheus_client import CollectorRegistry, start_http_server

from core import limits
from core.documents.formats import FORMATS
from core.domain import destinations
from core.domain.verification import date_of
from core.settings import Settings
from core.storage.mysql.collection import MySQLReceivedStore
from core.storage.mysql.delivery_queue import MySQLDeliveryQueue
from core.storage.mysql.endpoints import MySQLEndpointStore
from core.storage.mysql.entries import MySQLBookedInvoices, MySQLEntryStore
from core.storage.mysql.imports import MySQLImportStore
from core.storage.mysql.issuing import MySQLIssuingStore
from core.storage.mysql.quotas import MySQLQuotaStore
from core.storage.mysql.reader import PrimaryReader, ReplicaReader
from core.storage.mysql.red_forms import MySQLFormStore
from core.storage.mysql.red_letter import MySQLRedStore
from core.storage.mysql.registry import MySQLRegistryStore
from core.storage.mysql.tax_ids import MySQLTaxIdStore
from core.storage.mysql.topology import Topology
from core.storage.objects.s3 import open_s3
from core.storage.ports import ObjectStore
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.link import RedisLink
from core.storage.redis.verification_cache import RedisVerificationCache
from core.storage.segment_reader import SegmentReader
from press.kept import KeptDocuments
from press.pool import ProcessPress
from server.coalescer import Lane
from server.document_reader import ProcessReader
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
from server.metrics import ServerMetrics
from server.services.auth import KeyAuthenticator
from server.services.collection import CollectionService
from server.services.credit_quota import CreditQuotaService
from server.services.delivery import DeliveryService, Targets
from server.services.documents import DocumentService
from server.services.download_links import DownloadLinkService
from server.services.entries import EntryService
from server.services.imports import ImportService
from server.services.inspection import InspectionService
from server.services.issuing import IssuingService
from server.services.reading import ReadingService
from server.services.received import EitherSide, ReceivedInvoiceService
from server.services.red_forms import RedFormService
from server.services.red_letter import RedLetterService
from server.services.registry import RegistryService
from server.services.sellers import SellerDirectory
from server.services.tax_ids import TaxIdService
from server.services.verification import VerificationService

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
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)


def now_us() -> int:
    """The wall clock, µs since the epoch."""
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RedStores:
    """What red-lettering keeps things in."""

    reds: MySQLRedStore
    forms: MySQLFormStore
    tax_ids: MySQLTaxIdStore
    primary: PrimaryReader
    answers: RedisIssueCache
    entries: RedisVerificationCache
    wait_max_ms: int


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


async def _handlers(
    config: Settings, metrics: ServerMetrics, stack: AsyncExitStack, draining: asyncio.Event
) -> tuple[grpc.GenericRpcHandler, ...]:
    """Opens the stores, builds the services, and returns their gRPC handlers; `stack` closes what was opened."""
    wait_max_ms = config.server.commit_wait_max_ms
    # commits have connections of their own: reads never wait for them, and only they may send several statements
    topology = Topology(settings=config.mysql, metrics=metrics)
    writers = Topology(settings=config.mysql, multi_statements=True)
    for watching in (topology, writers):
        stack.push_async_callback(watching.close)
        await watching.start()
    link = RedisLink(settings=config.redis, metrics=metrics)
    stack.push_async_callback(link.close)
    objects = await stack.enter_async_context(open_s3(config.object_store))

    registry_store = MySQLRegistryStore(primary=topology.primary, replicas=topology.replicas)
    primary = PrimaryReader(primary=topology.primary)
    replicas = ReplicaReader(replicas=topology.replicas)
    sellers = SellerDirectory(store=registry_store, wait_max_ms=wait_max_ms)
    issuing_store = MySQLIssuingStore(primary=writers.primary, now_us=now_us, away_wait_ms=wait_max_ms)
    issue_cache = RedisIssueCache(link=link, settings=config.redis, metrics=metrics)
    make_lane = partial(Lane, store=issuing_store, cache=issue_cache, seller_tax_ids=sellers.tax_ids, metrics=metrics)
    interactive = make_lane(name="interactive")
    bulk = make_lane(name="bulk", beside=interactive)
    for lane in (interactive, bulk):
        stack.push_async_callback(lane.close)
    authenticator = KeyAuthenticator(store=registry_store, wait_max_ms=wait_max_ms)
    stack.push_async_callback(authenticator.close)

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
    reds = _red_stores(topology, writers, issue_cache, entries_cache, wait_max_ms)
    guard = Guard(authenticator=authenticator, metrics=metrics)
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
        _red_letter_handler(guard, stack, reds, sellers=sellers, reading=reading_service),
        _registry_handler(guard, topology, registry_store, sellers, wait_max_ms),
        _delivery_handler(guard, config, topology, sellers),
        *_buyer_handlers(guard, topology, registry_store, draining, reading=reading_service, wait_max_ms=wait_max_ms),
        *_document_handlers(
            *(guard, config, stack, topology), reading=reading_service, checks=verification_service, objects=objects
        ),
    )


def _registry_handler(
    guard: Guard, topology: Topology, store: MySQLRegistryStore, sellers: SellerDirectory, wait_max_ms: int
) -> grpc.GenericRpcHandler:
    """Builds the service of tenants, keys, sellers, number ranges and credit quotas."""
    quotas = MySQLQuotaStore(primary=topology.primary, now_us=now_us)
    handlers = registry.RegistryHandlers(
        registry=RegistryService(store=store, sellers=sellers, now_us=now_us, wait_max_ms=wait_max_ms),
        quotas=CreditQuotaService(store=quotas, sellers=sellers, wait_max_ms=wait_max_ms),
    )
    return guard.handlers(registry.SERVICE, handlers, registry.ACCESS)


def _red_stores(
    topology: Topology,
    writers: Topology,
    answers: RedisIssueCache,
    entries: RedisVerificationCache,
    wait_max_ms: int,
) -> RedStores:
    """Opens what red-lettering keeps things in."""
    return RedStores(
        reds=MySQLRedStore(
            primary=writers.primary, booked=MySQLBookedInvoices(), now_us=now_us, away_wait_ms=wait_max_ms
        ),
        forms=MySQLFormStore(primary=topology.primary),
        tax_ids=MySQLTaxIdStore(primary=topology.primary),
        primary=PrimaryReader(primary=topology.primary),
        answers=answers,
        entries=entries,
        wait_max_ms=wait_max_ms,
    )


def _red_letter_handler(
    guard: Guard, stack: AsyncExitStack, stores: RedStores, *, sellers: SellerDirectory, reading: ReadingService
) -> grpc.GenericRpcHandler:
    """Builds the service of red invoices and their confirmation forms; `stack` waits for what is under way."""
    reds = RedLetterService(
        store=stores.reds,
        reading=reading,
        sellers=sellers,
        primary=stores.primary,
        answers=stores.answers,
        entries=stores.entries,
        wait_max_ms=stores.wait_max_ms,
    )
    stack.push_async_callback(reds.close)
    forms = RedFormService(
        store=stores.forms,
        reds=stores.reds,
        reading=reading,
        sellers=sellers,
        tax_ids=stores.tax_ids,
        now_us=now_us,
    )
    handlers = red_letter.RedLetterHandlers(reds=reds, forms=forms, sellers=sellers)
    return guard.handlers(red_letter.SERVICE, handlers, red_letter.ACCESS)


def _buyer_handlers(
    guard: Guard,
    topology: Topology,
    registry_store: MySQLRegistryStore,
    draining: asyncio.Event,
    *,
    reading: ReadingService,
    wait_max_ms: int,
) -> tuple[grpc.GenericRpcHandler, ...]:
    """Builds the services of those who receive invoices."""
    tax_ids = MySQLTaxIdStore(primary=topology.primary)
    entry_store = MySQLEntryStore(primary=topology.primary, now_us=now_us)
    entry_service = EntryService(store=entry_store, wait_max_ms=wait_max_ms)
    received_service = ReceivedInvoiceService(reading=reading, entries=entry_store, wait_max_ms=wait_max_ms)
    tax_id_service = TaxIdService(store=tax_ids, registry=registry_store, now_us=now_us, wait_max_ms=wait_max_ms)
    collection_service = CollectionService(
        store=MySQLReceivedStore(primary=topology.primary, replicas=topology.replicas),
        tax_ids=tax_ids,
        draining=draining,
        wait_max_ms=wait_max_ms,
    )
    return (
        guard.handlers(entries.SERVICE, entries.EntryHandlers(entries=entry_service), entries.ACCESS),
        guard.handlers(entries.TAX_ID_SERVICE, entries.TaxIdHandlers(tax_ids=tax_id_service), entries.TAX_ID_ACCESS),
        guard.handlers(
            collection.SERVICE,
            collection.CollectionHandlers(collection=collection_service, received=received_service),
            collection.ACCESS,
        ),
    )


def _document_handlers(
    guard: Guard,
    config: Settings,
    stack: AsyncExitStack,
    topology: Topology,
    *,
    reading: ReadingService,
    checks: VerificationService,
    objects: ObjectStore,
) -> tuple[grpc.GenericRpcHandler, ...]:
    """Builds the services that make and read documents; their processes start when the first one is asked for."""
    documents_config = config.documents
    press = ProcessPress(
        font=documents_config.font, processes=documents_config.processes, signing=documents_config.signing
    )
    stack.push_async_callback(press.close)
    service = DocumentService(
        invoices=EitherSide(
            reading=reading,
            tax_ids=MySQLTaxIdStore(primary=topology.primary),
            wait_max_ms=config.server.commit_wait_max_ms,
        ),
        press=press,
        objects=objects,
        formats=FORMATS,
        retention_days=config.object_store.retention_days,
        now_us=now_us,
    )
    links = DownloadLinkService(documents=service, settings=config.downloads, now_us=now_us)
    handlers = documents.DocumentHandlers(documents=service, links=links)
    reader = ProcessReader(signing=documents_config.signing, processes=documents_config.processes)
    stack.push_async_callback(reader.close)
    inspecting = InspectionService(
        reader=reader,
        checks=checks,
        invoices=reading,
        kept=KeptDocuments(
            press=press, objects=objects, retention_days=config.object_store.retention_days, now_us=now_us
        ),
        today=lambda: date_of(now_us()),
    )
    importing = ImportService(
        reader=reader,
        inspector=inspecting,
        tax_ids=MySQLTaxIdStore(primary=topology.primary),
        store=MySQLImportStore(primary=topology.primary),
        objects=objects,
        retention_days=config.object_store.retention_days,
        now_us=now_us,
    )
    import_handlers = imports.ImportHandlers(imports=importing, wait_max_ms=config.server.commit_wait_max_ms)
    return (
        guard.handlers(imports.SERVICE, import_handlers, imports.ACCESS),
        guard.handlers(documents.SERVICE, handlers, documents.ACCESS),
        guard.handlers(inspection.SERVICE, inspection.InspectionHandlers(inspection=inspecting), inspection.ACCESS),
    )


def _delivery_handler(
    guard: Guard, config: Settings, topology: Topology, sellers: SellerDirectory
) -> grpc.GenericRpcHandler:
    """The handler of the DeliveryService; the sending itself is the workers'."""
    networks = [ipaddress.ip_network(network) for network in config.delivery.allowed_networks]
    service = DeliveryService(
        store=MySQLEndpointStore(primary=topology.primary),
        queue=MySQLDeliveryQueue(primary=topology.primary),
        invoices=PrimaryReader(primary=topology.primary),
        sellers=sellers,
        targets=Targets(
            guard=destinations.Guard(networks),
            allow_http=config.delivery.allow_http,
            email=bool(config.delivery.smtp_host),
            sms=bool(config.delivery.sms_url),
        ),
        now_us=now_us,
        wait_max_ms=config.server.commit_wait_max_ms,
    )
    return guard.handlers(delivery.SERVICE, delivery.DeliveryHandlers(delivery=service), delivery.ACCESS)

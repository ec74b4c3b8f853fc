"""Wires the services of those who receive invoices."""

from __future__ import annotations

import asyncio

import grpc

from core.storage.mysql.collection import MySQLReceivedStore
from core.storage.mysql.entries import MySQLEntryStore
from core.storage.mysql.registry import MySQLRegistryStore
from core.storage.mysql.tax_ids import MySQLTaxIdStore
from core.storage.mysql.topology import Topology
from server.handlers import collection, entries
from server.interceptors import Guard
from server.services.collection import CollectionService
from server.services.entries import EntryService
from server.services.reading import ReadingService
from server.services.received import ReceivedInvoiceService
from server.services.tax_ids import TaxIdService
from server.wiring.clock import now_us


def buyer_handlers(
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

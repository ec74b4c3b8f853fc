"""Wires the services that make and read documents."""

from __future__ import annotations

from contextlib import AsyncExitStack

import grpc

from core.documents.formats import FORMATS
from core.domain.verification import date_of
from core.settings import Settings
from core.storage.mysql.imports import MySQLImportStore
from core.storage.mysql.tax_ids import MySQLTaxIdStore
from core.storage.mysql.topology import Topology
from core.storage.ports import ObjectStore
from press.kept import KeptDocuments
from press.pool import ProcessPress
from server.document_reader import ProcessReader
from server.handlers import documents, imports, inspection
from server.interceptors import Guard
from server.services.documents import DocumentService
from server.services.download_links import DownloadLinkService
from server.services.imports import ImportService
from server.services.inspection import InspectionService
from server.services.reading import ReadingService
from server.services.received import EitherSide
from server.services.verification import VerificationService
from server.wiring.clock import now_us


def document_handlers(
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
        wait_max_ms=config.server.commit_wait_max_ms,
    )
    import_handlers = imports.ImportHandlers(imports=importing)
    return (
        guard.handlers(imports.SERVICE, import_handlers, imports.ACCESS),
        guard.handlers(documents.SERVICE, handlers, documents.ACCESS),
        guard.handlers(inspection.SERVICE, inspection.InspectionHandlers(inspection=inspecting), inspection.ACCESS),
    )

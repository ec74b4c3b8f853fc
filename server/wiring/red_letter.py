"""Wires the service of red invoices and their confirmation forms."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc

from core.storage.mysql.entries import MySQLBookedInvoices
from core.storage.mysql.reader import PrimaryReader
from core.storage.mysql.red_forms import MySQLFormStore
from core.storage.mysql.red_letter import MySQLRedStore
from core.storage.mysql.tax_ids import MySQLTaxIdStore
from core.storage.mysql.topology import Topology
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.verification_cache import RedisVerificationCache
from server.handlers import red_letter
from server.interceptors import Guard
from server.services.reading import ReadingService
from server.services.red_forms import RedFormService
from server.services.red_letter import RedLetterService
from server.services.sellers import SellerDirectory
from server.wiring.clock import now_us


@dataclass(frozen=True, slots=True, kw_only=True)
class RedStores:
    """What red-lettering keeps things in."""

    reds: MySQLRedStore
    forms: MySQLFormStore
    tax_ids: MySQLTaxIdStore
    primary: PrimaryReader
    issue_cache: RedisIssueCache
    entries: RedisVerificationCache
    wait_max_ms: int


def red_stores(
    topology: Topology,
    issue_cache: RedisIssueCache,
    entries: RedisVerificationCache,
    wait_max_ms: int,
) -> RedStores:
    """Opens what red-lettering keeps things in."""
    return RedStores(
        reds=MySQLRedStore(
            primary=topology.issuing, booked=MySQLBookedInvoices(), now_us=now_us, away_wait_ms=wait_max_ms
        ),
        forms=MySQLFormStore(primary=topology.primary),
        tax_ids=MySQLTaxIdStore(primary=topology.primary),
        primary=PrimaryReader(primary=topology.primary),
        issue_cache=issue_cache,
        entries=entries,
        wait_max_ms=wait_max_ms,
    )


def red_letter_handler(
    guard: Guard, stack: AsyncExitStack, stores: RedStores, *, sellers: SellerDirectory, reading: ReadingService
) -> grpc.GenericRpcHandler:
    """Builds the service of red invoices and their confirmation forms; `stack` waits for what is under way."""
    reds = RedLetterService(
        store=stores.reds,
        reading=reading,
        sellers=sellers,
        primary=stores.primary,
        issue_cache=stores.issue_cache,
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
        wait_max_ms=stores.wait_max_ms,
    )
    handlers = red_letter.RedLetterHandlers(reds=reds, forms=forms, sellers=sellers)
    return guard.handlers(red_letter.SERVICE, handlers, red_letter.ACCESS)

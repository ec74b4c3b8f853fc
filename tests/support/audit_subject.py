"""Sound data for audits to look at, and the names of the checks."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from billow.types.v1.invoice_pb2 import INVOICE_COLOR_RED, Invoice
from core.domain.red_letter import Taken, pack_sums
from core.storage.mysql.issuing import MySQLIssuingStore
from core.storage.mysql.pool import Node, Primary
from core.storage.ports import Draft, Issued
from stack import Stack
from tests.support.archiving import archive
from tests.support.databases import OwnStores, own_stores
from tests.support.issuing import TestSeller

DURABLE = "commits are durable"
REPLICAS = "replicas have everything"
REQUESTS = "request ids are unique"
NUMBERS = "numbers have no gap"
QUOTAS = "credit quotas are kept"
BODIES = "bodies are as issued"
REDS = "reds do not exceed blues"
BOOKED = "booked invoices are red-lettered by form"
CACHE = "cached entries are right"
BATCHES = "batches hold every invoice once"
RUNS = "sellers' runs are those of the batches"
SEGMENTS = "segments match the database"
LOCKS = "segments are locked"
DELIVERIES = "deliveries are accounted for"
DOCUMENTS = "documents belong to invoices"
ENTRIES = "invoices are entered once"
IMPORTS = "imported invoices have their documents"
RECEIVED = "received invoices are complete"

BASE = 26 * 10**18 + 10**12  # the first number of the first seller
RED_BASE = 27 * 10**18  # red invoices have ranges of one number each
LINE_SUMS = pack_sums({0: Taken(10_000, 1_300)}).hex()
BALANCE = f"INSERT INTO red_balances (blue_number, red_total_minor, line_sums) VALUES (%s, -11300, X'{LINE_SUMS}')"
FIRST = f"{BASE:020d}"  # invoices 0 to 9: batches 1 and 2, segment 1; 10 to 14: batch 3, segment 2; 15 to 19: batch 4


def number(place: int) -> str:
    """Returns the number of the invoice at that place."""
    return f"{BASE + place:020d}"


def red(seller: TestSeller, blue: str, *, lines: int = 1, request_id: str = "red", serial: int = 1) -> Draft:
    """A draft of a red invoice as the issuing of reds will make it."""
    draft = seller.draft(request_id, lines=lines, serial=serial)
    invoice = Invoice.FromString(draft.prepared)
    for line in invoice.lines:
        line.amount_minor, line.tax_minor = -line.amount_minor, -line.tax_minor
    for name in ("net_total_minor", "tax_total_minor", "gross_total_minor"):
        setattr(invoice, name, -getattr(invoice, name))
    invoice.color, invoice.blue_number = INVOICE_COLOR_RED, blue
    return dataclasses.replace(
        draft,
        net_total_minor=invoice.net_total_minor,
        tax_total_minor=invoice.tax_total_minor,
        gross_total_minor=invoice.gross_total_minor,
        prepared=invoice.SerializeToString(deterministic=True),
    )


def red_number(place: int) -> str:
    """Returns the number of the red invoice that was issued so many red ones after the first."""
    return f"{RED_BASE + place * 10:020d}"


async def issue_red(stores: OwnStores, draft: Draft, blue: str) -> str:
    """Issues a red invoice the way the tables will hold it, in a range of its own, without the balance.

    The range is blue while it is issued and the only one; a new store knows no other.
    """
    made = (await stores.admin.rows("SELECT COUNT(*) FROM number_ranges WHERE color = 2"))[0][0]
    own = red_number(made)
    await stores.admin.rows("UPDATE number_ranges SET color = 3 WHERE color = 1")
    await stores.admin.rows(
        "INSERT INTO number_ranges (seller_key, kind, first_number, last_number, size, created_at_us)"
        " VALUES (%s, %s, %s, %s, 1, 1)",
        (draft.seller_key, draft.kind, own, own),
    )
    async with AsyncExitStack() as opened:
        node = Node(stores.settings.mysql, stores.settings.mysql.primary)
        opened.callback(node.drop)
        store = MySQLIssuingStore(primary=lambda: Primary(node), now_us=lambda: time.time_ns() // 1_000, away_wait_ms=0)
        (issued,) = await store.commit([draft])
    assert isinstance(issued, Issued)
    await stores.admin.rows("UPDATE number_ranges SET color = 2 WHERE color = 1")
    await stores.admin.rows("UPDATE number_ranges SET color = 1 WHERE color = 3")
    sql = "UPDATE invoices SET color = 2, blue_number = %s WHERE number = %s"
    await stores.admin.rows(sql, (blue, issued.number))
    return issued.number


@asynccontextmanager
async def sound_stores(stack: Stack, folder: Path) -> AsyncIterator[OwnStores]:
    """Twenty invoices of three lines in four batches: two segments, one batch waiting; invoice 0 is partly red."""
    async with own_stores(stack, folder) as opened:
        seller = await opened.issuer.seller(ranges=(1_000,))
        for _ in range(2):
            await opened.issuer.issue(seller, 5)
        await archive(opened)
        await opened.issuer.issue(seller, 5)
        await archive(opened)
        await opened.issuer.issue(seller, 5)
        await issue_red(opened, red(seller, number(0)), number(0))
        await opened.admin.rows(BALANCE, (number(0),))
        yield opened

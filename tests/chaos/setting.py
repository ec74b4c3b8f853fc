"""The tenants, sellers, ranges and books that a run works with."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import billow
from billow.registry.v1 import registry_pb2
from billow.types.v1 import invoice_pb2
from stack import Stack
from tests.chaos.client import ONCE, PATIENT, PATIENT_TIMEOUTS, Client, Names
from tests.chaos.faults.proxies import edge_address
from tests.chaos.ledger import Ledger
from tests.support.invoices import tax_id
from tests.support.platform import SCOPES, Tenant, admin, new_tenant

TENANTS: Final = 4
ONCE_TENANTS: Final = 1  # of them, whose clients repeat nothing by themselves
SELLERS: Final = 2  # of each tenant
RANGES: Final = (400, 700, 10_000_000)  # the first ones end soon: sellers pass from range to range under load
RED_NUMBERS: Final = 1_000_000


@asynccontextmanager
async def open_clients(stack: Stack, *, seed: int, ledgers: Path) -> AsyncIterator[list[Client]]:
    """Registers everything through the edge, and opens one client with its ledger for each tenant.

    The clients call the edge through its proxy. `ledgers`: a folder that is there.
    """
    address = edge_address(stack)
    async with AsyncExitStack() as opened:
        clients = []
        for place in range(TENANTS):
            tenant = await opened.enter_async_context(new_tenant(stack, scopes=[*SCOPES, "book"]))
            name = f"tenant-{tenant.serial}"
            sellers = [await _seller(tenant, red=place * SELLERS + seller) for seller in range(SELLERS)]
            buyer = tax_id(time.time_ns() // 1_000 % 10**13)
            admin(stack, "tax-id", "confirm", buyer, "--tenant", name, "--claim")
            sdk = await opened.enter_async_context(
                billow.AsyncClient(address, api_key=tenant.secret, retry=PATIENT, timeouts=PATIENT_TIMEOUTS)
            )
            once = None
            if place < ONCE_TENANTS:
                once = await opened.enter_async_context(
                    billow.AsyncClient(address, api_key=tenant.secret, retry=ONCE, timeouts=PATIENT_TIMEOUTS)
                )
            ledger = opened.enter_context(Ledger(ledgers / f"client-{place + 1}.jsonl"))
            names = Names(name, sellers, buyer)
            choose = random.Random(f"{seed} client {place}")
            clients.append(Client(seed=seed, names=names, sdk=sdk, ledger=ledger, choose=choose, once=once))
        yield clients


async def _seller(tenant: Tenant, *, red: int) -> str:
    """Registers a seller with ranges for blue and red invoices."""
    seller = await tenant.seller(ranges=RANGES)
    first = (46 * 10**9 + (tenant.serial * 100 + red) % (50 * 10**9)) * 10**9  # 20 digits, whatever the serial is
    request = registry_pb2.AddNumberRangeRequest(
        seller_id=seller,
        kind=invoice_pb2.INVOICE_KIND_GENERAL,
        color=invoice_pb2.INVOICE_COLOR_RED,
        first_number=f"{first:020d}",
        last_number=f"{first + RED_NUMBERS - 1:020d}",
    )
    await tenant.registry.AddNumberRange(request, metadata=tenant.metadata)
    return seller

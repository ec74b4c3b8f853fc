"""Every RPC costs the round trips that its docstring says: counted for a warm server and one item."""

from __future__ import annotations

import asyncio
import base64
import inspect
import itertools
import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from google.protobuf.descriptor import MethodDescriptor

from core.documents.renderers import make_renderers
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
from stack import DATA_STORES, Stack, StackOptions
from tests.support.documents import FONT, foreign_invoice
from tests.support.every_rpc import AFTERWARDS_S, METHODS, REQUESTS, World, open_world, serving_here
from tests.support.round_trips import CACHE, OBJECTS, PRIMARY, REPLICA, Counted

HANDLERS = (
    issuance.IssuanceHandlers,
    verification.VerificationHandlers,
    registry.RegistryHandlers,
    entries.EntryHandlers,
    entries.TaxIdHandlers,
    collection.CollectionHandlers,
    red_letter.RedLetterHandlers,
    delivery.DeliveryHandlers,
    documents.DocumentHandlers,
    inspection.InspectionHandlers,
    imports.ImportHandlers,
)
RENDERERS = make_renderers(font=FONT)
STORES = (PRIMARY, REPLICA, CACHE, OBJECTS)
_worlds = itertools.count()
BUDGET = re.compile(r"Round trips: ((?:\d+ \w+(?:, )?)+)")


@pytest.fixture(scope="module")
def own_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Stores of its own: documents are kept in them, which tests of damage would take for orphans."""
    with Stack(run_dir=tmp_path_factory.mktemp("counted"), options=StackOptions(parts=DATA_STORES)) as stack:
        yield stack


@pytest.fixture
async def world(own_stores: Stack, counted: Counted) -> AsyncIterator[World]:
    async with serving_here(own_stores) as channel:
        world = next(_worlds)
        yield await open_world(own_stores, channel, f"payers-{world}", 41 + 100_000 * world)


@pytest.fixture
def counted(own_stores: Stack, monkeypatch: pytest.MonkeyPatch) -> Counted:
    made = Counted(own_stores)
    made.install(monkeypatch)
    return made


def budget_of(method: MethodDescriptor) -> Counter[str]:
    """What the method's docstring says."""
    (handler,) = (handler for handler in HANDLERS if hasattr(handler, method.name))
    text = " ".join((inspect.getdoc(getattr(handler, method.name)) or "").split())
    found = BUDGET.search(text)
    assert found is not None, f"{method.name} does not say its round trips: {text!r}"
    budget: Counter[str] = Counter()
    for part in found[1].rstrip(", ").split(", "):
        count, store = part.split(" ")
        assert store in STORES, f"{method.name}: there is no {store}"
        budget[store] += int(count)
    return +budget


def test_every_rpc_is_counted() -> None:
    assert sorted(REQUESTS) == sorted(METHODS)


async def settled(stack: Stack) -> None:
    """Waits until the replica has everything: what it lacks costs a look at the primary."""
    await asyncio.sleep(AFTERWARDS_S)
    while (status := await asyncio.to_thread(stack.replication)).primary_gtid != status.replica_gtid:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(AFTERWARDS_S)


async def test_an_rpc_costs_what_its_docstring_says(own_stores: Stack, world: World, counted: Counted) -> None:
    wrong: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
    for name, request_for in REQUESTS.items():
        await world.call(name, await request_for(world))  # opens what has to be opened once
        request = await request_for(world)
        await settled(own_stores)
        counted.trips.clear()
        await world.call(name, request)
        await asyncio.sleep(AFTERWARDS_S)
        follows = METHODS[name].server_streaming and not METHODS[name].client_streaming
        looks = math.gcd(*counted.trips.values()) if follows else 1  # the budget is that of one
        spent = {store: trips // looks for store, trips in counted.trips.items()}
        budget = dict(budget_of(METHODS[name]))
        if spent != budget:
            wrong[name] = (spent, budget)
    assert not wrong, "counted, and said"


async def test_entering_an_import_costs_what_entering_costs(own_stores: Stack, world: World, counted: Counted) -> None:
    for place in range(2):  # the first opens what has to be opened once
        number = f"97{place:018d}"
        content = RENDERERS["xml"].render(foreign_invoice(number, world.buyer))
        await world.call("ImportInvoice", {"content": base64.b64encode(content).decode()})
        entry = {"number": number, "requestId": world.name(), "state": "ENTRY_STATE_DEDUCTIBLE", "period": 202611}
        await settled(own_stores)
        counted.trips.clear()
        await world.call("EnterInvoices", {"entries": [entry]})
        assert +counted.trips == budget_of(METHODS["EnterInvoices"])
        withdrawal = {"number": number, "requestId": world.name()}
        counted.trips.clear()
        await world.call("WithdrawEntries", {"withdrawals": [withdrawal]})
        assert +counted.trips == budget_of(METHODS["WithdrawEntries"])
        counted.trips.clear()
        await world.call("GetEntry", {"number": number})
        assert +counted.trips == budget_of(METHODS["GetEntry"])

"""Subscriptions: bounded, resumed by position, ended when the server drains; patient while the database is away."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from core.domain.errors import BillowError, Reason
from core.limits import RECEIVED_MESSAGE_ITEMS_MAX
from core.storage.collection_port import Received
from core.storage.memory.entries import MemoryTaxIdStore
from server.services.auth import Caller
from server.services.collection import CollectionService
from tests.support.invoices import tax_id

BUYER = tax_id(1)
CALLER = Caller(tenant_key=1, tenant_id="t", scopes=frozenset({"read"}), key_id="k")


class Sequence:
    """Positions 1 to `last`; may be away."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.away = 0

    async def received(self, buyer_tax_id: str, *, after: int, items_max: int) -> list[Received]:
        assert buyer_tax_id == BUYER
        if self.away:
            self.away -= 1
            raise BillowError(Reason.STORAGE_UNAVAILABLE, "away")
        positions = range(after + 1, min(self.last, after + items_max) + 1)
        return [Received(position, "", 2, 1, 1, "", "", 1, 1, 2, "", 0, 1, 0) for position in positions]


async def service(store: Sequence, draining: asyncio.Event, *, subscriptions_max: int = 2) -> CollectionService:
    tax_ids = MemoryTaxIdStore()
    await tax_ids.claim(CALLER.tenant_key, BUYER, now_us=1)
    await tax_ids.confirm(CALLER.tenant_key, BUYER, now_us=2)
    return CollectionService(
        store=store,
        tax_ids=tax_ids,
        draining=draining,
        wait_max_ms=0,
        look_ms=1,
        subscriptions_max=subscriptions_max,
    )


async def test_a_backlog_comes_in_full_messages_then_what_is_new_until_the_server_drains() -> None:
    store, draining = Sequence(RECEIVED_MESSAGE_ITEMS_MAX + 2), asyncio.Event()
    subject = await service(store, draining)
    async with aclosing(subject.subscribe(CALLER, buyer_tax_id=BUYER, after=0)) as messages:
        assert len(await anext(messages)) == RECEIVED_MESSAGE_ITEMS_MAX
        assert len(await anext(messages)) == 2
        store.last, store.away = store.last + 1, 2
        assert [item.position for item in await anext(messages)] == [RECEIVED_MESSAGE_ITEMS_MAX + 3]
        draining.set()
        with pytest.raises(BillowError) as raised:
            await anext(messages)
    assert raised.value.reason is Reason.SHUTTING_DOWN


async def test_subscriptions_are_bounded_and_make_room_when_they_end() -> None:
    subject = await service(Sequence(1), asyncio.Event(), subscriptions_max=1)
    for _ in range(2):
        async with aclosing(subject.subscribe(CALLER, buyer_tax_id=BUYER, after=0)) as messages:
            await anext(messages)
            with pytest.raises(BillowError) as raised:
                await anext(subject.subscribe(CALLER, buyer_tax_id=BUYER, after=0))
            assert raised.value.reason is Reason.OVERLOADED


async def test_a_proof_that_is_taken_away_ends_the_subscription() -> None:
    store = Sequence(1)
    subject = await service(store, asyncio.Event())
    async with aclosing(subject.subscribe(CALLER, buyer_tax_id=BUYER, after=0)) as messages:
        await anext(messages)
        await subject._tax_ids.revoke(CALLER.tenant_key, BUYER)
        store.last = 2
        with pytest.raises(BillowError) as raised:
            await anext(messages)
    assert raised.value.reason is Reason.TAX_ID_NOT_PROVEN


async def test_a_page_raises_while_the_database_is_away_and_for_impossible_positions() -> None:
    store = Sequence(1)
    subject = await service(store, asyncio.Event())
    store.away = 1
    for after, reason in ((0, Reason.STORAGE_UNAVAILABLE), (-1, Reason.INVALID_REQUEST)):
        with pytest.raises(BillowError) as raised:
            await subject.list_received(CALLER, buyer_tax_id=BUYER, after=after, page_size=0)
        assert raised.value.reason is reason

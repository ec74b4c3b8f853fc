"""Delivery by the worker's jobs: real database, real receivers, none of them in another's way, all accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from standardwebhooks.webhooks import Webhook

from core.domain.destinations import Guard
from core.domain.webhooks import secret_text
from core.limits import ENDPOINT_SENDS_MAX
from core.storage.delivery_port import (
    Delivery,
    DeliveryFilter,
    DeliveryState,
    Due,
    Endpoint,
    EndpointKind,
    EndpointState,
)
from core.storage.mysql.delivery_queue import MySQLDeliveryQueue
from core.storage.mysql.endpoints import MySQLEndpointStore
from stack import Stack
from tests.contract.delivery_subjects import endpoint_of, now_us
from tests.support.databases import OwnStores, own_stores
from tests.support.issuing import TestSeller
from tests.support.receivers import Receiver, fails_first, hangs, is_gone, receiver, redirects, takes
from workers.attempts import Policy
from workers.deliver import FanOutJob, GiveUpJob, Notebook, NoteJob, SendJob
from workers.loop import Job, Loop
from workers.metrics import DeliveryMetrics
from workers.webhook_sender import WebhookSender

LOCAL = Guard([ipaddress.ip_network("127.0.0.0/8")])
TIMEOUT_MS = 2_000
NO_ANSWER = 0  # the code of an attempt that got none
DONE_S = 60.0
PENDING, DELIVERED, FAILED = DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.FAILED


@pytest.fixture
async def stores(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with own_stores(data_stores, tmp_path) as opened:
        yield opened


class Delivering:
    """A store, and workers that deliver from it."""

    def __init__(self, stores: OwnStores) -> None:
        self.stores = stores
        self.store = MySQLEndpointStore(primary=lambda: stores.primary)
        self.queue = MySQLDeliveryQueue(primary=lambda: stores.primary)

    async def webhook(self, seller: TestSeller, target: str) -> Endpoint:
        """A webhook that gets everything."""
        return await self.store.create_endpoint(endpoint_of(seller, target=target))

    async def of(self, seller: TestSeller, endpoint: Endpoint) -> list[Delivery]:
        """The deliveries of an endpoint."""
        wanted = DeliveryFilter(seller_key=seller.seller_key, endpoint_id=endpoint.endpoint_id, items_max=1_000)
        return await self.store.deliveries(wanted)

    async def states(self, seller: TestSeller, endpoint: Endpoint) -> Counter[DeliveryState]:
        """How many deliveries of an endpoint are in which state."""
        return Counter(item.state for item in await self.of(seller, endpoint))

    @asynccontextmanager
    async def workers(
        self, *, guard: Guard = LOCAL, schedule_ms: Sequence[int] = (20, 20), give_up_ms: int = 3_600_000
    ) -> AsyncIterator[None]:
        """Runs two workers' jobs beside the test."""
        stop = asyncio.Event()
        loop = Loop(stop_grace_ms=1_000, chance=random.random, failed=lambda _: None)
        policy = Policy(schedule_ms=schedule_ms, circuit_first_ms=1, circuit_max_ms=20, below=random.randrange)
        async with AsyncExitStack() as opened, asyncio.TaskGroup() as group:
            opened.callback(stop.set)
            for place in range(2):
                sender = WebhookSender(guard=guard, allow_http=True, timeout_ms=TIMEOUT_MS, now_us=now_us)
                opened.push_async_callback(sender.close)
                notebook = Notebook(queue=self.queue, owner=f"w-{place}")
                sending = SendJob(
                    queue=self.queue,
                    notebook=notebook,
                    senders={EndpointKind.WEBHOOK: sender},
                    policy=policy,
                    metrics=DeliveryMetrics(CollectorRegistry()),
                    owner=f"w-{place}",
                    timeout_ms=TIMEOUT_MS,
                    idle_wait_ms=10,
                    now_us=now_us,
                )
                opened.push_async_callback(sending.close)
                jobs: list[Job] = [sending, NoteJob(notebook), FanOutJob(queue=self.queue, idle_wait_ms=10)]
                for job in (*jobs, GiveUpJob(queue=self.queue, due_for_ms=give_up_ms)):
                    group.create_task(loop.run(job, stop))
            try:
                yield
            finally:
                stop.set()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits until something is so; fails the test when that takes too long."""
    give_up_at = time.monotonic() + DONE_S
    while not await condition():
        assert time.monotonic() < give_up_at, "it did not come about"
        await asyncio.sleep(0.05)


async def test_three_hundred_webhooks_to_five_kinds_of_receivers_are_all_accounted_for(stores: OwnStores) -> None:
    work = Delivering(stores)
    seller = await stores.issuer.seller()
    async with AsyncExitStack() as opened:
        good, hanging, flaky, gone, elsewhere = [
            await opened.enter_async_context(receiver(behaviour))
            for behaviour in (takes, hangs, fails_first(20), is_gone, takes)
        ]
        moved = await opened.enter_async_context(receiver(redirects(elsewhere.url)))
        to_good, to_hanging, to_flaky, to_gone, to_moved = [
            await work.webhook(seller, one.url) for one in (good, hanging, flaky, gone, moved)
        ]
        for _ in range(3):
            await stores.issuer.issue(seller, 20)
        async with work.workers():
            for endpoint in (to_good, to_flaky):
                await until(lambda to=endpoint: _all(work, seller, to, DELIVERED))  # type: ignore[misc] # a default
            assert (await work.states(seller, to_hanging))[DELIVERED] == 0  # its backlog delayed nobody
            await until(lambda: _all(work, seller, to_moved, FAILED))
            hanging.behaviour = takes
            await until(lambda: _none(work, seller, to_hanging, PENDING))
            for item in await work.of(seller, to_hanging):
                if item.state is FAILED:
                    await work.store.redeliver(item.delivery_id, now_us=now_us())
            await until(lambda: _all(work, seller, to_hanging, DELIVERED))
        await _look_at_good(work, seller, to_good, good)
        assert elsewhere.received == []
        for item in await work.of(seller, to_moved):
            codes = [one.code for one in await work.store.attempts(item.delivery_id)]
            assert len(codes) == 3
            assert set(codes) - {NO_ANSWER} == {302}  # a busy machine may let an attempt time out
        stored = await work.store.endpoint(to_gone.endpoint_id)
        assert stored is not None
        assert stored.state is EndpointState.DISABLED
        assert await work.states(seller, to_gone) == {PENDING: 60}
        assert len(gone.received) < 60  # what was under way or claimed when it said so, and not the rest
        assert set(hanging.ids) == {f"dlv_{item.delivery_id}" for item in await work.of(seller, to_hanging)}
        assert hanging.at_once_max <= 2 * ENDPOINT_SENDS_MAX
        for endpoint in (to_good, to_flaky, to_hanging, to_moved, to_gone):
            for item in await work.of(seller, endpoint):
                assert item.attempts == len(await work.store.attempts(item.delivery_id))


async def _all(work: Delivering, seller: TestSeller, endpoint: Endpoint, state: DeliveryState) -> bool:
    return await work.states(seller, endpoint) == {state: 60}


async def _none(work: Delivering, seller: TestSeller, endpoint: Endpoint, state: DeliveryState) -> bool:
    return not (await work.states(seller, endpoint))[state]


async def _look_at_good(work: Delivering, seller: TestSeller, endpoint: Endpoint, good: Receiver) -> None:
    """The well-behaved receiver got every invoice at least once, with a signature that an outsider verifies."""
    deliveries = {f"dlv_{item.delivery_id}": item.number for item in await work.of(seller, endpoint)}
    assert set(good.ids) == set(deliveries)
    for item in good.received:
        told = Webhook(secret_text(endpoint.secret)).verify(item.body, item.headers)
        assert told["type"] == "invoice.issued"
        assert told["data"]["number"] == deliveries[item.headers["webhook-id"]]
        assert told["data"]["gross_total_minor"] == 33_900


async def test_what_a_killed_worker_had_under_way_is_sent_again_with_the_same_id(stores: OwnStores) -> None:
    work = Delivering(stores)
    seller = await stores.issuer.seller()
    async with receiver(takes) as good:
        endpoint = await work.webhook(seller, good.url)
        await stores.issuer.issue(seller, 1)
        await work.queue.fan_out(batches_max=10)
        (due,) = await work.queue.claim(endpoint.endpoint_key, owner="dead", items_max=1, lease_ms=500)
        sender = WebhookSender(guard=LOCAL, allow_http=True, timeout_ms=TIMEOUT_MS, now_us=now_us)
        async with contextlib.aclosing(_Closing(sender)):
            assert (await sender.send(due)).delivered  # and it dies before it can note that
        async with work.workers():
            await until(lambda: _delivered(work, due))
        assert good.ids == [f"dlv_{due.delivery_id}"] * 2
        assert good.received[0].body == good.received[1].body


class _Closing:
    """Lets aclosing close a sender."""

    def __init__(self, sender: WebhookSender) -> None:
        self._sender = sender

    async def aclose(self) -> None:
        await self._sender.close()


async def _delivered(work: Delivering, due: Due) -> bool:
    found = await work.store.delivery(due.delivery_id)
    return found is not None and found.state is DELIVERED


async def test_names_and_addresses_inside_are_not_called_unless_allowed(stores: OwnStores) -> None:
    work = Delivering(stores)
    seller = await stores.issuer.seller()
    async with receiver(takes) as inside:
        named = f"http://localhost:{inside.port}/hook"
        by_name = await work.webhook(seller, named)
        by_address = await work.webhook(seller, inside.url)
        await stores.issuer.issue(seller, 1)
        async with work.workers(guard=Guard(), schedule_ms=()):
            for endpoint in (by_name, by_address):
                await until(lambda to=endpoint: _one_failed(work, seller, to))  # type: ignore[misc] # a default
        assert inside.received == []
        (item,) = await work.of(seller, by_name)
        (attempt,) = await work.store.attempts(item.delivery_id)
        assert attempt.detail == "localhost leads to no address that may be called"
        await work.store.redeliver(item.delivery_id, now_us=now_us())
        async with work.workers():
            await until(lambda: _all_one(work, seller, by_name))
        assert [one.headers["host"] for one in inside.received] == [f"localhost:{inside.port}"]


async def _one_failed(work: Delivering, seller: TestSeller, endpoint: Endpoint) -> bool:
    return await work.states(seller, endpoint) == {FAILED: 1}


async def _all_one(work: Delivering, seller: TestSeller, endpoint: Endpoint) -> bool:
    return await work.states(seller, endpoint) == {DELIVERED: 1}

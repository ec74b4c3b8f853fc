"""SendJob over the twin: nobody's backlog is in another's way, and what was leased ahead is given back."""

from __future__ import annotations

import asyncio
from collections import Counter

from prometheus_client import CollectorRegistry

from core import limits
from core.storage.delivery_port import DeliveryState, Due, Endpoint, EndpointKind
from tests.contract.delivery_subjects import MemoryDeliverySubject, endpoint_of, now_us
from workers.attempts import Answer, Policy
from workers.deliver import Notebook, SendJob
from workers.metrics import DeliveryMetrics

DONE = Answer(delivered=True, code=200, detail="")
FAILED = Answer(delivered=False, code=500, detail="")


class Sender:
    """Hangs for some endpoints until let go, and answers for the others."""

    def __init__(self) -> None:
        self.hanging: set[int] = set()
        self.answer = DONE
        self.go = asyncio.Event()
        self.under_way: Counter[int] = Counter()
        self.most: Counter[int] = Counter()
        self.sent: Counter[int] = Counter()

    async def send(self, due: Due) -> Answer:
        key = due.endpoint.endpoint_key
        self.under_way[key] += 1
        self.most[key] = max(self.most[key], self.under_way[key])
        if key in self.hanging:
            await self.go.wait()
        else:
            await asyncio.sleep(0)
        self.under_way[key] -= 1
        self.sent[key] += 1
        return self.answer


class Bench:
    def __init__(self) -> None:
        self.subject = MemoryDeliverySubject()
        self.sender = Sender()
        self.notebook = Notebook(queue=self.subject.queue, owner="w")
        self.job = SendJob(
            queue=self.subject.queue,
            notebook=self.notebook,
            senders=dict.fromkeys(EndpointKind, self.sender),
            policy=Policy(schedule_ms=[3_600_000], below=lambda n: 0),
            metrics=DeliveryMetrics(CollectorRegistry()),
            owner="w",
            timeout_ms=1_000,
            idle_wait_ms=1,
            now_us=now_us,
        )

    async def endpoint(self, invoices: int, kind: EndpointKind = EndpointKind.WEBHOOK) -> Endpoint:
        """An endpoint of a seller of its own, to which so many invoices are to be delivered."""
        seller = await self.subject.seller()
        made = await self.subject.store.create_endpoint(endpoint_of(seller, kind=kind))
        await self.subject.issue(seller, invoices)
        await self.subject.queue.fan_out(batches_max=10)
        return made

    async def turn(self, steps: int = 20) -> None:
        """Lets the job and what it started go on."""
        for _ in range(steps):
            await self.job.step()
            for _ in range(10):
                await asyncio.sleep(0)
            await self.notebook.note()

    async def states(self) -> Counter[DeliveryState]:
        """All deliveries by state."""
        found = [await self.subject.store.delivery(key) for key in range(1, 2_000)]
        return Counter(item.state for item in found if item is not None)


async def test_endpoints_that_hang_hold_their_places_and_no_more() -> None:
    bench = Bench()
    hanging = [await bench.endpoint(30) for _ in range(5)]
    bench.sender.hanging = {item.endpoint_key for item in hanging}
    good = await bench.endpoint(300)
    await bench.turn()
    assert bench.sender.sent[good.endpoint_key] == 300
    for item in hanging:
        assert bench.sender.most[item.endpoint_key] == limits.ENDPOINT_SENDS_MAX
    bench.sender.go.set()
    await bench.turn()
    assert await bench.states() == {DeliveryState.DELIVERED: 450}
    await bench.job.close()


async def test_a_relay_that_hangs_leaves_places_to_webhooks() -> None:
    bench = Bench()
    mailboxes = [await bench.endpoint(10, EndpointKind.EMAIL) for _ in range(20)]
    bench.sender.hanging = {item.endpoint_key for item in mailboxes}
    await bench.turn()
    assert bench.sender.under_way.total() == limits.SHARED_SENDS_MAX
    good = await bench.endpoint(50)
    await bench.turn()
    assert bench.sender.sent[good.endpoint_key] == 50
    bench.sender.go.set()
    await bench.turn()
    assert await bench.states() == {DeliveryState.DELIVERED: 250}
    await bench.job.close()


async def test_a_failure_gives_back_what_was_leased_ahead() -> None:
    bench = Bench()
    bench.sender.answer = FAILED
    failing = await bench.endpoint(100)
    await bench.job.step()
    for _ in range(10):
        await asyncio.sleep(0)
    await bench.notebook.note()
    assert bench.sender.sent[failing.endpoint_key] == limits.ENDPOINT_SENDS_MAX
    await bench.job._give_back()
    await asyncio.sleep(0.01)
    rest = await bench.subject.queue.claim(failing.endpoint_key, owner="other", items_max=200, lease_ms=60_000)
    assert len(rest) == 100 - limits.ENDPOINT_SENDS_MAX
    await bench.job.close()


async def test_closing_notes_what_was_sent_and_gives_back_the_rest() -> None:
    bench = Bench()
    endpoint = await bench.endpoint(100)
    bench.sender.hanging = {endpoint.endpoint_key}
    await bench.job.step()
    await asyncio.sleep(0)
    bench.sender.go.set()
    await bench.job.close()
    states = await bench.states()
    assert states == {DeliveryState.DELIVERED: limits.ENDPOINT_SENDS_MAX, DeliveryState.PENDING: 100 - 8}
    await asyncio.sleep(0.01)
    rest = await bench.subject.queue.claim(endpoint.endpoint_key, owner="other", items_max=200, lease_ms=60_000)
    assert len(rest) == 92

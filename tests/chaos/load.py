"""The load: calls begin when the plan says so, however long those before take (open loop)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from tests.chaos.client import Client

RATES: Final = {  # calls a second, all clients together; bulk calls bring 50 invoices each: about 120 invoices/s
    "issue": 18.0,
    "bulk": 1.2,
    "stream": 0.6,
    "to buyer": 3.0,
    "duplicate": 1.5,
    "other body": 1.0,
    "repeat": 2.0,
    "cancel": 1.5,
    "hurried": 1.5,
    "red": 2.0,
    "enter": 1.5,
    "verify": 14.0,
    "verify many": 1.0,
    "wrong total": 2.0,
    "unknown": 3.0,
    "get": 4.0,
}
BULK_ITEMS: Final = 50
IN_FLIGHT_MAX: Final = 4_000  # calls: more than 30 s of the load; beyond, arrivals are held back and counted
CANCEL_MAX_S: Final = 0.03  # about as long as a commit takes: the cancel meets every await of a call
HURRIED_S: Final = (0.002, 0.06)


class Load:
    """All clients under one seeded plan of arrivals. `run` goes on until `stop` is called."""

    def __init__(self, *, clients: Sequence[Client], seed: int, factor: float = 1.0) -> None:
        self.held_back = 0
        self.errors: list[BaseException] = []  # of calls that ended with what no call may end with
        self._clients = clients
        self._draw = random.Random(f"{seed} load")
        self._rates = {name: rate * factor for name, rate in RATES.items()}
        self._calls: set[asyncio.Task[Any]] = set()
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """No call begins from now on."""
        self._stopped.set()

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return len(self._calls)

    async def run(self) -> None:
        """Begins calls until stopped, then waits until all have ended: at most their deadline."""
        loop = asyncio.get_running_loop()
        names, weights = list(self._rates), list(self._rates.values())
        due = loop.time()
        while not self._stopped.is_set():
            due += self._draw.expovariate(sum(weights))
            kind = self._draw.choices(names, weights)[0]
            client = self._draw.choice(self._clients)
            wait_s = due - loop.time()
            if wait_s > 0:
                try:
                    await asyncio.wait_for(self._stopped.wait(), wait_s)
                except TimeoutError:
                    pass
                else:
                    break
            if len(self._calls) >= IN_FLIGHT_MAX:
                self.held_back += 1
                continue
            self._begin(self._call(kind, client))
        if self._calls:
            await asyncio.wait(self._calls)

    def _begin(self, call: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.errors.append(error)

    async def _call(self, kind: str, client: Client) -> None:
        """Makes one call, or the two that belong together."""
        if kind in {"issue", "bulk", "stream", "to buyer"}:
            await self._issue(kind, client)
        elif kind in {"duplicate", "other body", "repeat", "cancel", "hurried"}:
            await self._again(kind, client)
        elif kind == "red":
            known = client.take_for_red()
            if known is not None:
                await client.redden(known)
                await client.verify([known])
        elif kind == "enter":
            numbers, client.received = client.received[:5], client.received[5:]
            if numbers:
                await client.enter(numbers)
        else:
            await self._ask(kind, client)

    async def _issue(self, kind: str, client: Client) -> None:
        """New orders."""
        seller = self._draw.choice(client.names.sellers)
        if kind == "issue":
            await client.issue(client.new_order(seller))
        elif kind == "to buyer":
            keeper = self._draw.choice(self._clients)
            number = await client.issue(client.new_order(seller, buyer=keeper.names.buyer), mode="to buyer", keep=False)
            if number:
                keeper.received.append(number)
        else:
            wanted = [client.new_order(self._draw.choice(client.names.sellers)) for _ in range(BULK_ITEMS)]
            await client.issue_many(wanted, streams=2 if kind == "stream" else 0)

    async def _again(self, kind: str, client: Client) -> None:
        """The same request id twice: at once, later, with another body, after a cancel, after a short deadline."""
        seller = self._draw.choice(client.names.sellers)
        order = client.new_order(seller)
        request_id = order.request.request_id
        if kind == "duplicate":
            await asyncio.gather(*(client.issue(order, mode=mode) for mode in ("first", "duplicate", "duplicate")))
        elif kind == "other body":
            other = client.order(seller, request_id, variant=1)
            if self._draw.random() < 0.5:
                await client.issue(order)
                await client.issue(other, mode="other body")
            else:
                await asyncio.gather(client.issue(order), client.issue(other, mode="other body"))
        elif kind == "repeat":
            await client.issue(order)
            await client.issue(order, mode="repeat")
        elif kind == "cancel":
            call = asyncio.create_task(client.issue(order, mode="cancel"))
            await asyncio.sleep(self._draw.uniform(0, CANCEL_MAX_S))
            call.cancel()
            await asyncio.wait([call])
            await client.issue(order, mode="repeat")
        else:
            await client.issue(order, mode="hurried", timeout_s=self._draw.uniform(*HURRIED_S))
            await client.issue(order, mode="repeat")

    async def _ask(self, kind: str, client: Client) -> None:
        """Questions about invoices that are known, or cannot be."""
        picked = client.pick(20 if kind == "verify many" else 1)
        if not picked:
            return
        if kind == "get":
            await client.get(picked[0])
        elif kind == "unknown":
            await client.verify(list(client.beyond()), mode="unknown")
        elif kind == "wrong total":
            await client.verify(picked, mode="wrong total", off=1)
        else:
            await client.verify(picked)

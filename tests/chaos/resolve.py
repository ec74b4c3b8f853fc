"""After all is mended: everything is asked for once more, and every invoice checked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar

from tests.chaos.client import Client, Known
from tests.chaos.ledger import REPLAY, Item, read
from tests.chaos.orders import Order

BATCH_ITEMS: Final = 500
AT_ONCE: Final = 2
T = TypeVar("T")


async def resolve(clients: Sequence[Client], *, tell: Callable[[str], None]) -> None:
    """Repeats every request of the ledgers: those that failed get an answer, the others the one they had (P2)."""
    for client in clients:
        await _check(client, tell)  # before anything is repeated: a repeated red invoice puts the cache right
    for client in clients:
        await _repeat(client, tell)
    for client in clients:
        await _check(client, tell)


async def _check(client: Client, tell: Callable[[str], None]) -> None:
    """Checks all that one client knows."""
    known = list({one.number: one for one in client.known}.values())
    tell(f"checking {len(known):,} invoices of {client.names.tenant}")
    await _some(partial(client.verify, mode=REPLAY), _parts(known))


async def _repeat(client: Client, tell: Callable[[str], None]) -> None:
    """Repeats what one client has asked for."""
    items = await asyncio.to_thread(read, client.ledger.path)
    orders = _orders(client, items)
    tell(f"repeating {len(orders):,} requests of {client.names.tenant}")
    await _some(partial(client.issue_many, mode=REPLAY), _parts(orders))
    reds = {item.intent.number: item for item in items if item.intent.op == "red"}
    taken = [
        Known(number, item.intent.seller.partition("/")[2], 0, -item.intent.gross) for number, item in reds.items()
    ]
    await _some(partial(client.redden, mode=REPLAY), taken)
    entered = list(dict.fromkeys(item.intent.number for item in items if item.intent.op == "enter"))
    await _some(partial(client.enter, mode=REPLAY), _parts(entered))


def _parts(whole: Sequence[T]) -> list[Sequence[T]]:
    """Cuts into batches."""
    return [whole[start : start + BATCH_ITEMS] for start in range(0, len(whole), BATCH_ITEMS)]


def _orders(client: Client, items: Iterable[Item]) -> list[Order]:
    """One order a request: the acknowledged one where two bodies were asked for under one id, else the first."""
    chosen: dict[str, Item] = {}
    for item in items:
        if item.intent.op == "issue" and (item.intent.request not in chosen or item.acknowledged):
            before = chosen.get(item.intent.request)
            if before is None or not before.acknowledged:
                chosen[item.intent.request] = item
    return [
        client.order(
            item.intent.seller.partition("/")[2], request, buyer=item.intent.buyer, variant=item.intent.variant
        )
        for request, item in chosen.items()
    ]


async def _some(call: Callable[[T], Awaitable[None]], work: Iterable[T]) -> None:
    """Makes calls, a few at once."""
    waiting = iter(work)

    async def take() -> None:
        for one in waiting:
            await call(one)

    await asyncio.gather(*(take() for _ in range(AT_ONCE)))

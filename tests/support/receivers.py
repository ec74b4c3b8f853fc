"""Receivers of webhooks: real HTTP servers that behave well, badly, or first so and then so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

Behaviour = Callable[["Receiver"], Awaitable[web.Response]]


@dataclass(slots=True)
class Received:
    """One request."""

    body: bytes
    headers: dict[str, str]


@dataclass(slots=True)
class Receiver:
    """A running server. `behaviour` may be changed at any time."""

    behaviour: Behaviour
    port: int = 0
    received: list[Received] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    at_once_max: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        """The webhook-id of every request."""
        return [item.headers["webhook-id"] for item in self.received]

    async def nth(self, place: int) -> Received:
        """Waits for the `place`-th request, from 1; at most half a minute."""
        async with asyncio.timeout(30):
            while len(self.received) < place:
                self.news.clear()
                await self.news.wait()
        return self.received[place - 1]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Notes a request and behaves."""
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.received.append(Received(await request.read(), headers))
            self.news.set()
            return await self.behaviour(self)
        finally:
            self.at_once -= 1


async def takes(_: Receiver) -> web.Response:
    """Takes everything."""
    return web.Response(status=204)


async def hangs(_: Receiver) -> web.Response:
    """Does not answer."""
    await asyncio.sleep(3_600)
    return web.Response()


async def is_gone(_: Receiver) -> web.Response:
    """Wants no more."""
    return web.Response(status=410)


def redirects(target: str) -> Behaviour:
    """Sends callers elsewhere."""

    async def behave(_: Receiver) -> web.Response:
        return web.Response(status=302, headers={"location": target})

    return behave


def fails_first(times: int) -> Behaviour:
    """Fails so many requests and takes the rest."""

    async def behave(receiver: Receiver) -> web.Response:
        return web.Response(status=500 if len(receiver.received) <= times else 200)

    return behave


@asynccontextmanager
async def receiver(behaviour: Behaviour) -> AsyncIterator[Receiver]:
    """Serves on a free port of the loopback."""
    made = Receiver(behaviour)
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", made.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        made.port = runner.addresses[0][1]
        yield made
    finally:
        await runner.cleanup()

"""A TCP proxy that breaks what it carries: a rule sees every connection and every chunk, and may hold, change or cut.

All proxies of a run share one event loop in a thread of its own, so that they work while faults block.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Self, TypeVar

CHUNK_BYTES: Final = 64 * 1024
CALL_S: Final = 10.0  # for the proxies' thread to do what it is told
T = TypeVar("T")


class Rule:
    """What happens while a fault lasts; this one lets everything pass. `over` is set when it ends.

    Its methods run in the loop of the proxies.
    """

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def begun(self, links: list[Link]) -> None:
        """Called once, with the connections that are there."""

    async def ended(self) -> None:
        """Called when it is over."""

    async def accept(self, link: Link) -> None:
        """A new connection, before the other side hears of it."""

    async def up(self, link: Link, data: bytes) -> bytes:
        """Bytes from the caller; returns those to pass on."""
        return data

    async def down(self, link: Link, data: bytes) -> bytes:
        """Bytes to the caller; returns those to pass on."""
        return data


class Link:
    """One connection through a proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer  # to the caller
        self.upstream: asyncio.StreamWriter | None = None
        self.ended: set[asyncio.StreamWriter] = set()

    @property
    def caller_port(self) -> int:
        """The port from which the caller called."""
        return int(self.writer.get_extra_info("peername")[1])

    def end(self, *, up: bool) -> None:
        """Tells one side that the other has said its last; what that still says is dropped."""
        writer = self.upstream if up else self.writer
        if writer is not None and writer not in self.ended:
            self.ended.add(writer)
            writer.write_eof()

    def abort(self) -> None:
        """Resets both sides: the bytes under way are lost."""
        for writer in (self.writer, self.upstream):
            if writer is not None:
                opened = writer.get_extra_info("socket")
                if opened is not None:
                    with contextlib.suppress(OSError):
                        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()


class Proxy:
    """Listens on a free port of the loopback and passes everything on to `target` by the present rule."""

    def __init__(self, *, target: int, loop: Loop) -> None:
        """`target`: the port, which may change while it runs: connections made afterwards go there."""
        self.target = target
        self.port = 0
        self._loop = loop
        self._plain = Rule()
        self._rule = self._plain
        self._links: dict[Link, asyncio.Task[Any]] = {}
        self._server: asyncio.Server | None = None

    def open(self) -> None:
        """Begins to listen. Blocks."""
        self._loop.call(self._open())

    def close(self) -> None:
        """Ends all connections. Blocks."""
        self._loop.call(self._close())

    def begin(self, make: Callable[[], Rule]) -> Rule:
        """Lets a rule decide from now on, and returns it. Blocks."""

        async def work() -> Rule:
            self._rule = make()
            await self._rule.begun(list(self._links))
            return self._rule

        return self._loop.call(work())

    def heal(self, *, cut: bool = False) -> None:
        """Ends the rule: what it held passes. `cut`: the connections end, and what was held is lost. Blocks."""

        async def work() -> None:
            rule, self._rule = self._rule, self._plain
            if cut:
                for link in list(self._links):
                    link.abort()
            await rule.ended()
            rule.over.set()

        self._loop.call(work())

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._rule.over.set()
        for link in list(self._links):
            link.abort()
        await asyncio.gather(*self._links.values(), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        try:
            await self._rule.accept(link)
            if writer.transport.is_closing():
                return
            there, link.upstream = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK_BYTES)
            await asyncio.gather(self._pump(link, up=True, reader=reader), self._pump(link, up=False, reader=there))
        except (OSError, asyncio.IncompleteReadError):
            pass  # one side is gone: so is the other
        finally:
            self._links.pop(link)
            link.abort()

    async def _pump(self, link: Link, *, up: bool, reader: asyncio.StreamReader) -> None:
        """Passes one direction on until its end, which is passed on as well."""
        writer = link.upstream if up else link.writer
        assert writer is not None
        while data := await reader.read(CHUNK_BYTES):
            rule = self._rule
            data = await (rule.up(link, data) if up else rule.down(link, data))
            if writer.transport.is_closing():
                raise ConnectionResetError
            if data and writer not in link.ended:
                writer.write(data)
                await writer.drain()
        link.end(up=up)


class Loop:
    """The thread in which proxies run; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Does something in the loop and waits for it. Blocks; call it from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S)

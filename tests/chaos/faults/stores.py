"""The object store away, slow, busy, and cut off in the middle of what it stores (P6)."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterable
from typing import ClassVar, Final

from tests.chaos.faults import proxies
from tests.chaos.faults.fault import Fault, Site
from tests.chaos.proxy import CHUNK_BYTES, Link, Rule

SLOW_S: Final = (0.5, 3.0)  # each chunk of an answer
DRAIN_S: Final = 2.0
FLUSH_S: Final = 0.05
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_WORDS: Final = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_WORDS), _WORDS)
)


class Slow(Rule):
    """Every chunk of an answer takes its time."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self._draw = draw

    async def down(self, link: Link, data: bytes) -> bytes:
        """Waits until its time has come, or until all is well."""
        try:
            async with asyncio.timeout(self._draw.uniform(*SLOW_S)):
                await self.over.wait()
        except TimeoutError:
            pass
        return data


class Busy(Rule):
    """Every request is answered with 503, whatever it is."""

    async def begun(self, links: list[Link]) -> None:
        """Ends the connections that are there: their next requests come on new ones."""
        for link in links:
            link.abort()

    async def accept(self, link: Link) -> None:
        """Answers in the store's place; what is still being sent is read and thrown away, or the answer is lost."""
        await link.reader.readuntil(b"\r\n\r\n")
        link.writer.write(BUSY)
        await link.writer.drain()
        link.end(up=False)
        async with asyncio.timeout(DRAIN_S):
            while await link.reader.read(CHUNK_BYTES):
                pass
        link.abort()


class Half(Rule):
    """Of every object that is uploaded the first half arrives, then the connection is cut."""

    def __init__(self) -> None:
        super().__init__()
        self._left: dict[Link, int] = {}

    async def up(self, link: Link, data: bytes) -> bytes:
        """Counts the bytes of bodies."""
        if data.startswith(b"PUT "):
            head, _, body = data.partition(b"\r\n\r\n")
            found = LENGTH.search(head + b"\r\n")
            self._left[link] = len(data) - len(body) + (int(found[1]) // 2 if found else 0)
        if link not in self._left:
            return data
        self._left[link] -= len(data)
        if self._left[link] > 0 or link.upstream is None:
            return data
        link.upstream.write(data[: len(data) + self._left.pop(link)])
        await link.upstream.drain()
        await asyncio.sleep(FLUSH_S)  # a reset would overtake it
        raise ConnectionResetError


class StoreDown(Fault):
    """Stopped, and started again later: issuing goes on, the archive waits."""

    name = "object store down"
    breaks = "nothing can be archived, archived bodies cannot be read"
    heals = "it is started again; the archive catches up by itself"
    promises: ClassVar[tuple[str, ...]] = ("P6",)
    parts = frozenset({"s3"})
    hold_s = (3.0, 15.0)
    quick_hold_s = (1.0, 2.0)
    target_s = 0.0

    def begin(self, site: Site) -> None:
        site.stack.stop("s3")

    def end(self, site: Site) -> None:
        site.stack.start("s3")


class StoreTrouble(Fault):
    """There, but of no use."""

    heals = "it works as before; the archive catches up by itself"
    promises: ClassVar[tuple[str, ...]] = ("P6",)
    parts = frozenset({"s3"})
    hold_s = (3.0, 15.0)
    quick_hold_s = (1.0, 1.5)  # workers upload every second or two
    target_s = 0.0

    def __init__(self, name: str, breaks: str, make: Callable[[random.Random], Rule]) -> None:
        self.name = f"object store {name}"
        self.breaks = breaks
        self._make = make

    def begin(self, site: Site) -> None:
        proxies.of(site).s3.begin(lambda: self._make(site.random))

    def end(self, site: Site) -> None:
        proxies.of(site).s3.heal()


def faults() -> Iterable[Fault]:
    """One of each."""
    return (
        StoreDown(),
        StoreTrouble("slow", "answers take seconds", Slow),
        StoreTrouble("answering 503", "every request is refused", lambda draw: Busy()),
        StoreTrouble("storing half", "uploads are cut in the middle of their bodies", lambda draw: Half()),
    )

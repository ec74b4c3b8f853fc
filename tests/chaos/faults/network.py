"""What networks do between two parts: delay, cut, half-close, swallow; then they heal."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import ClassVar, Final

from tests.chaos.faults import proxies
from tests.chaos.faults.fault import Fault, Site
from tests.chaos.faults.proxies import wire
from tests.chaos.proxy import Link, Proxy, Rule

__all__ = ["faults", "wire"]

DELAY_S: Final = (0.02, 0.2)  # each chunk, each way
FORGOTTEN_S: Final = (5.0, 20.0)  # some longer than it takes to notice, some shorter
UP: Final = "up"  # from the caller
DOWN: Final = "down"  # to the caller


class Delay(Rule):
    """Every chunk takes its time."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self._seconds = draw.uniform(*DELAY_S)

    async def up(self, link: Link, data: bytes) -> bytes:
        """Waits, then passes it on."""
        await asyncio.sleep(self._seconds)
        return data

    down = up


class Hole(Rule):
    """Nothing comes through, one way or both, and nobody is told. What was sent arrives late, when it is over."""

    def __init__(self, ways: frozenset[str]) -> None:
        super().__init__()
        self._ways = ways

    async def up(self, link: Link, data: bytes) -> bytes:
        """Holds what callers send."""
        if UP in self._ways:
            await self.over.wait()
        return data

    async def down(self, link: Link, data: bytes) -> bytes:
        """Holds what they are answered."""
        if DOWN in self._ways:
            await self.over.wait()
        return data


class Cut(Rule):
    """All connections are reset, and new ones at once."""

    async def begun(self, links: list[Link]) -> None:
        """Resets those that are there."""
        for link in links:
            link.abort()

    async def accept(self, link: Link) -> None:
        """Resets a new one."""
        link.abort()


class HalfClose(Rule):
    """One side of every connection that is there hears that the other has ended, which knows nothing of it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self._way = way

    async def begun(self, links: list[Link]) -> None:
        """Ends one way of those that are there; new ones are left in peace."""
        for link in links:
            link.end(up=self._way == UP)


class Forgotten(Rule):
    """What is open swallows everything and nobody is told, as when a firewall forgets it; new connections are good."""

    def __init__(self) -> None:
        super().__init__()
        self._swallowing: set[Link] = set()

    async def begun(self, links: list[Link]) -> None:
        """Remembers those that are there."""
        self._swallowing.update(links)

    async def ended(self) -> None:
        """Resets what nobody has given up."""
        for link in self._swallowing:
            link.abort()

    async def up(self, link: Link, data: bytes) -> bytes:
        """Holds what comes over an old one; an end is not passed on either."""
        if link in self._swallowing:
            await self.over.wait()
        return data

    down = up


KINDS: Final[dict[str, tuple[str, Callable[[random.Random], Rule]]]] = {
    "delay": ("every packet takes 20 to 200 ms each way", Delay),
    "cut": ("all connections are reset, new ones too", lambda draw: Cut()),
    "half-close": ("connections end one way", lambda draw: HalfClose(draw.choice((UP, DOWN)))),
    "black hole": ("nothing comes through, nobody is told", lambda draw: Hole(frozenset((UP, DOWN)))),
    "forgotten": (
        "what is open swallows everything, nobody is told; new connections are good",
        lambda draw: Forgotten(),
    ),
    "answers lost": ("requests arrive, answers do not", lambda draw: Hole(frozenset((DOWN,)))),
}


STALLING: Final = frozenset(KINDS) - {"delay", "forgotten"}


class NetworkFault(Fault):
    """One kind of trouble on the way to one part."""

    heals = "the way is free again; what was held arrives late, or is lost with its connection"
    hold_s = (1.0, 12.0)
    quick_hold_s = (0.3, 0.8)

    def __init__(self, where: str, kind: str) -> None:
        self.name = f"network to {where}: {kind}"
        self.breaks, self._make = KINDS[kind]
        if kind == "forgotten":
            self.hold_s = FORGOTTEN_S
        self._broken: list[Proxy] = []

    def begin(self, site: Site) -> None:
        self._broken = self.between(site)
        for proxy in self._broken:
            proxy.begin(lambda: self._make(site.random))

    def end(self, site: Site) -> None:
        lost = site.random.random() < 0.5
        while self._broken:
            self._broken.pop().heal(cut=lost)

    def between(self, site: Site) -> list[Proxy]:
        """The proxies that are to be broken."""
        raise NotImplementedError


class ToPrimary(NetworkFault):
    """Servers and workers cannot reach the primary; its replicas can."""

    promises: ClassVar[tuple[str, ...]] = ("P1", "P2", "P3", "P10")
    parts = frozenset({"mysql"})

    def __init__(self, kind: str) -> None:
        super().__init__("the primary", kind)
        self.stalls = kind in STALLING

    def between(self, site: Site) -> list[Proxy]:
        return [proxies.of(site).nodes[site.primary]]


class ToReplicas(NetworkFault):
    """Readers cannot reach the replicas; the primary can."""

    promises: ClassVar[tuple[str, ...]] = ("P7", "P10")
    parts = frozenset({"mysql"})
    affects = "verify"

    def __init__(self, kind: str) -> None:
        super().__init__("the replicas", kind)

    def between(self, site: Site) -> list[Proxy]:
        return [proxies.of(site).nodes[node] for node in site.replicas()]


class ToRedis(NetworkFault):
    """The cache is there and not reached."""

    promises: ClassVar[tuple[str, ...]] = ("P2", "P5", "P7")
    parts = frozenset({"redis"})
    affects = "verify"

    def __init__(self, kind: str) -> None:
        super().__init__("Redis", kind)

    def between(self, site: Site) -> list[Proxy]:
        return [proxies.of(site).redis]


class ToStore(NetworkFault):
    """The object store is there and not reached."""

    promises: ClassVar[tuple[str, ...]] = ("P6",)
    parts = frozenset({"s3"})
    target_s = 0.0

    def __init__(self, kind: str) -> None:
        super().__init__("the object store", kind)

    def between(self, site: Site) -> list[Proxy]:
        return [proxies.of(site).s3]


class ToServers(NetworkFault):
    """Envoy and servers do not reach each other: one server, or all of them."""

    promises: ClassVar[tuple[str, ...]] = ("P1", "P2", "P10")
    parts = frozenset({"server", "envoy"})
    waits = True

    def __init__(self, kind: str) -> None:
        super().__init__("the servers", kind)
        self._opened = ExitStack()

    def between(self, site: Site) -> list[Proxy]:
        found = self._opened.enter_context(proxies.before_servers(site))
        return found if site.random.random() < 0.5 else found[:1]

    def end(self, site: Site) -> None:
        super().end(site)
        self._opened.close()


class ToSource(NetworkFault):
    """Replicas and the primary do not reach each other: no receipts, so no commits, while all of them are cut off."""

    promises: ClassVar[tuple[str, ...]] = ("P1", "P2", "P3", "P7")
    parts = frozenset({"mysql"})

    def __init__(self, kind: str) -> None:
        super().__init__("the primary from its replicas", kind)
        self.stalls = kind in STALLING
        self._opened = ExitStack()

    def between(self, site: Site) -> list[Proxy]:
        found = self._opened.enter_context(proxies.before_primary(site))
        return found if site.random.random() < 0.5 else found[:1]

    def end(self, site: Site) -> None:
        super().end(site)
        self._opened.close()


class ToEdge(NetworkFault):
    """Clients and Envoy do not reach each other."""

    promises: ClassVar[tuple[str, ...]] = ("P1", "P2")
    parts = frozenset({"envoy", "load"})

    def __init__(self, kind: str) -> None:
        super().__init__("the edge", kind)
        self.stalls = kind in STALLING

    def between(self, site: Site) -> list[Proxy]:
        return [proxies.of(site).edge]


def faults() -> Iterable[Fault]:
    """One of each; in the quick run those that hurt most."""
    quick = {ToPrimary: KINDS, ToReplicas: ("black hole",), ToRedis: ("half-close", "black hole")}
    quick |= {ToStore: ("cut",), ToServers: ("black hole",), ToSource: ("cut",), ToEdge: ("answers lost",)}
    for where, kinds in quick.items():
        for kind in KINDS:
            fault = where(kind)
            fault.full_only = kind not in kinds
            yield fault

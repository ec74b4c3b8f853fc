"""Processes killed and answers lost at named points of issuing and archiving.

Nothing in the product knows of it: statements and uploads pass through the proxies in plain text, so a trap there sees
the one that matters, holds the connection at the point, and the process on either side is killed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from stack import StackError
from tests.chaos.faults import proxies
from tests.chaos.faults.fault import PROMISED, Fault, Site
from tests.chaos.proxy import Link, Proxy, Rule

WAIT_S: Final = 40.0  # until something comes to the point; behind an edge that swallows all that takes 20 s
TAKE: Final = b"\x03UPDATE number_ranges SET used"  # how the issuing statement begins, its command byte included
COMMIT: Final = b"; COMMIT"  # how it ends
NOTHING: Final = b"; DO 1  "  # as long as COMMIT
MORE_RESULTS: Final = 0x0008
OK: Final = 0x00
ERROR: Final = 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place in the conversation of two processes."""

    wanted: Callable[[bytes], bool]  # is this the request?
    answered: Callable[[bytes], bool] | None = None  # is this, so far, its answer? None: the point is before that
    sent: bool = True  # whether the request is passed on
    change: Callable[[bytes], bytes] = bytes  # what is passed on instead
    hides: bool = True  # whether the caller sees nothing of the answer until the point is reached


class Trap(Rule):
    """Catches the first connection that comes to a point, and cuts it in the end; all others pass."""

    def __init__(self, point: Point) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.link: Link | None = None
        self._point = point
        self._answer = b""

    async def ended(self) -> None:
        """Cuts what was caught."""
        if self.link is not None:
            self.link.abort()

    async def up(self, link: Link, data: bytes) -> bytes:
        """Waits for the request."""
        point = self._point
        if self.link is not None or not point.wanted(data):
            return data
        self.link = link
        if not point.sent:
            await self._hold()
        data = point.change(data)
        if point.answered is not None:
            return data
        if link.upstream is not None:
            link.upstream.write(data)
        await self._hold()
        return b""

    async def down(self, link: Link, data: bytes) -> bytes:
        """Waits for its answer."""
        point = self._point
        if link is not self.link:
            return data
        self._answer += data
        if point.answered is not None and point.answered(self._answer):
            await self._hold()
        return b"" if point.hides else data

    async def _hold(self) -> None:
        """The point is reached: nothing moves on this connection any more."""
        self.reached.set()
        await self.over.wait()
        raise ConnectionResetError


def issues(data: bytes) -> bool:
    """Tells whether this is the statement that takes numbers, inserts invoices and commits, as a whole."""
    whole = int.from_bytes(data[:3], "little") == len(data) - 4
    return whole and data.startswith(TAKE, 4) and data.endswith(COMMIT)


def is_last(answer: bytes) -> bool:
    """Tells whether an answer to several statements is complete: its last OK says so, or an error ends it."""
    at = 0
    while at + 5 <= len(answer):
        size = int.from_bytes(answer[at : at + 3], "little")
        packet = answer[at + 4 : at + 4 + size]
        if len(packet) < size:
            return False
        if packet[0] == ERROR:
            return True
        if packet[0] == OK:
            place = _after_number(packet, _after_number(packet, 1))  # rows, the last id
            if not int.from_bytes(packet[place : place + 2], "little") & MORE_RESULTS:
                return True
        at += 4 + size
    return False


def _after_number(packet: bytes, at: int) -> int:
    """Where a length-encoded number ends."""
    return at + {0xFC: 3, 0xFD: 4, 0xFE: 9}.get(packet[at], 1)


def uncommitted(data: bytes) -> bytes:
    """The same statement, of the same length, without its COMMIT."""
    return data[: -len(COMMIT)] + NOTHING


BEFORE_INSERT: Final = Point(wanted=issues, sent=False)
BEFORE_COMMIT: Final = Point(wanted=issues, change=uncommitted, answered=is_last)
COMMITTING: Final = Point(wanted=issues)
COMMITTED: Final = Point(wanted=issues, answered=is_last)
STORED: Final = Point(
    wanted=lambda data: data.startswith(b"PUT "), answered=lambda answer: b"HTTP/1.1 200" in answer, hides=False
)


class AtPoint(Fault):
    """Something happens when a request of the load comes to a point."""

    promises: ClassVar[tuple[str, ...]] = PROMISED
    parts = frozenset({"server", "mysql", "load"})
    weight = 2

    def __init__(self, name: str, breaks: str, heals: str, point: Point) -> None:
        self.name = name
        self.breaks = breaks
        self.heals = heals
        self._point = point

    def begin(self, site: Site) -> None:
        proxy = self.place(site)
        trap = Trap(self._point)
        proxy.begin(lambda: trap)
        try:
            if not trap.reached.wait(WAIT_S) or trap.link is None:
                raise StackError(f"nothing came to the point within {WAIT_S} s")
            self.strike(site, trap.link)
        finally:
            proxy.heal()

    def place(self, site: Site) -> Proxy:
        """The proxy that sees it."""
        return proxies.of(site).nodes[site.primary]

    def strike(self, site: Site, link: Link) -> None:
        """What happens at the point; the connection is cut after that."""


class KillCaller(AtPoint):
    """kill -9 of the process that made the request."""

    kills = True
    target_s: float | None = 2.0

    def strike(self, site: Site, link: Link) -> None:
        site.kill(proxies.caller(site, link))


class KillPrimary(AtPoint):
    """kill -9 of the primary that has just been sent the COMMIT."""

    kills = True

    def strike(self, site: Site, link: Link) -> None:
        site.kill(site.primary)


class LosePrimary(AtPoint):
    """The primary that has just been sent the COMMIT is lost, and a replica takes its place."""

    waits = True
    failover = True
    full_only = True
    hold_s = (0.5, 4.0)
    target_s = 10.0
    _old = ""

    def strike(self, site: Site, link: Link) -> None:
        self._old = site.primary
        site.stack.failover()
        site.failovers += 1
        site.kills += 1

    def end(self, site: Site) -> None:
        if self._old:
            site.stack.rejoin(self._old)
            self._old = ""


class KillUploader(KillCaller):
    """kill -9 of the worker whose object has just been stored."""

    promises: ClassVar[tuple[str, ...]] = ("P6", "P10")
    parts = frozenset({"worker", "s3", "load"})
    affects = "archive"
    target_s = None

    def place(self, site: Site) -> Proxy:
        return proxies.of(site).s3


def faults() -> Iterable[Fault]:
    """One of each."""
    again = "the supervisor starts it again"
    return (
        KillCaller("kill server before INSERT", "numbers are locked, nothing is written", again, BEFORE_INSERT),
        KillCaller("kill server before COMMIT", "invoices are written, not committed", again, BEFORE_COMMIT),
        KillCaller("kill server after COMMIT", "committed, and nobody was answered", again, COMMITTED),
        AtPoint("reply to COMMIT lost", "the server does not know", "it looks for its request ids", COMMITTED),
        KillPrimary("kill primary at COMMIT", "nobody knows", again, COMMITTING),
        LosePrimary("failover at COMMIT", "nobody knows", "the new primary is asked; the old rejoins", COMMITTING),
        KillUploader("kill worker before marking", "the object is there, nobody noted it", again, STORED),
    )

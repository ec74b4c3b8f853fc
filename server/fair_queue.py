"""Who is next: entries of several tenants, taken in turn, so that nobody waits for all that a greedy one has brought.

Deficit round robin: a tenant whose turn it is may take a quantum; what an entry costs is charged to it, and then comes
the next tenant. Any operation costs the same whatever waits. A tenant is known while it has entries, so there are
never more tenants than entries.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class _Tenant(Generic[Entry]):
    """The entries of one tenant, oldest first, and how much it may still take in this turn."""

    __slots__ = ("allowance", "entries", "key")

    def __init__(self, key: int, allowance: int) -> None:
        self.key = key
        self.allowance = allowance
        self.entries: deque[Entry] = deque()


class FairQueue(Generic[Entry]):
    """A queue of entries by tenant. Not bounded: who puts in entries bounds them (server/admission.py)."""

    def __init__(self, *, quantum: int) -> None:
        self._quantum = quantum
        self._tenants: dict[int, _Tenant[Entry]] = {}
        self._turns: deque[_Tenant[Entry]] = deque()  # the first one's turn it is

    def __bool__(self) -> bool:
        return bool(self._turns)

    def push(self, tenant_key: int, entry: Entry) -> None:
        """Puts an entry behind those of its tenant; a tenant without any comes last."""
        tenant = self._tenants.get(tenant_key)
        if tenant is None:
            tenant = self._tenants[tenant_key] = _Tenant(tenant_key, self._quantum)
            self._turns.append(tenant)
        tenant.entries.append(entry)

    def first(self) -> Entry:
        """Returns the entry whose turn it is, and leaves it there; IndexError when there is none."""
        return self._turns[0].entries[0]

    def allowance(self, most: int) -> int:
        """How much of the first entry may be taken now, at most `most`: all of it while its tenant is alone."""
        return most if len(self._turns) == 1 else min(most, self._turns[0].allowance)

    def spend(self, cost: int, *, done: bool) -> None:
        """Charges the first tenant; with `done` its first entry is taken off."""
        tenant = self._turns[0]
        tenant.allowance -= cost
        if done:
            tenant.entries.popleft()
            if not tenant.entries:
                self._turns.popleft()
                del self._tenants[tenant.key]
                return
        if len(self._turns) == 1:
            tenant.allowance = self._quantum  # what it took while nobody else came is not held against it
        elif tenant.allowance <= 0:
            tenant.allowance = max(1, tenant.allowance + self._quantum)
            self._turns.rotate(-1)


class FairTurn:
    """A lock whose waiters go in turn by tenant: `async with turn.of(tenant_key, cost)`.

    A caller that goes away while it waits leaves the line; one that was just given the turn hands it on.
    """

    def __init__(self, *, quantum: int) -> None:
        self._waiting: FairQueue[tuple[asyncio.Future[None], int]] = FairQueue(quantum=quantum)
        self._taken = False

    def of(self, tenant_key: int, cost: int) -> _Turn:
        """The turn for one piece of a tenant's work."""
        return _Turn(self, tenant_key, cost)

    async def acquire(self, tenant_key: int, cost: int) -> None:
        """Waits for the turn."""
        if not self._taken:
            self._taken = True
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.push(tenant_key, (waiter, cost))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Gives the turn to the next who still waits."""
        while self._waiting:
            waiter, cost = self._waiting.first()
            gone = waiter.done()
            self._waiting.spend(0 if gone else cost, done=True)
            if not gone:
                waiter.set_result(None)
                return
        self._taken = False


class _Turn:
    __slots__ = ("_cost", "_tenant_key", "_turn")

    def __init__(self, turn: FairTurn, tenant_key: int, cost: int) -> None:
        self._turn = turn
        self._tenant_key = tenant_key
        self._cost = cost

    async def __aenter__(self) -> None:
        await self._turn.acquire(self._tenant_key, self._cost)

    async def __aexit__(self, *_: object) -> None:
        self._turn.release()

"""Whether a lane takes more work: by room, by a tenant's share, by the caller's deadline, by a delay that stays.

All of it is decided before anything is parsed further, validated or numbered, by counts of items alone, so that a
refusal costs next to nothing (docs/adr/0031). A store that is away is not an overload (P10): while nothing moves only
the room counts, and a commit that took long because of that does not change the measured rate.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self

from core import limits
from core.domain.errors import BillowError, Reason

RETRY_FIRST_MS = 200  # the shortest wait asked for: some commits
RETRY_MAX_MS = 10_000  # a longer one helps nobody: callers have 30 s
STALLED_S = 1.0  # nothing ended for so long: the store is away, or all is blocked
SAMPLES = 9  # of the rate: five new ones change the median


class AdmissionMetrics(Protocol):
    """What is measured of refusals."""

    def refused(self, lane: str, why: str, items: int) -> None:
        """So many items were refused: full, share, deadline, delay, lag, or closed."""

    def dropped(self, lane: str, items: int) -> None:
        """So many items left the queue before they were numbered, because nobody waited for them any more."""

    def estimated(self, lane: str, wait_s: float) -> None:
        """A new item would wait so long."""


class Silent:
    """AdmissionMetrics that keep nothing."""

    def refused(self, lane: str, why: str, items: int) -> None:
        """Keeps nothing."""

    def dropped(self, lane: str, items: int) -> None:
        """Keeps nothing."""

    def estimated(self, lane: str, wait_s: float) -> None:
        """Keeps nothing."""


def retry_delay_ms(backlog_s: float, draw: Callable[[], float] = random.random) -> int:
    """When to come back: when the backlog is gone, spread over once more that time, so that not all come at once."""
    return int(min(RETRY_MAX_MS / 2, max(RETRY_FIRST_MS, backlog_s * 1_000)) * (1 + draw()))


class Standing:
    """A delay that stays: above `target_s` at every look for `interval_s`. One look below ends it (as CoDel does)."""

    __slots__ = ("_interval_s", "_since_s", "standing", "target_s")

    def __init__(self, *, target_s: float, interval_s: float) -> None:
        self.target_s = target_s
        self._interval_s = interval_s
        self._since_s: float | None = None
        self.standing = False

    def look(self, now_s: float, delay_s: float) -> bool:
        """Notes the present delay; tells whether it has stayed."""
        if delay_s <= self.target_s:
            self._since_s = None
            self.standing = False
        elif self._since_s is None:
            self._since_s = now_s
        else:
            self.standing = now_s - self._since_s >= self._interval_s
        return self.standing

    def forget(self) -> None:
        """Begins anew: what was seen has another reason."""
        self._since_s = None
        self.standing = False


class Place:
    """Room in a lane for items that are not there yet; `with` gives back what was not used."""

    __slots__ = ("_admission", "deadline_s", "items", "tenant_key")

    def __init__(self, admission: Admission, tenant_key: int, items: int, deadline_s: float | None) -> None:
        self._admission = admission
        self.tenant_key = tenant_key
        self.items = items
        self.deadline_s = deadline_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.items:
            self._admission.left(self.tenant_key, self.items)
            self.items = 0


class Admission:
    """Counts what is in a lane, from its admission to its answer, and measures how fast it goes.

    `delay_ms`: the wait that, once it has stayed for `limits.DELAY_INTERVAL_MS`, makes newcomers be refused.
    `commit_items`: a commit itself costs as much as so many items of it do. Without it, small commits would pass for a
    slow store, and a burst that goes in one of them would be refused.
    """

    def __init__(
        self,
        *,
        lane: str,
        items_max: int = limits.LANE_ITEMS_MAX,
        delay_ms: int = limits.BULK_DELAY_MS,
        commit_items: int = 0,
        metrics: AdmissionMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.lane = lane
        self.metrics = metrics or Silent()
        self.clock = clock
        self.items = 0  # admitted and not answered
        self._items_max = items_max
        self._draw = draw
        self._of_tenant: dict[int, int] = {}
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._commit_items = commit_items
        self._item_s = 0.0  # of an item beside its commit: the median of the samples; 0 while nothing is known
        self._moved_s = 0.0  # when the last items ended, or the first came into an empty lane
        self._stalled = False  # whether the last commit took as long as one does whose store was away
        self._delay = Standing(target_s=delay_ms / 1_000, interval_s=limits.DELAY_INTERVAL_MS / 1_000)

    def wait_s(self) -> float:
        """How long all that is admitted takes, by the measured rate; 0 while nothing is known."""
        return self._time_of(self.items)

    def _time_of(self, items: int) -> float:
        """How long so many items take, in one commit or in large ones."""
        return (items + self._commit_items) * self._item_s if items else 0.0

    def admit(self, items: int, *, tenant_key: int, deadline_s: float | None) -> Place:
        """Takes room for items; `deadline_s` is the end of their caller's patience, on `clock`. No I/O.

        Raises OVERLOADED with a retry delay and the lane's name when there is no room, when the tenant has more than
        its share, when the deadline may be over before they are done, or when the lane's delay has stayed and is this
        tenant's, too.
        """
        self.require_room(items, tenant_key=tenant_key, deadline_s=deadline_s)
        self.items += items
        self._of_tenant[tenant_key] = self._of_tenant.get(tenant_key, 0) + items
        return Place(self, tenant_key, items, deadline_s)

    def require_room(
        self, items: int, *, tenant_key: int, deadline_s: float | None, count: Callable[[], int] | None = None
    ) -> None:
        """Raises what `admit` would raise, and takes nothing; `count`: how many are refused, where not `items`."""
        now_s = self.clock()
        if not self.items:
            self._moved_s = now_s
        wait_s = self._wait_of(items, tenant_key)
        why = self._refusal(items, tenant_key, deadline_s, now_s, wait_s)
        if why:
            self.metrics.refused(self.lane, why, count() if count else items)
            words = f"{self.items} invoices are waiting already; these would wait {wait_s:.1f} s ({why})"
            delay_ms = retry_delay_ms(wait_s, self._draw)
            raise BillowError(Reason.OVERLOADED, words, metadata={"lane": self.lane}, retry_delay_ms=delay_ms)

    def _wait_of(self, items: int, tenant_key: int) -> float:
        """How long these items of a tenant would wait: those of others go before them in turn only.

        Of each tenant that waits as much as it brings itself (server/fair_queue.py), and the commit under way.
        """
        own = self._of_tenant.get(tenant_key, 0)
        tenants = len(self._of_tenant) + (not own)
        before = tenants * max(own + items, limits.TURN_ITEMS) + limits.COMMIT_ITEMS_MAX
        return self._time_of(min(self.items, before))

    def _refusal(self, items: int, tenant_key: int, deadline_s: float | None, now_s: float, wait_s: float) -> str:
        """Why the items are not admitted, or nothing. `wait_s`: how long they would wait."""
        free = self._items_max - self.items
        if items > free:
            return "full"
        # a share that shrinks as the lane fills: one tenant alone gets two thirds of it, and there is always room
        # for one that comes anew
        if self._of_tenant.get(tenant_key, 0) + items > limits.TENANT_FREE_TIMES * free:
            return "share"
        if deadline_s is not None and now_s + wait_s * limits.DEADLINE_WAITS >= deadline_s:
            return "deadline"
        if now_s - self._moved_s >= STALLED_S:
            self._delay.forget()
        elif self._delay.look(now_s, self.wait_s()) and wait_s > self._delay.target_s:
            return "delay"
        return ""

    def answered(self, tenant_key: int, items: int) -> None:
        """So many items of a tenant have their answer."""
        self.items -= items
        left = self._of_tenant[tenant_key] - items
        if left:
            self._of_tenant[tenant_key] = left
        else:
            del self._of_tenant[tenant_key]

    left = answered

    def committed(self, items: int) -> None:
        """A commit of so many items ended, and they were answered.

        The time since the last one is a measure of the rate while as much is waiting as was done: otherwise it tells
        how much comes, and only that no item takes longer. One that took STALLED_S tells of a store that was away; it
        counts when the one before it took as long.
        """
        now_s = self.clock()
        took_s = now_s - self._moved_s
        stalled, self._stalled = self._stalled, took_s >= STALLED_S
        item_s = took_s / (items + self._commit_items)
        if (stalled or not self._stalled) and (self.items >= items or item_s < self._item_s):
            self._samples.append(item_s)
            self._item_s = sorted(self._samples)[(len(self._samples) - 1) // 2]
        self._moved_s = now_s
        self.metrics.estimated(self.lane, self.wait_s())

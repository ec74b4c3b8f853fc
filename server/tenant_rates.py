"""How much a tenant may verify and read a second in one process: token buckets, in memory, off by default.

Issuing has its lanes, with shares that need no numbers (docs/adr/0031). Lookups have none: they are cheap, so that it
takes very many to be in the way, and a rate says how many (docs/adr/0041).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final, Protocol

from core import limits
from core.domain.errors import BillowError, Reason

VERIFY: Final = "verify"
READ: Final = "read"
RETRY_FIRST_MS: Final = 200  # the shortest wait asked for


class RateMetrics(Protocol):
    """What is measured of refusals."""

    def refused(self, lane: str, why: str, items: int) -> None:
        """So many items were refused before any work."""
        ...


class TenantRate:
    """One rate of every tenant: so many items a second, RATE_BURST_S of them at once.

    What is left may be overdrawn by the last message, so that a batch is never too large for any rate; the next one
    waits for longer. `clock` counts monotonic seconds. No I/O, about 0.5 µs.
    """

    def __init__(
        self, *, kind: str, items_a_second: int, metrics: RateMetrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.kind = kind
        self._items_a_second = items_a_second
        self._metrics = metrics
        self._clock = clock
        self._spent_s: dict[int, float] = {}  # by tenant: until when what it took is paid for

    def wait_s(self, tenant_key: int, items: int) -> float:
        """Takes items, and returns 0; or takes nothing, and returns in how many seconds it could."""
        now_s = self._clock()
        spent_s = max(self._spent_s.get(tenant_key, -math.inf), now_s - limits.RATE_BURST_S)
        if spent_s > now_s:
            return spent_s - now_s
        if len(self._spent_s) >= limits.RATE_TENANTS_MAX and tenant_key not in self._spent_s:
            self._forget(now_s)
        self._spent_s[tenant_key] = spent_s + items / self._items_a_second
        return 0.0

    def take(self, tenant_key: int, items: int) -> None:
        """Takes items; raises QUOTA_EXCEEDED with the time after which there are some."""
        wait_s = self.wait_s(tenant_key, items)
        if wait_s > 0:
            self._metrics.refused(self.kind, "rate", items)
            words = f"this tenant may {self.kind} {self._items_a_second} a second here"
            delay_ms = max(RETRY_FIRST_MS, math.ceil(wait_s * 1_000))
            raise BillowError(Reason.QUOTA_EXCEEDED, words, retry_delay_ms=delay_ms)

    def _forget(self, now_s: float) -> None:
        """Forgets tenants that owe nothing; all, if none does."""
        owing = {key: spent_s for key, spent_s in self._spent_s.items() if spent_s > now_s}
        self._spent_s = owing if len(owing) < limits.RATE_TENANTS_MAX else {}


def tenant_rates(
    *, checks_a_second: int, reads_a_second: int, metrics: RateMetrics, clock: Callable[[], float] = time.monotonic
) -> dict[str, TenantRate]:
    """The rates by the scope that they bound; 0 for none."""
    wanted = {VERIFY: checks_a_second, READ: reads_a_second}
    return {
        kind: TenantRate(kind=kind, items_a_second=rate, metrics=metrics, clock=clock)
        for kind, rate in wanted.items()
        if rate
    }

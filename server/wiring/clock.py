"""The clock of a server process."""

from __future__ import annotations

import time


def now_us() -> int:
    """The wall clock, µs since the epoch."""
    return time.time_ns() // 1_000

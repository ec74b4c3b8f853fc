"""Latencies as an HDR histogram: every value to three digits, in bounded memory, in the form that other tools read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hdrh.histogram import HdrHistogram

US_PER_S: Final = 1_000_000
US_PER_MS: Final = 1_000
LONGEST_US: Final = 600 * US_PER_S  # longer ones count as this long
DIGITS: Final = 3
SHARES: Final = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}


class Latencies:
    """Latencies of one load. `record` costs about 1 µs."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, LONGEST_US, DIGITS)

    def record(self, latency_s: float) -> None:
        """Notes one, in seconds."""
        self._histogram.record_value(min(LONGEST_US, max(1, round(latency_s * US_PER_S))))

    def add(self, other: Latencies) -> None:
        """Takes in those of another load."""
        self._histogram.add(other._histogram)

    @property
    def count(self) -> int:
        """How many were noted."""
        return int(self._histogram.get_total_count())

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` (0 to 1) of all did not exceed, milliseconds; 0 of none."""
        return self._percentile_ms(share * 100)

    def _percentile_ms(self, percent: float) -> float:
        return float(self._histogram.get_value_at_percentile(percent)) / US_PER_MS if self.count else 0.0

    @property
    def max_ms(self) -> float:
        """The longest, milliseconds; 0 of none."""
        return float(self._histogram.get_max_value()) / US_PER_MS if self.count else 0.0

    def summary(self) -> dict[str, float]:
        """Percentiles and maximum in milliseconds, by name."""
        found = {name: round(self._percentile_ms(percent), 2) for name, percent in SHARES.items()}
        return {**found, "max": round(self.max_ms, 2), "count": self.count}

    def encoded(self) -> str:
        """The whole histogram, in HdrHistogram's own compressed form (base64)."""
        return str(self._histogram.encode().decode())


def merged(parts: Iterable[Latencies]) -> Latencies:
    """Returns those of several loads together."""
    together = Latencies()
    for part in parts:
        together.add(part)
    return together


def decoded(text: str) -> Latencies:
    """Reads what `encoded` wrote."""
    latencies = Latencies()
    latencies._histogram.decode_and_add(text)
    return latencies

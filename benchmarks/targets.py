"""The targets as data: which figure of which part is held against what. A figure that was not measured is null."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Parts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure to reach: the median over the rounds of `part` of a load, or of its ratio to another of the same round.

    `at_most`: lower is better. `given`: a figure of the same part and the least it must be for this one to count.
    """

    name: str
    part: str
    load: str
    target: float
    unit: str = "a second"
    against: str = ""
    at_most: bool = False
    given: tuple[str, float] | None = None

    def figure(self, parts: Parts) -> float | None:
        """Returns the figure, or None when it was not measured."""
        values = []
        for one in parts.get(self.part, {}).get("rounds", []):
            figures = one["figures"]
            if self.load in figures and (not self.against or figures.get(self.against)):
                values.append(figures[self.load] / (figures[self.against] if self.against else 1))
        return statistics.median(values) if values else None

    def counts(self, parts: Parts) -> bool:
        """Whether what the figure depends on was reached."""
        if self.given is None:
            return True
        load, least = self.given
        return all(one["figures"].get(load, 0) >= least for one in parts[self.part]["rounds"])

    def report(self, parts: Parts) -> dict[str, object]:
        """Sets the figure against the target. `counts`: it was measured, and at the load the target speaks of."""
        figure = self.figure(parts)
        counts = figure is not None and self.counts(parts)
        met = False
        if figure is not None and counts:
            met = figure <= self.target if self.at_most else figure >= self.target
        return {
            "name": self.name,
            "figure": None if figure is None else round(figure, 3),
            "target": round(self.target, 3),
            "unit": "ratio" if self.against else self.unit,
            "at_most": self.at_most,
            "counts": counts,
            "met": met,
        }


TARGETS: Final = (
    Target(name="bulk issuing: 3 lines, batches of 500, 10 sellers", part="bulk", load="issue", target=12_000),
    Target(name="bulk issuing against LOAD DATA", part="bulk", load="issue", against="load_data", target=1 / 3),
    Target(
        name="bulk issuing of one seller against ten", part="bulk", load="issue_one_seller", against="issue", target=0.8
    ),
    Target(name="bulk issuing against the naive service", part="bulk", load="issue", against="naive", target=5),
    Target(
        name="bulk issuing against Tryton posting 100 a transaction (measured apart)",
        part="bulk",
        load="issue",
        against="tryton_100",
        target=1_000,
    ),
    Target(name="streamed verification", part="bulk", load="verify", target=60_000),
    Target(name="single issuing against the echo", part="singles", load="single_issue", against="echo", target=0.6),
    Target(
        name="single verification (hit) against the echo",
        part="singles",
        load="single_verify",
        against="echo",
        target=0.75,
    ),
    Target(
        name="archive lag at 5,000 invoices a second",
        part="archive",
        load="lag_s",
        target=5,
        unit="s",
        at_most=True,
        given=("paced_rate", 4_750),  # 95 % of the pace was really issued
    ),
    Target(name="archive: one worker catching up", part="archive", load="drain", target=20_000),
    Target(
        name="surge of 50 times: p99 of single calls", part="surge", load="single_p99_ms", target=250, unit="ms",
        at_most=True,
    ),
    Target(
        name="surge: single calls that failed or were refused", part="surge", load="single_failed", target=0,
        unit="calls", at_most=True,
    ),
    Target(
        name="surge: bulk refused other than by RESOURCE_EXHAUSTED with RetryInfo", part="surge", load="bulk_failed",
        target=0, unit="messages", at_most=True,
    ),
    Target(
        name="rate at 10 million rows against an empty table", part="growth", load="rate_against_empty", target=0.8,
        unit="ratio", given=("rows", 10_000_000),
    ),
    Target(name="memory of a server after bulk", part="bulk", load="server_mib", target=200, unit="MiB", at_most=True),
    Target(
        name="memory of a server over the soak", part="soak", load="server_mib", target=200, unit="MiB", at_most=True
    ),
    Target(
        name="memory of a server over the soak, end against begin", part="soak", load="server_growth", target=1.05,
        unit="ratio", at_most=True,
    ),
    Target(name="three times capacity: goodput against the best", part="overload", load="goodput", against="best",
        target=0.9),
    Target(
        name="three times capacity: p99 of accepted calls", part="overload", load="accepted_p99_ms", target=5_000,
        unit="ms", at_most=True,
    ),
    Target(
        name="three times capacity: calls failed other than by RESOURCE_EXHAUSTED with RetryInfo", part="overload",
        load="failed", target=0, unit="calls", at_most=True,
    ),
    Target(
        name="three times capacity: modest tenants' calls refused or failed", part="overload", load="modest_bad",
        target=0, unit="calls", at_most=True,
    ),
    Target(
        name="three times capacity: p99 of modest tenants' single calls", part="overload", load="modest_p99_ms",
        target=250, unit="ms", at_most=True,
    ),
    Target(
        name="three times capacity: memory of a server", part="overload", load="server_mib", target=200, unit="MiB",
        at_most=True,
    ),
)  # fmt: skip


def reports(parts: Parts, targets: Sequence[Target] = TARGETS) -> list[dict[str, object]]:
    """Every target with its figure."""
    return [target.report(parts) for target in targets]

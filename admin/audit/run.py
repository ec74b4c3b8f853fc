"""Runs the checks over one snapshot and times each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from admin.audit.archive import LocksCheck, SegmentsCheck
from admin.audit.batches import BatchesCheck
from admin.audit.bodies import BodiesCheck
from admin.audit.booked import BookedCheck
from admin.audit.cache import CacheCheck
from admin.audit.check import Check, Sources
from admin.audit.deliveries import DeliveriesCheck
from admin.audit.documents import DocumentsCheck
from admin.audit.durability import DurabilityCheck, ReplicasCheck
from admin.audit.entries import EntriesCheck
from admin.audit.imports import ImportsCheck
from admin.audit.quotas import QuotasCheck
from admin.audit.ranges import RangesCheck, RequestsCheck
from admin.audit.received import ReceivedCheck
from admin.audit.reds import RedsCheck
from admin.audit.report import Report
from admin.audit.runs import RunsCheck
from admin.audit.walk import walk


@dataclass(frozen=True, slots=True)
class Outcome:
    """The reports of all checks in order, and how long it all took."""

    reports: list[Report]
    invoices: int
    seconds: float

    @property
    def findings(self) -> int:
        """Findings of all checks."""
        return sum(report.findings for report in self.reports)

    @property
    def reading_s(self) -> float:
        """Time of the walk's own reading, which serves several checks."""
        return self.seconds - sum(report.seconds for report in self.reports)


def all_checks() -> list[Check]:
    """One of each check, in the order of the promises."""
    return [
        DurabilityCheck(),
        ReplicasCheck(),
        RequestsCheck(),
        RangesCheck(),
        QuotasCheck(),
        BodiesCheck(),
        RedsCheck(),
        BookedCheck(),
        CacheCheck(),
        BatchesCheck(),
        RunsCheck(),
        SegmentsCheck(),
        LocksCheck(),
        DocumentsCheck(),
        DeliveriesCheck(),
        EntriesCheck(),
        ReceivedCheck(),
        ImportsCheck(),
    ]


async def audit(
    sources: Sources, checks: Sequence[Check], *, progress: Callable[[int], None] = lambda _: None
) -> Outcome:
    """Runs the checks; `progress` is told the number of invoices walked so far.

    Raises BillowError(STORAGE_UNAVAILABLE) when a store is away: then nothing is proved.
    """
    began = time.monotonic()
    invoices = 0
    for check in checks:
        started = time.monotonic()
        await check.start(sources)
        check.report.seconds += time.monotonic() - started
    async for page in walk(sources.snapshot, sources.objects):
        invoices += sum(len(view.rows) for view in page.views)
        for check in checks:
            started = time.monotonic()
            check.page(page)
            check.report.seconds += time.monotonic() - started
        progress(invoices)
    for check in checks:
        started = time.monotonic()
        await check.finish(sources)
        check.report.seconds += time.monotonic() - started
    return Outcome([check.report for check in checks], invoices, time.monotonic() - began)

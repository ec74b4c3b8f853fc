"""Archives and audits in the test's own process, as workers and `billow-admin audit` do."""

from __future__ import annotations

import time

from admin.audit.command import open_sources
from admin.audit.run import Outcome, all_checks, audit
from core.storage.ports import Claim
from tests.support.databases import OwnStores
from workers.packing import pack


async def archive(stores: OwnStores, *, batches_max: int = 1_000) -> int:
    """Archives up to so many of the waiting batches into one segment and returns its id."""
    wanted = Claim(
        owner="test",
        batches_max=batches_max,
        invoices_max=10**6,
        bytes_max=10**9,
        lease_ms=60_000,
        age_min_ms=0,
    )
    packing = pack(await stores.outbox.claim(wanted), retention_days=1)
    packed = packing.packed
    await stores.objects.put(packed.object_key, packing.data, retain_until_us=packed.retain_until_us)
    return await stores.outbox.archive(owner="test", packed=packed, now_us=time.time_ns() // 1_000)


async def audited(stores: OwnStores, *, sample: int | None = None) -> Outcome:
    """Audits everything."""
    async with open_sources(stores.settings, sample=sample) as sources:
        return await audit(sources, all_checks())


def told(outcome: Outcome) -> dict[str, list[str]]:
    """Returns the findings by check, only of the checks that have any."""
    return {
        report.name: [f"{item.subject}: {item.text}" for item in report.listed]
        for report in outcome.reports
        if report.findings
    }

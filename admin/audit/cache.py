"""P5: what Redis remembers is what the database says."""

from __future__ import annotations

import asyncio
from typing import Final

from admin.audit.check import Check, Sources
from core.limits import NOT_FOUND_TTL_MS
from core.storage.pieces import pieces

SAMPLE: Final = 2_000  # invoices looked up, the youngest of every range first: those are the cached ones
SAMPLE_OF_RANGE: Final = 200
AT_ONCE: Final = 500
STALE_MS: Final = NOT_FOUND_TTL_MS + 1_000  # P7: a cached state may be behind for a second


class CacheCheck(Check):
    """Cached answers and verification entries of a sample of invoices equal the database's."""

    name = "cached entries are right"
    promise = "P5"

    async def finish(self, sources: Sources) -> None:
        """Compares, and looks again a little later at what differs before calling it a finding."""
        numbers: list[str] = []
        async for item in sources.snapshot.ranges():
            last = int(item.first_number) + item.used
            numbers += [f"{last - back:020d}" for back in range(1, min(item.used, SAMPLE_OF_RANGE) + 1)]
            if len(numbers) >= SAMPLE:
                break
        wrong = await self._differences(sources, numbers, count=True)
        if wrong:
            await asyncio.sleep(STALE_MS / 1_000)
            for number, text in (await self._differences(sources, list(wrong), count=False)).items():
                self.report.add(f"invoice {number}", text)
        if not self.report.examined:
            self.report.notes.append("nothing is cached of the youngest invoices, or Redis is away")

    async def _differences(self, sources: Sources, numbers: list[str], *, count: bool) -> dict[str, str]:
        """Returns what is cached wrongly, by number."""
        wrong = {}
        for some in pieces(numbers, AT_ONCE):
            cached = await sources.entries.entries(some)
            stored = await sources.reader.verification_entries(list(cached))
            for number, entry in cached.items():
                if entry is None and number in stored:
                    wrong[number] = "is cached as not found"
                elif entry is not None and entry != stored.get(number):
                    wrong[number] = f"is cached as {entry}, the database has {stored.get(number)}"
            rows = [row.issued for row in (await sources.reader.by_number(some)).values()]
            answers = await sources.answers.known([(row.seller_key, row.request_id) for row in rows])
            for row in rows:
                answer = answers.get((row.seller_key, row.request_id))
                if answer is not None and answer != row:
                    wrong[row.number] = f"its request {row.request_id!r} is answered from the cache with {answer}"
            self.report.examined += (len(cached) + len(answers)) * count
        return wrong

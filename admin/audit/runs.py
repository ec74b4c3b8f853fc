"""What a seller issued when: the rows that listings follow are the runs of the batches (docs/adr/0028)."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Final

from admin.audit.check import Check, Sources
from admin.audit.walk import Page
from core.storage.block import Run

PAGE_ROWS: Final = 10_000
FIRST: Final = (0, 0, "")
LISTED: Final = (
    "SELECT seller_key, issued_at_us, first_number, last_number FROM seller_runs"
    " WHERE (seller_key, issued_at_us, first_number) > (%s, %s, %s)"
    " ORDER BY seller_key, issued_at_us, first_number LIMIT %s"
)


class RunsCheck(Check):
    """Every run of every batch stands in `seller_runs`, and nothing else does: listings miss no invoice.

    Compares a count and a sum of digests for each seller, so that memory grows with sellers, not with runs.
    """

    name = "sellers' runs are those of the batches"
    promise = "P6"

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[int] = Counter()
        self._sums: Counter[int] = Counter()

    def page(self, page: Page) -> None:
        """Counts the runs of the batches."""
        for view in page.views:
            for run in view.batch.runs:
                self._count(run.seller_key, _digest(run, view.batch.issued_at_us), 1)
                self.report.examined += 1

    async def finish(self, sources: Sources) -> None:
        """Takes the listed ones off again; what is left disagrees."""
        after: tuple[int, int, str] = FIRST
        while found := await sources.snapshot.rows(LISTED, (*after, PAGE_ROWS)):
            after = (found[-1][0], found[-1][1], found[-1][2])
            for seller_key, issued_at_us, first, last in found:
                run = Run(seller_key, 0, first, int(last) - int(first) + 1)
                self._count(seller_key, _digest(run, issued_at_us), -1)
        for seller_key in sorted(self._sums):
            if self._sums[seller_key] or self._counts[seller_key]:
                more = self._counts[seller_key]
                words = f"{abs(more)} too {'few' if more > 0 else 'many'}" if more else "others"
                self.report.add(f"seller {seller_key}", f"the runs listed are not those of its batches: {words}")

    def _count(self, seller_key: int, digest: int, sign: int) -> None:
        self._counts[seller_key] += sign
        self._sums[seller_key] += sign * digest


def _digest(run: Run, issued_at_us: int) -> int:
    """Returns a number that stands for a run."""
    text = f"{run.seller_key}:{issued_at_us}:{run.first_number}:{run.count}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")

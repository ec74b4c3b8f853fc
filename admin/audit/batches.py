"""P6: every invoice is in exactly one batch, and every batch is what it says."""

from __future__ import annotations

from admin.audit.check import Check, Sources
from admin.audit.walk import BatchView, Page


class BatchesCheck(Check):
    """Items, runs and rows of every batch agree, and together they are all invoices there are.

    A row names one batch and position; when the rows of every batch name it and their number over all batches is the
    number of invoices, no invoice is missing from its batch or in two.
    """

    name = "batches hold every invoice once"
    promise = "P6"

    def __init__(self) -> None:
        super().__init__()
        self._batches = 0
        self._matched = 0

    def page(self, page: Page) -> None:
        """Compares each batch with its runs and rows."""
        for view in page.views:
            self._batches += 1
            self._look(view)

    def _look(self, view: BatchView) -> None:
        """Compares one batch."""
        batch, subject = view.batch, f"batch {view.batch.batch_id}"
        self.report.examined += len(view.rows)
        if len(view.numbers) != batch.items:
            self.report.add(subject, f"has {batch.items} items, its runs {len(view.numbers)}")
        for position, (number, row) in enumerate(zip(view.numbers, view.rows, strict=True)):
            if row is None:
                self.report.add(subject, f"invoice {number} of position {position} has no row")
            elif (row.batch_id, row.batch_position) != (batch.batch_id, position):
                self.report.add(
                    subject,
                    f"invoice {number} of position {position} says batch {row.batch_id}, position {row.batch_position}",
                )
            else:
                self._matched += 1

    async def finish(self, sources: Sources) -> None:
        """Compares the totals."""
        batches = int(await sources.snapshot.value("SELECT COUNT(*) FROM batches"))
        invoices = int(await sources.snapshot.value("SELECT COUNT(*) FROM invoices"))
        if batches != self._batches:
            self.report.add("batches", f"{batches} there are, {self._batches} wait or lie in a known segment")
        if invoices != self._matched:
            self.report.add("invoices", f"{invoices} there are, {self._matched} are in their batch")

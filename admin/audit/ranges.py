"""P2 and P3: request ids are unique, numbers are consecutive and in exactly one range."""

from __future__ import annotations

from typing import Final

from admin.audit.check import Check, Sources
from admin.audit.snapshot import NumberRange
from core.storage.withdrawal import WITHDRAWN

UNIQUE_KEY: Final = (
    "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'invoices'"
    " AND index_name = 'by_request' AND non_unique = 0 AND"
    " ((seq_in_index = 1 AND column_name = 'seller_key') OR (seq_in_index = 2 AND column_name = 'request_id'))"
)
# the index delivers the groups in order, so the server needs no memory for them
DUPLICATES: Final = (
    "SELECT seller_key, CONVERT(request_id USING latin1), COUNT(*) FROM invoices"
    " GROUP BY seller_key, request_id HAVING COUNT(*) > 1 ORDER BY seller_key, request_id LIMIT 1000"
)
NUMBERED: Final = (
    "SELECT COUNT(*), MIN(number), MAX(number), COALESCE(SUM(seller_key <> %s OR kind <> %s OR color <> %s), 0)"
    " FROM invoices"
    " WHERE number BETWEEN %s AND %s"
)


class RequestsCheck(Check):
    """No (seller, request id) has two invoices: the unique key is there, and a scan of its index finds none."""

    name = "request ids are unique"
    promise = "P2"

    async def finish(self, sources: Sources) -> None:
        """Scans the index in order."""
        if await sources.snapshot.value(UNIQUE_KEY) != 2:
            self.report.add("invoices", "there is no unique key over seller and request id")
        self.report.examined = int(await sources.snapshot.value("SELECT COUNT(*) FROM invoices"))
        for seller_key, request_id, count in await sources.snapshot.rows(DUPLICATES):
            self.report.add(f"seller {seller_key}", f"request id {request_id!r} has {count} invoices")


class RangesCheck(Check):
    """The invoices of every range are its first `used` numbers, no more and no fewer, of its seller, kind and color.

    Numbers that a restore has set aside (docs/backup.md) have no invoice. Ranges do not overlap, and the
    invoices of all ranges are all invoices: so each is in exactly one range.
    """

    name = "numbers have no gap"
    promise = "P3"
    _withdrawn = 0

    async def finish(self, sources: Sources) -> None:
        """Counts the invoices of every range."""
        last_number = last_id = None
        async for item in sources.snapshot.ranges():
            if last_number is not None and item.first_number <= last_number:
                self.report.add(f"range {item.range_id}", f"shares numbers with range {last_id}")
            last_number, last_id = item.last_number, item.range_id
            await self._look(sources, item)
        if self._withdrawn:
            self.report.notes.append(f"{self._withdrawn} numbers were set aside by a restore and are never issued")
        invoices = int(await sources.snapshot.value("SELECT COUNT(*) FROM invoices"))
        if invoices != self.report.examined:
            self.report.add("invoices", f"{invoices} there are, {self.report.examined} are in a range")

    async def _look(self, sources: Sources, item: NumberRange) -> None:
        """Compares one range with its invoices."""
        subject, first = f"range {item.range_id}", int(item.first_number)
        if int(item.last_number) - first + 1 != item.size or item.used > item.size:
            self.report.add(subject, f"{item.used} of {item.size} are used from {first} to {item.last_number}")
        if item.kind == WITHDRAWN:
            self._withdrawn += item.size
        values = (item.seller_key, item.kind, item.color, item.first_number, item.last_number)
        found = await sources.snapshot.rows(NUMBERED, values)
        count, lowest, highest, foreign = found[0]
        self.report.examined += count
        if count != item.used:
            self.report.add(subject, f"{item.used} numbers are used, {count} invoices have one")
        elif count and (lowest, highest) != (item.first_number, f"{first + item.used - 1:020d}"):
            self.report.add(subject, f"its {count} invoices are {lowest} to {highest}: there is a gap")
        if foreign:
            self.report.add(subject, f"{foreign} of its invoices are of another seller, kind or color")

# ruff: noqa: S608 -- what is put into SQL text here is constants
"""Collection: every collected invoice of a followed buyer has one position, and no position of a buyer is empty."""

from __future__ import annotations

from typing import Final

from admin.audit.check import Check, Sources
from core.storage.mysql.batch_feed import consumed
from core.storage.mysql.collection import CONSUMER

PAGE_ROWS: Final = 1_000

# what does not fit of each buyer's sequence: its head against what is there
SEQUENCES: Final = (
    "SELECT h.buyer_tax_id, h.last_position, COALESCE(r.found, 0), COALESCE(r.lowest, 1), COALESCE(r.highest, 0)"
    " FROM received_heads h LEFT JOIN (SELECT buyer_tax_id, COUNT(*) AS found, MIN(position) AS lowest,"
    " MAX(position) AS highest FROM received_invoices GROUP BY buyer_tax_id) r ON r.buyer_tax_id = h.buyer_tax_id"
    " WHERE h.buyer_tax_id > %s ORDER BY h.buyer_tax_id LIMIT %s"
)
HEADLESS: Final = (
    "SELECT DISTINCT r.buyer_tax_id FROM received_invoices r LEFT JOIN received_heads h"
    " ON h.buyer_tax_id = r.buyer_tax_id WHERE h.buyer_tax_id IS NULL ORDER BY 1"
)
UNFOLLOWED: Final = (
    "SELECT DISTINCT t.tax_id FROM tenant_tax_ids t LEFT JOIN received_heads h ON h.buyer_tax_id = t.tax_id"
    " WHERE t.confirmed_at_us IS NOT NULL AND h.buyer_tax_id IS NULL ORDER BY 1"
)
REPEATED: Final = "SELECT number, COUNT(*) FROM received_invoices GROUP BY number HAVING COUNT(*) > 1 ORDER BY 1"
FOREIGN: Final = (
    "SELECT r.number, r.buyer_tax_id, i.buyer_tax_id FROM received_invoices r LEFT JOIN invoices i"
    " ON i.number = r.number WHERE i.buyer_tax_id IS NULL OR i.buyer_tax_id <> r.buyer_tax_id ORDER BY r.number"
)
MISSING: Final = (
    "SELECT i.number, i.buyer_tax_id FROM received_heads h JOIN invoices i ON i.buyer_tax_id = h.buyer_tax_id"
    " LEFT JOIN received_invoices r ON r.number = i.number"
    f" WHERE h.filled = 1 AND r.number IS NULL AND {consumed('i.batch_id')} ORDER BY i.number"
)


class ReceivedCheck(Check):
    """The positions of each buyer are 1 to its head's last; every invoice of a collected batch has one, its buyer's.

    Every buyer with a confirmed proof is followed. Invoices that wait for the collector are no finding: they get their
    positions later; so do those that a newly followed buyer received before.
    """

    name = "received invoices are complete"
    promise = "P8"

    async def finish(self, sources: Sources) -> None:
        """Compares on the server; what comes here is a line a buyer, and what is wrong."""
        after = ""
        while found := await sources.snapshot.rows(SEQUENCES, (after, PAGE_ROWS)):
            after = found[-1][0]
            for buyer, last, *bounds in found:
                count, lowest, highest = map(int, bounds)
                self.report.examined += count
                if (count, lowest, highest) != (last, 1, last):
                    text = f"has {count} positions from {lowest} to {highest}, its head says {last}"
                    self.report.add(f"buyer {buyer}", text)
        for (buyer,) in await sources.snapshot.rows(HEADLESS):
            self.report.add(f"buyer {buyer}", "has positions and no head")
        for (buyer,) in await sources.snapshot.rows(UNFOLLOWED):
            self.report.add(f"buyer {buyer}", "has proved its taxpayer id and is not followed")
        for number, count in await sources.snapshot.rows(REPEATED):
            self.report.add(f"invoice {number}", f"was received {count} times")
        for number, buyer, real in await sources.snapshot.rows(FOREIGN):
            self.report.add(f"invoice {number}", f"was received by {buyer}, its buyer is {real or 'nobody'}")
        for number, buyer in await sources.snapshot.rows(MISSING, (CONSUMER, CONSUMER)):
            self.report.add(f"invoice {number}", f"was collected and is not among what {buyer} received")

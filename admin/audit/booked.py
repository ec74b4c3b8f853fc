"""Account entry and reds: what stands in the books is red-lettered by form only; what is fully red is not entered."""

from __future__ import annotations

from typing import Final

from admin.audit.check import Check, Sources
from core.domain.entry import ENTERED
from core.domain.kinds import InvoiceColor
from core.storage.red_letter_port import FormState

SLACK_US: Final = 5_000_000  # both times are taken under the lock of the invoice, by clocks that may differ so much
_ENTERED: Final = f"({', '.join(str(int(state)) for state in sorted(ENTERED))})"
_CONFIRMED: Final = "red_confirmations WHERE red_number IS NOT NULL AND state = %s"  # and used

# reds without a confirmed form, issued after an entry of their blue one and before the change that follows it
WHILE_BOOKED: Final = (
    "SELECT r.number, r.blue_number FROM invoices r"  # noqa: S608 (constants)
    f" STRAIGHT_JOIN entry_events e ON e.number = r.blue_number AND e.state IN {_ENTERED}"
    " LEFT JOIN entry_events n ON n.number = e.number AND n.version = e.version + 1"
    f" LEFT JOIN (SELECT DISTINCT red_number FROM {_CONFIRMED}) f ON f.red_number = r.number"
    " WHERE r.color = %s AND e.changed_at_us + %s < r.issued_at_us"
    " AND (n.number IS NULL OR r.issued_at_us + %s < n.changed_at_us) AND f.red_number IS NULL"
    " ORDER BY r.number LIMIT 1000"
)
# fully red and in the books: at least the last of the reds came after the entry, so it had a form; no clock is asked
FULLY_RED: Final = (
    "SELECT e.number FROM invoice_entries e"  # noqa: S608 (constants)
    " JOIN red_balances b ON b.blue_number = e.number JOIN invoices i ON i.number = e.number"
    f" LEFT JOIN (SELECT DISTINCT blue_number FROM {_CONFIRMED}) f ON f.blue_number = e.number"
    f" WHERE e.state IN {_ENTERED} AND b.red_total_minor <> 0 AND i.gross_total_minor + b.red_total_minor = 0"
    " AND f.blue_number IS NULL ORDER BY e.number LIMIT 1000"
)
ENTERED_AFTER: Final = (
    "SELECT e.number, e.version FROM entry_events e"  # noqa: S608 (constants)
    " JOIN red_balances b ON b.blue_number = e.number JOIN invoices i ON i.number = e.number"
    f" WHERE e.state IN {_ENTERED} AND b.red_total_minor <> 0 AND i.gross_total_minor + b.red_total_minor = 0"
    " AND b.changed_at_us > 0 AND b.changed_at_us + %s < e.changed_at_us ORDER BY e.number, e.version LIMIT 1000"
)


class BookedCheck(Check):
    """No red without a confirmed form while its blue one stood in the books, and no entry of what was fully red.

    What came within SLACK_US of each other is told apart only where the invoice is fully red. Nothing is read of the
    invoices where nobody has entered any.
    """

    name = "booked invoices are red-lettered by form"
    promise = "P4"

    async def finish(self, sources: Sources) -> None:
        """Compares on the server; one pass over the invoices."""
        self.report.examined = int(await sources.snapshot.value("SELECT COUNT(*) FROM invoice_entries"))
        if not self.report.examined:
            return
        confirmed = int(FormState.CONFIRMED)
        times = (confirmed, int(InvoiceColor.RED), SLACK_US, SLACK_US)
        for number, blue in await sources.snapshot.rows(WHILE_BOOKED, times):
            self.report.add(f"invoice {number}", f"red-letters {blue}, which stood in the books, without a form")
        for (number,) in await sources.snapshot.rows(FULLY_RED, (confirmed,)):
            self.report.add(f"invoice {number}", "stands in the books and is fully red without a form")
        for number, version in await sources.snapshot.rows(ENTERED_AFTER, (SLACK_US,)):
            self.report.add(f"invoice {number}", f"change {version} enters what was fully red")

"""P4: red invoices never exceed the blue one they correct."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from admin.audit.check import Check, Sources
from core.domain.kinds import InvoiceColor
from core.domain.red_letter import unpack_sums
from core.storage.mysql.batch_feed import NOW_US
from core.storage.red_letter_port import WAITING

# blue invoices with a balance or with reds, each with what the reds sum up to; amounts of reds are negative
SUMS: Final = (
    "SELECT r.blue_number, r.total, b.gross_total_minor, b.color, r.foreign_reds, r.other_buyers, r.not_negative FROM"
    " (SELECT i.blue_number, SUM(i.gross_total_minor) AS total, SUM(i.seller_key <> o.seller_key) AS foreign_reds,"
    "  SUM(NOT i.buyer_tax_id <=> o.buyer_tax_id) AS other_buyers, SUM(i.gross_total_minor >= 0) AS not_negative"
    "  FROM invoices i LEFT JOIN invoices o ON o.number = i.blue_number WHERE i.color = %s GROUP BY i.blue_number) r"
    " LEFT JOIN invoices b ON b.number = r.blue_number ORDER BY r.blue_number"
)
BALANCES: Final = (
    "SELECT blue_number, red_total_minor, line_sums FROM red_balances WHERE blue_number > %s"
    " ORDER BY blue_number LIMIT 1000"
)
# forms that were used, with what is wrong: the red invoice is missing, of another blue one, or was not allowed
FORMS: Final = (
    "SELECT f.confirmation_id, f.state, f.red_number, i.blue_number = f.blue_number FROM red_confirmations f"
    " LEFT JOIN invoices i ON i.number = f.red_number WHERE f.red_number IS NOT NULL"
    " AND (f.state NOT IN (1, 4) OR i.number IS NULL OR NOT i.blue_number <=> f.blue_number)"
    " ORDER BY f.confirmation_id LIMIT 1000"
)
FORMS_USED_TWICE: Final = (
    "SELECT red_number, COUNT(*) FROM red_confirmations WHERE red_number IS NOT NULL"
    " GROUP BY red_number HAVING COUNT(*) > 1 ORDER BY red_number LIMIT 1000"
)

# nobody answered in time, and a day later no worker has written down that they are void (workers/red_letter.py)
LATE_US: Final = 86_400_000_000
OVERDUE: Final = (
    "SELECT confirmation_id, state FROM red_confirmations"  # noqa: S608 -- constants and placeholders
    f" WHERE state IN ({', '.join(str(int(state)) for state in sorted(WAITING))}) AND expires_at_us + %s < {NOW_US}"
    " ORDER BY confirmation_id LIMIT 1000"
)


class RedsCheck(Check):
    """The reds of each blue are negative, of its seller and buyer, and sum up to its balance and to no more than it.

    What a balance says of the lines sums up to it, too; every confirmation form that was used allowed its red, and
    those that nobody answered were made void.
    """

    name = "reds do not exceed blues"
    promise = "P4"

    async def finish(self, sources: Sources) -> None:
        """Sums up on the server, compares here; the memory is that of the red-lettered invoices' numbers."""
        sums: dict[str, int] = {}
        for number, total, gross, color, *wrong in await sources.snapshot.rows(SUMS, (int(InvoiceColor.RED),)):
            self.report.examined += 1
            self._look(number, int(total), gross, color, wrong)
            sums[number] = int(total)
        after = ""
        while found := await sources.snapshot.rows(BALANCES, (after,)):
            after = found[-1][0]
            for number, balance, line_sums in found:
                total = sums.pop(number, 0)
                if balance != total:
                    self.report.add(f"invoice {number}", f"its red balance is {balance}, its reds sum up to {total}")
                elif (by_line := _sum_of_lines(line_sums)) != -balance:
                    self.report.add(f"invoice {number}", f"its red balance is {balance}, {by_line} by lines")
        for number, total in sums.items():
            self.report.add(f"invoice {number}", f"it has no red balance, its reds sum up to {total}")
        for name, state, red_number, fits in await sources.snapshot.rows(FORMS):
            what = f"has state {state}" if fits else "that is not of its blue invoice or does not exist"
            self.report.add(f"confirmation form {name}", f"was used by invoice {red_number}, but {what}")
        for red_number, count in await sources.snapshot.rows(FORMS_USED_TWICE):
            self.report.add(f"invoice {red_number}", f"used {count} confirmation forms")
        for name, state in await sources.snapshot.rows(OVERDUE, (LATE_US,)):
            self.report.add(f"confirmation form {name}", f"has state {state} more than a day after it was void")

    def _look(self, number: str | None, total: int, gross: int | None, color: int | None, wrong: Sequence[Any]) -> None:
        """Compares one blue with the sum of its reds."""
        subject = f"invoice {number}"
        if number is None or gross is None:
            self.report.add(subject, "has red invoices and does not exist")
        elif color != int(InvoiceColor.BLUE):
            self.report.add(subject, "has red invoices and is not blue")
        elif wrong[0]:
            self.report.add(subject, "has red invoices of another seller")
        elif wrong[1]:
            self.report.add(subject, "has red invoices to another buyer")
        elif wrong[2]:
            self.report.add(subject, "has red invoices that are not negative")
        elif not 0 < -total <= gross:
            self.report.add(subject, f"its reds sum up to {total}, it is of {gross}")


def _sum_of_lines(line_sums: bytes | None) -> int:
    """Adds up what a balance says of the lines; 0 when it cannot be read."""
    try:
        return sum(taken.gross for taken in unpack_sums(line_sums).values())
    except struct.error:
        return 0

"""P4: red invoices never exceed the blue one they correct."""

from __future__ import annotations

from typing import Any, Final

from admin.audit.check import Check, Sources
from core.domain.kinds import InvoiceColor

# blue invoices with a balance or with reds, each with what the reds sum up to; amounts of reds are negative
SUMS: Final = (
    "SELECT r.blue_number, r.total, b.gross_total_minor, b.color, r.foreign_reds FROM"
    " (SELECT i.blue_number, SUM(i.gross_total_minor) AS total, SUM(i.seller_key <> o.seller_key) AS foreign_reds"
    "  FROM invoices i LEFT JOIN invoices o ON o.number = i.blue_number WHERE i.color = %s GROUP BY i.blue_number) r"
    " LEFT JOIN invoices b ON b.number = r.blue_number ORDER BY r.blue_number"
)
BALANCES: Final = (
    "SELECT blue_number, red_total_minor FROM red_balances WHERE blue_number > %s ORDER BY blue_number LIMIT 1000"
)


class RedsCheck(Check):
    """The reds of each blue sum up to its balance and to no more than the blue; all are of the blue's seller."""

    name = "reds do not exceed blues"
    promise = "P4"

    async def finish(self, sources: Sources) -> None:
        """Sums up on the server, compares here; the memory is that of the red-lettered invoices' numbers."""
        sums: dict[str, int] = {}
        for number, total, gross, color, foreign in await sources.snapshot.rows(SUMS, (int(InvoiceColor.RED),)):
            self.report.examined += 1
            self._look(number, int(total), gross, color, foreign)
            sums[number] = int(total)
        after = ""
        while found := await sources.snapshot.rows(BALANCES, (after,)):
            after = found[-1][0]
            for number, balance in found:
                total = sums.pop(number, 0)
                if balance != total:
                    self.report.add(f"invoice {number}", f"its red balance is {balance}, its reds sum up to {total}")
        for number, total in sums.items():
            self.report.add(f"invoice {number}", f"it has no red balance, its reds sum up to {total}")

    def _look(self, number: str | None, total: int, gross: int | None, color: int | None, foreign: Any) -> None:
        """Compares one blue with the sum of its reds."""
        subject = f"invoice {number}"
        if number is None or gross is None:
            self.report.add(subject, "has red invoices and does not exist")
        elif color != int(InvoiceColor.BLUE):
            self.report.add(subject, "has red invoices and is not blue")
        elif foreign:
            self.report.add(subject, "has red invoices of another seller")
        elif not 0 < -total <= gross:
            self.report.add(subject, f"its reds sum up to {total}, it is of {gross}")

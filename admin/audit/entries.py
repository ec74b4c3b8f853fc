"""P8 and account entry: no invoice stands in the books twice, and the history tells how each came to stand there."""

from __future__ import annotations

from typing import Final, NamedTuple

from admin.audit.check import Check, Sources
from core.domain.entry import ENTERED, EntryState

PAGE_ROWS: Final = 1_000

# every change with what is known of its invoice, in the order of the history
EVENTS: Final = (
    "SELECT e.number, e.version, e.state, e.period, e.ledger_reference, e.changed_at_us,"
    " i.number IS NOT NULL, i.buyer_tax_id IS NOT NULL FROM entry_events e FORCE INDEX (PRIMARY)"
    " LEFT JOIN invoices i ON i.number = e.number"
    " WHERE e.number > %s OR (e.number = %s AND e.version > %s) ORDER BY e.number, e.version LIMIT %s"
)
ENTRIES: Final = (
    "SELECT number, version, state, period, ledger_reference, changed_at_us FROM invoice_entries"
    " WHERE number > %s ORDER BY number LIMIT %s"
)
REPEATED: Final = (
    "SELECT tenant_key, CONVERT(request_id USING latin1), COUNT(*) FROM entry_events"
    " GROUP BY tenant_key, request_id HAVING COUNT(*) > 1 ORDER BY 1, 2"
)


class Stand(NamedTuple):
    """Where an invoice stands, as its entry or a change says."""

    number: str
    version: int
    state: int
    period: int
    ledger_reference: str
    changed_at_us: int


class EntriesCheck(Check):
    """Each history is numbered from 1, enters only what does not stand in the books, and ends as the entry says.

    One invoice entered twice shows as two entries in a row; an entry without its history, or with another, as that.
    The memory is that of the numbers of all invoices that were ever entered.
    """

    name = "invoices are entered once"
    promise = "P8"

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, Stand] = {}

    async def finish(self, sources: Sources) -> None:
        """Walks the histories, then the entries."""
        after: tuple[str, int] = ("", 0)
        while found := await sources.snapshot.rows(EVENTS, (after[0], *after, PAGE_ROWS)):
            for row in found:
                self._change(Stand(*row[:6]), exists=bool(row[6]), has_buyer=bool(row[7]))
            after = (found[-1][0], found[-1][1])
        for tenant_key, request_id, count in await sources.snapshot.rows(REPEATED):
            self.report.add(f"tenant {tenant_key}", f"its entry request {request_id!r} made {count} changes")
        number = ""
        while found := await sources.snapshot.rows(ENTRIES, (number, PAGE_ROWS)):
            for row in found:
                self._entry(Stand(*row))
            number = found[-1][0]
        for number in self._last:
            self.report.add(f"invoice {number}", "has a history of entries and no entry")

    def _change(self, change: Stand, *, exists: bool, has_buyer: bool) -> None:
        """Looks at one change of an invoice."""
        self.report.examined += 1
        subject, version, state = f"invoice {change.number}", change.version, change.state
        before = self._last.get(change.number, Stand(change.number, 0, int(EntryState.NOT_ENTERED), 0, "", 0))
        if version == 1 and not (exists and has_buyer):
            self.report.add(subject, "is entered and " + ("has no buyer" if exists else "does not exist"))
        if version != before.version + 1:
            self.report.add(subject, f"change {version} of its entry follows change {before.version}")
        if state in ENTERED and before.state in ENTERED:
            self.report.add(subject, f"change {version} enters what stands in the books")
        elif state == EntryState.WITHDRAWN and not (before.state in ENTERED and change.period == before.period):
            self.report.add(subject, f"change {version} withdraws what does not stand in the books")
        elif state not in ENTERED and state != EntryState.WITHDRAWN:
            self.report.add(subject, f"change {version} leads to the unknown state {state}")
        self._last[change.number] = change

    def _entry(self, entry: Stand) -> None:
        """Compares an entry with the last change of its history."""
        last = self._last.pop(entry.number, None)
        if last is None:
            self.report.add(f"invoice {entry.number}", "has an entry and no history of it")
        elif last != entry:
            self.report.add(f"invoice {entry.number}", f"its entry is not what change {last.version} made of it")

"""P8 and account entry: no invoice stands in the books twice, and the history tells how each came to stand there."""

from __future__ import annotations

from typing import Final, NamedTuple

from admin.audit.check import Check, Sources
from core.domain.entry import ENTERED, EntryState
from core.domain.entry_subject import IMPORT_KEY_PREFIX, import_key

PAGE_ROWS: Final = 1_000

# every change with what is known of its invoice, in the order of the history
EVENTS: Final = (
    "SELECT e.number, e.version, e.state, e.period, e.ledger_reference, e.changed_at_us,"
    " e.tenant_key, i.number IS NOT NULL, i.buyer_tax_id FROM entry_events e FORCE INDEX (PRIMARY)"
    " LEFT JOIN invoices i ON i.number = e.number"
    " WHERE e.number > %s OR (e.number = %s AND e.version > %s) ORDER BY e.number, e.version LIMIT %s"
)
ENTRIES: Final = (
    "SELECT number, version, state, period, ledger_reference, changed_at_us FROM invoice_entries"
    " WHERE number > %s ORDER BY number LIMIT %s"
)
IMPORT_KEYS: Final = (
    "SELECT number FROM entry_events WHERE number LIKE %s UNION SELECT number FROM invoice_entries WHERE number LIKE %s"
)
IMPORTS: Final = (
    "SELECT import_id, tenant_key, buyer_tax_id, code, number FROM imported_invoices"
    " WHERE import_id > %s ORDER BY import_id LIMIT %s"
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


class Imported(NamedTuple):
    """An invoice whose import was entered, and the tenants that imported it."""

    buyer_tax_id: str
    code: str
    number: str
    tenants: set[int]


class EntriesCheck(Check):
    """Each history is numbered from 1, enters only what does not stand in the books, and ends as the entry says.

    One invoice entered twice shows as two entries in a row; an entry without its history, or with another, as that.
    Imports are entered by tenants that imported them, and never while the issued invoice of their number and buyer
    stands in the books. The memory is that of the numbers of all invoices that were ever entered.
    """

    name = "invoices are entered once"
    promise = "P8"

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, Stand] = {}
        self._buyers: dict[str, str] = {}  # of issued invoices that were entered, where imports were, too
        self._imports: dict[str, Imported] = {}

    async def finish(self, sources: Sources) -> None:
        """Walks the imports that were entered, the histories, then the entries."""
        await self._read_imports(sources)
        after: tuple[str, int] = ("", 0)
        while found := await sources.snapshot.rows(EVENTS, (after[0], *after, PAGE_ROWS)):
            for row in found:
                stand, (tenant_key, is_issued, buyer) = Stand(*row[:6]), row[6:]
                self._exists(stand, tenant_key, is_issued=bool(is_issued), buyer=buyer)
                self._change(stand)
            after = (found[-1][0], found[-1][1])
        self._twice()
        for tenant_key, request_id, count in await sources.snapshot.rows(REPEATED):
            self.report.add(f"tenant {tenant_key}", f"its entry request {request_id!r} made {count} changes")
        number = ""
        while found := await sources.snapshot.rows(ENTRIES, (number, PAGE_ROWS)):
            for row in found:
                self._entry(Stand(*row))
            number = found[-1][0]
        for number in self._last:
            self.report.add(self._subject(number), "has a history of entries and no entry")

    async def _read_imports(self, sources: Sources) -> None:
        """Finds the imports that the keys in the books stand for; nothing is walked where none was entered."""
        prefix = f"{IMPORT_KEY_PREFIX}%"
        keys = {row[0] for row in await sources.snapshot.rows(IMPORT_KEYS, (prefix, prefix))}
        after = 0
        while keys and (found := await sources.snapshot.rows(IMPORTS, (after, PAGE_ROWS))):
            after = found[-1][0]
            for _, tenant_key, buyer, code, number in found:
                key = import_key(buyer, code, number)
                if key in keys:
                    self._imports.setdefault(key, Imported(buyer, code, number, set())).tenants.add(tenant_key)

    def _exists(self, change: Stand, tenant_key: int, *, is_issued: bool, buyer: str | None) -> None:
        """Looks whether what a change is of is there, and may be changed by who changed it."""
        number, version = change.number, change.version
        if number.startswith(IMPORT_KEY_PREFIX):
            if number not in self._imports:
                if version == 1:
                    self.report.add(self._subject(number), "is entered and nobody imported it")
            elif change.state in ENTERED and tenant_key not in self._imports[number].tenants:
                words = f"change {version} enters what tenant {tenant_key} did not import"
                self.report.add(self._subject(number), words)
        elif version == 1 and buyer is None:
            self.report.add(
                self._subject(number), "is entered and " + ("has no buyer" if is_issued else "does not exist")
            )
        elif buyer is not None and self._imports:
            self._buyers[number] = buyer

    def _twice(self) -> None:
        """Looks for invoices that stand in the books both as issued and as imported."""
        for key, (buyer, code, number, _) in self._imports.items():
            last = self._last.get(key), self._last.get(number)
            is_same = not code and self._buyers.get(number) == buyer
            if is_same and all(stand is not None and stand.state in ENTERED for stand in last):
                self.report.add(self._subject(number), "stands in the books as issued and as imported")

    def _subject(self, key: str) -> str:
        """What a finding calls an invoice."""
        found = self._imports.get(key)
        return f"invoice {key}" if found is None else f"import {found.code}{found.number}"

    def _change(self, change: Stand) -> None:
        """Looks at one change of an invoice."""
        self.report.examined += 1
        subject, version, state = self._subject(change.number), change.version, change.state
        before = self._last.get(change.number, Stand(change.number, 0, int(EntryState.NOT_ENTERED), 0, "", 0))
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
            self.report.add(self._subject(entry.number), "has an entry and no history of it")
        elif last != entry:
            self.report.add(self._subject(entry.number), f"its entry is not what change {last.version} made of it")

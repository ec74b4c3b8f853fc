"""Account entry and proofs of taxpayer ids in memory: the twins of the adapters in core/storage/mysql."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from core.domain.entry import ENTERED, Change, Entry, absent, answer_known, decide, invoice_not_found
from core.domain.entry_subject import Found
from core.domain.errors import BillowError
from core.domain.kinds import InvoiceState, state_of
from core.storage.entry_port import TaxIdRecord, tax_id_not_proven
from core.storage.memory.imports import MemoryImportStore
from core.storage.memory.tables import MemoryTables


class MemoryTaxIdStore:
    """The TaxIdStore of core/storage/entry_port.py."""

    def __init__(self) -> None:
        self._claims: dict[tuple[int, str], TaxIdRecord] = {}

    async def claim(self, tenant_key: int, tax_id: str, *, now_us: int) -> TaxIdRecord:
        """Claims an id; see the port."""
        return self._claims.setdefault((tenant_key, tax_id), TaxIdRecord(tenant_key, tax_id, now_us, None))

    async def confirm(self, tenant_key: int, tax_id: str, *, now_us: int) -> TaxIdRecord:
        """Confirms a claim; see the port."""
        claim = self._claims.get((tenant_key, tax_id))
        if claim is None:
            raise tax_id_not_proven(tax_id)
        if claim.confirmed_at_us is None:
            claim = self._claims[tenant_key, tax_id] = replace(claim, confirmed_at_us=now_us)
        return claim

    async def revoke(self, tenant_key: int, tax_id: str) -> None:
        """Takes a claim away; see the port."""
        self._claims.pop((tenant_key, tax_id), None)

    async def tax_ids(self, tenant_key: int, *, after: str, items_max: int) -> list[TaxIdRecord]:
        """Lists claims; see the port."""
        own = [claim for (tenant, tax_id), claim in sorted(self._claims.items()) if tenant == tenant_key]
        return [claim for claim in own if claim.tax_id > after][:items_max]

    async def is_proven(self, tenant_key: int, tax_id: str) -> bool:
        """Tells whether a claim is confirmed; see the port."""
        claim = self._claims.get((tenant_key, tax_id))
        return claim is not None and claim.confirmed_at_us is not None


class MemoryEntryStore:
    """The EntryStore of core/storage/entry_port.py over MemoryTables, the imports and the proofs."""

    def __init__(
        self,
        *,
        tables: MemoryTables,
        tax_ids: MemoryTaxIdStore,
        imports: MemoryImportStore,
        now_us: Callable[[], int],
    ) -> None:
        self._tables = tables
        self._tax_ids = tax_ids
        self._imports = imports
        self._now_us = now_us
        self._events: dict[str, list[Entry]] = {}  # by key in the books
        self._known: dict[tuple[int, str], tuple[bytes, Entry]] = {}

    async def booked(self, numbers: Collection[str]) -> set[str]:
        """Tells what stands in the books; see the port."""
        return {number for number in numbers if self._is_entered(number)}

    async def change(self, tenant_key: int, changes: Sequence[Change]) -> list[Entry | BillowError]:
        """Makes changes; see the port."""
        return [await self._change(tenant_key, change) for change in changes]

    async def history(
        self, tenant_key: int, number: str, code: str = "", *, imported: bool = True
    ) -> list[Entry] | None:
        """Reads all changes; see the port."""
        found = await self._found(tenant_key, code, number)
        key = (found if imported else replace(found, imported_to="")).subject(self._is_entered)
        return None if key is None else list(self._events.get(key, ()))

    async def _change(self, tenant_key: int, change: Change) -> Entry | BillowError:
        found = await self._found(tenant_key, change.code, change.number)
        key = found.subject(self._is_entered)
        if key is None:
            return invoice_not_found(change.number)
        known = self._known.get((tenant_key, change.request_id))
        if known is not None:
            return answer_known(change, *known)
        fully_red = await self._is_fully_red(tenant_key, found, key)
        events = self._events.get(key)
        present = events[-1] if events else absent(change.number, change.code)
        outcome = decide(present, change, fully_red=fully_red, now_us=self._now_us())
        if isinstance(outcome, Entry):
            self._events.setdefault(key, []).append(outcome)
            if outcome.state in ENTERED:  # red-lettering looks here, as it looks into invoice_entries
                self._tables.booked.add(key)
            else:
                self._tables.booked.discard(key)
            self._known[tenant_key, change.request_id] = change.sha256(), outcome
        return outcome

    async def _found(self, tenant_key: int, code: str, number: str) -> Found:
        """What the tenant can reach under a code and number."""
        row = None if code else self._tables.invoices.get(number)
        brought = await self._imports.find(tenant_key, code, number)
        buyers = [row.issued.buyer_tax_id if row else "", brought.buyer_tax_id if brought else ""]
        issued_to, imported_to = [
            buyer if buyer and await self._tax_ids.is_proven(tenant_key, buyer) else "" for buyer in buyers
        ]
        return Found(code=code, number=number, issued=row is not None, issued_to=issued_to, imported_to=imported_to)

    async def _is_fully_red(self, tenant_key: int, found: Found, key: str) -> bool:
        if key == found.number:
            row = self._tables.invoices[key]
            return state_of(row.issued.gross_total_minor, row.red_total_minor) == InvoiceState.FULLY_RED
        brought = await self._imports.find(tenant_key, found.code, found.number)
        reds = self._imports.red_total_minor(brought) if brought else 0
        return brought is not None and state_of(brought.gross_total_minor, reds) == InvoiceState.FULLY_RED

    def _is_entered(self, key: str) -> bool:
        events = self._events.get(key)
        return events is not None and events[-1].state in ENTERED

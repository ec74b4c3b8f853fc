"""Account entry and proofs of taxpayer ids in memory: the twins of the adapters in core/storage/mysql."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from core.domain.entry import ENTERED, Change, Entry, absent, answer_known, decide, invoice_not_found
from core.domain.errors import BillowError
from core.domain.kinds import InvoiceState, state_of
from core.storage.entry_port import TaxIdRecord, tax_id_not_proven
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
    """The EntryStore of core/storage/entry_port.py over MemoryTables and the proofs."""

    def __init__(self, *, tables: MemoryTables, tax_ids: MemoryTaxIdStore, now_us: Callable[[], int]) -> None:
        self._tables = tables
        self._tax_ids = tax_ids
        self._now_us = now_us
        self._events: dict[str, list[Entry]] = {}
        self._known: dict[tuple[int, str], tuple[bytes, Entry]] = {}

    async def booked(self, numbers: Collection[str]) -> set[str]:
        """Tells what stands in the books; see the port."""
        return {number for number in numbers if self._present(number).state in ENTERED}

    async def change(self, tenant_key: int, changes: Sequence[Change]) -> list[Entry | BillowError]:
        """Makes changes; see the port."""
        return [await self._change(tenant_key, change) for change in changes]

    async def history(self, tenant_key: int, number: str) -> list[Entry] | None:
        """Reads all changes; see the port."""
        return list(self._events.get(number, ())) if await self._visible(tenant_key, number) else None

    async def _change(self, tenant_key: int, change: Change) -> Entry | BillowError:
        if not await self._visible(tenant_key, change.number):
            return invoice_not_found(change.number)
        known = self._known.get((tenant_key, change.request_id))
        if known is not None:
            return answer_known(change, *known)
        row = self._tables.invoices[change.number]
        fully_red = state_of(row.issued.gross_total_minor, row.red_total_minor) == InvoiceState.FULLY_RED
        outcome = decide(self._present(change.number), change, fully_red=fully_red, now_us=self._now_us())
        if isinstance(outcome, Entry):
            self._events.setdefault(change.number, []).append(outcome)
            if outcome.state in ENTERED:  # red-lettering looks here, as it looks into invoice_entries
                self._tables.booked.add(change.number)
            else:
                self._tables.booked.discard(change.number)
            self._known[tenant_key, change.request_id] = change.sha256(), outcome
        return outcome

    def _present(self, number: str) -> Entry:
        events = self._events.get(number)
        return events[-1] if events else absent(number)

    async def _visible(self, tenant_key: int, number: str) -> bool:
        row = self._tables.invoices.get(number)
        return row is not None and await self._tax_ids.is_proven(tenant_key, row.issued.buyer_tax_id)

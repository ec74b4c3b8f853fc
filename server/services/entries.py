"""Account entry: entering invoices into the books of their buyer, and taking them out (docs/adr/0018)."""

from __future__ import annotations

from collections.abc import Sequence

from core.domain.entry import Change, Entry, absent, invoice_not_found, name_faults
from core.domain.errors import BillowError
from core.storage.entry_port import EntryStore
from server.services.auth import Caller
from server.services.patience import Patience
from server.services.registry_rules import refuse


class EntryService:
    """Changes and reads entries of invoices whose buyer's taxpayer id the caller's tenant has proved (P8).

    They were issued here or imported by that tenant (docs/adr/0025).

    While the database is away a call waits for up to `wait_max_ms`: changes carry request ids and may be repeated.
    """

    def __init__(self, *, store: EntryStore, wait_max_ms: int) -> None:
        self._store = store
        self._patiently = Patience(wait_max_ms=wait_max_ms)

    async def change(self, caller: Caller, wanted: Sequence[Change | BillowError]) -> list[Entry | BillowError]:
        """Makes the changes that broke no rule and answers each, in order; round trips as EntryStore.change."""
        good = [item for item in wanted if isinstance(item, Change)]
        made = await self._patiently(lambda: self._store.change(caller.tenant_key, good))
        answers = iter(made)
        return [next(answers) if isinstance(item, Change) else item for item in wanted]

    async def get(self, caller: Caller, number: str, code: str = "") -> tuple[Entry, list[Entry]]:
        """Reads an entry and all its changes, oldest first; 2 round trips.

        Raises INVALID_REQUEST, INVOICE_NOT_FOUND.
        """
        broken = name_faults(number, code)
        if broken:
            refuse(broken)
        history = await self._patiently(lambda: self._store.history(caller.tenant_key, number, code))
        if history is None:
            raise invoice_not_found(number)
        return history[-1] if history else absent(number, code), history

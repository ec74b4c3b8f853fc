"""The ports to account entry and to the proofs of taxpayer ids. Errors as in ports.py."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.domain.entry import Change, Entry
from core.domain.errors import BillowError, Reason


@dataclass(frozen=True, slots=True)
class TaxIdRecord:
    """A tenant's claim to a taxpayer id; `confirmed_at_us` None: nobody has confirmed it."""

    tenant_key: int
    tax_id: str
    claimed_at_us: int
    confirmed_at_us: int | None


class TaxIdStore(Protocol):
    """Keeps which taxpayer ids a tenant has claimed and proved; the primary's. Nothing is validated here.

    Several tenants may prove the same id: a company and whoever keeps its books.
    """

    async def claim(self, tenant_key: int, tax_id: str, *, now_us: int) -> TaxIdRecord:
        """Claims an id; the first time counts. 2 round trips."""
        ...

    async def confirm(self, tenant_key: int, tax_id: str, *, now_us: int) -> TaxIdRecord:
        """Confirms a claim; the first time counts. Raises TAX_ID_NOT_PROVEN without a claim. At most 4 round trips.

        From then on the invoices issued to the id are collected, earlier ones included (`Collector.follow`).
        """
        ...

    async def revoke(self, tenant_key: int, tax_id: str) -> None:
        """Takes a claim away; 1 round trip."""
        ...

    async def tax_ids(self, tenant_key: int, *, after: str, items_max: int) -> list[TaxIdRecord]:
        """Lists a tenant's claims by id; 1 round trip."""
        ...

    async def is_proven(self, tenant_key: int, tax_id: str) -> bool:
        """Tells whether a tenant has a confirmed claim; 1 round trip."""
        ...


class BookedInvoices(Protocol):
    """Tells which invoices stand in their buyers' books (states 02 and 03)."""

    async def booked(self, numbers: Collection[str]) -> set[str]:
        """Returns those of the numbers that stand in the books; 1 round trip.

        An entry may be committed right after. Who must not miss one asks in a transaction of its own that has locked
        the invoice's row: entries lock it, too (`core.storage.mysql.entries.MySQLBookedInvoices`).
        """
        ...


class EntryStore(BookedInvoices, Protocol):
    """Keeps the entries; the primary's."""

    async def change(self, tenant_key: int, changes: Sequence[Change]) -> list[Entry | BillowError]:
        """Makes the changes that are allowed in one durable transaction, in order, and answers each, in order.

        A code and number mean the invoice issued here, else the tenant's own import, as core.domain.entry_subject says.
        Only invoices to a taxpayer id the tenant has proved exist: others are INVOICE_NOT_FOUND. A known request id
        gets its first answer, or REQUEST_ID_REUSED. Otherwise as core.domain.entry.decide; an import counts as fully
        red when the reds that its taxpayer's tenants imported, of the same seller and naming its number, take back
        all of it. The rows of imports, then those of invoices, are locked by ascending number before anything else is
        read, so of any number of changes of one invoice at once each sees what those before it did. Raises
        STORAGE_UNAVAILABLE when it is not known what happened: the same call finds out. 8 round trips, 10 when anything
        changes; 1 more for invoices issued here and imports in one call.
        """
        ...

    async def history(
        self, tenant_key: int, number: str, code: str = "", *, imported: bool = True
    ) -> list[Entry] | None:
        """Reads all changes of an invoice, oldest first; None as INVOICE_NOT_FOUND above. 2 round trips.

        `imported` False: invoices that were not issued here, or not to an id the tenant has proved, are None.
        """
        ...


def tax_id_not_proven(tax_id: str) -> BillowError:
    """The error for a taxpayer id that is not confirmed to be the tenant's."""
    words = f"taxpayer id {tax_id!r} is not confirmed to be this tenant's"
    return BillowError(Reason.TAX_ID_NOT_PROVEN, words, metadata={"tax_id": tax_id})

"""What the contract of account entry is tested on: the MySQL store and its twin."""

from __future__ import annotations

from typing import Protocol

from core.settings import MySQLSettings
from core.storage.entry_port import EntryStore, TaxIdStore
from core.storage.import_port import ImportStore
from core.storage.memory.entries import MemoryEntryStore, MemoryTaxIdStore
from core.storage.memory.imports import MemoryImportStore
from core.storage.mysql.entries import MySQLEntryStore
from core.storage.mysql.imports import MySQLImportStore
from core.storage.mysql.tax_ids import MySQLTaxIdStore
from tests.contract.registry_subjects import Books, MemoryBooks, MySQLBooks, now_us


class EntrySubject(Protocol):
    """Books with entries and proofs over the same data."""

    @property
    def books(self) -> Books:
        """Registry, issuing, reading."""
        ...

    @property
    def tax_ids(self) -> TaxIdStore:
        """Proofs."""
        ...

    @property
    def imports(self) -> ImportStore:
        """Imported invoices."""
        ...

    @property
    def entries(self) -> EntryStore:
        """Entries."""
        ...


class MemoryEntrySubject:
    """The twins."""

    def __init__(self) -> None:
        self.books = MemoryBooks()
        self.tax_ids = MemoryTaxIdStore()
        self.imports = MemoryImportStore()
        self.entries = MemoryEntryStore(
            tables=self.books.tables, tax_ids=self.tax_ids, imports=self.imports, now_us=now_us
        )

    async def close(self) -> None:
        """Nothing to close."""


class MySQLEntrySubject:
    """The real stores."""

    def __init__(self, settings: MySQLSettings) -> None:
        self.books = MySQLBooks(settings, from_replica=False)
        self.tax_ids = MySQLTaxIdStore(primary=lambda: self.books.primary)
        self.imports = MySQLImportStore(primary=lambda: self.books.primary)
        self.entries = MySQLEntryStore(primary=lambda: self.books.primary, now_us=now_us)

    async def close(self) -> None:
        """Closes all connections."""
        await self.books.close()

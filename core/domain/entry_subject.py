"""What an entry is of: an invoice issued here, or one that was imported. Pure, no I/O (docs/adr/0025).

The books know an issued invoice by its number, and an imported one by the key that `import_key` makes of its buyer,
code and number: the same for all tenants that keep the books of one taxpayer, and never that of another taxpayer, who
could otherwise take an invoice's place with a document of his own making.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.limits import NUMBER_CHARS

IMPORT_KEY_PREFIX: Final = "i"


def import_key(buyer_tax_id: str, code: str, number: str) -> str:
    """The key of an imported invoice in the books: as long as a number, and never one; 114 bits of a SHA-256."""
    digest = hashlib.sha256("\x00".join((buyer_tax_id, code, number)).encode()).digest()
    return (IMPORT_KEY_PREFIX + base64.urlsafe_b64encode(digest).decode())[:NUMBER_CHARS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one tenant can reach under a code and number.

    `issued`: an invoice of this number was issued here. `issued_to`: its buyer, if the tenant has proved that id, else
    empty. `imported_to`: the buyer of the tenant's own import, likewise.
    """

    code: str
    number: str
    issued: bool
    issued_to: str
    imported_to: str

    def import_keys(self) -> list[str]:
        """The keys under which imports of it may stand in the books."""
        buyers = dict.fromkeys(buyer for buyer in (self.imported_to, self.issued_to) if buyer)
        return [import_key(buyer, self.code, self.number) for buyer in buyers]

    def book_keys(self) -> list[str]:
        """All keys under which it may stand in the books."""
        return [*self.import_keys(), *([self.number] if self.issued_to else [])]

    def subject(self, is_entered: Callable[[str], bool]) -> str | None:
        """The key that a change means; None: for this tenant there is no such invoice.

        An import that stands in the books is meant until it is withdrawn, also when its number has been issued here
        since. Otherwise it is the issued invoice, and the tenant's import only where none was issued.
        """
        for key in self.import_keys():
            if is_entered(key):
                return key
        if self.issued:
            return self.number if self.issued_to else None
        return import_key(self.imported_to, self.code, self.number) if self.imported_to else None

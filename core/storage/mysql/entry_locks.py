# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""What an entry locks and reads of invoices before it decides, on MySQL.

Imports come before invoices: every import of the same number, other tenants' too, is locked, and only then is looked
whether an invoice of that number was issued here. So of two entries of one invoice, one of which would find it issued
and the other not yet, the later sees the earlier.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiomysql

from core.domain.entry_subject import Found, import_key
from core.domain.kinds import InvoiceColor, InvoiceState, state_of
from core.storage.mysql.pool import rows

LOCK_IMPORTS: Final = (
    "SELECT number, code, tenant_key, buyer_tax_id, seller_tax_id, gross_total_minor FROM imported_invoices"
    " FORCE INDEX (by_invoice) WHERE number IN ({places}) ORDER BY number, code, import_id FOR UPDATE"
)
LOCK: Final = (
    "SELECT number, buyer_tax_id, gross_total_minor FROM invoices FORCE INDEX (PRIMARY)"
    " WHERE number IN ({places}) ORDER BY number FOR UPDATE"
)
REDS: Final = "SELECT blue_number, red_total_minor FROM red_balances WHERE blue_number IN ({places})"
# one red counts once, whoever of its taxpayer's tenants imported it
IMPORTED_REDS: Final = (
    "SELECT blue_number, buyer_tax_id, seller_tax_id, MIN(gross_total_minor) FROM imported_invoices"
    f" FORCE INDEX (by_blue) WHERE blue_number IN ({{places}}) AND color = {int(InvoiceColor.RED)}"
    " GROUP BY blue_number, buyer_tax_id, seller_tax_id, code, number"
)
_PROVEN = (
    "SELECT tax_id FROM tenant_tax_ids WHERE tenant_key = %s AND tax_id IN ({places}) AND confirmed_at_us IS NOT NULL"
)

Name = tuple[str, str]  # code and number


@dataclass(slots=True)
class Locked:
    """One invoice whose rows are locked. Totals and the sums of reds are by key in the books."""

    found: Found
    seller_tax_id: str = ""  # on the tenant's import
    totals: dict[str, int] = field(default_factory=dict)
    reds: dict[str, int] = field(default_factory=dict)

    def is_fully_red(self, key: str) -> bool:
        """Tells whether reds have taken back all of it."""
        return state_of(self.totals.get(key, 0), self.reds.get(key, 0)) is InvoiceState.FULLY_RED


async def lock(connection: aiomysql.Connection, tenant_key: int, names: Collection[Name]) -> Mapping[Name, Locked]:
    """Locks the rows of the invoices and returns what a tenant can reach of them; 3 round trips."""
    numbers = sorted({number for _, number in names})
    imports = await select(connection, LOCK_IMPORTS, numbers)
    invoices = await select(connection, LOCK, sorted({number for code, number in names if not code}))
    own = {(code, number): rest for number, code, tenant, *rest in imports if tenant == tenant_key}
    own = {name: own[name] for name in names if name in own}
    issued = {number: (buyer or "", total) for number, buyer, total in invoices}
    buyers = {buyer for buyer, _ in issued.values() if buyer} | {buyer for buyer, _, _ in own.values()}
    proven = {row[0] for row in await select(connection, _PROVEN, sorted(buyers), tenant_key)}
    locked = {}
    for name in names:
        code, number = name
        is_issued = not code and number in issued
        issued_to, issued_total = issued[number] if is_issued else ("", 0)
        imported_to, seller, imported_total = own.get(name, ("", "", 0))
        found = Found(
            code=code,
            number=number,
            issued=is_issued,
            issued_to=issued_to if issued_to in proven else "",
            imported_to=imported_to if imported_to in proven else "",
        )
        locked[name] = Locked(found, seller)
        if found.issued_to:
            locked[name].totals[number] = issued_total
        if found.imported_to:
            locked[name].totals[import_key(found.imported_to, code, number)] = imported_total
    return locked


async def read_reds(connection: aiomysql.Connection, invoices: Mapping[Name, Locked]) -> None:
    """Reads what reds have taken back; 1 round trip, 2 where there are issued invoices and imports."""
    issued = {number: invoice for (_, number), invoice in invoices.items() if invoice.found.issued_to}
    for number, total in await select(connection, REDS, sorted(issued)):
        issued[number].reds[number] = int(total)
    # a red names its blue by the number alone, so that of an older invoice with a code cannot be found by it
    imported = {
        (number, invoice.found.imported_to, invoice.seller_tax_id): invoice
        for (code, number), invoice in invoices.items()
        if invoice.found.imported_to and not invoice.found.issued and not code
    }
    for *blue, total in await select(connection, IMPORTED_REDS, sorted({number for number, _, _ in imported})):
        invoice = imported.get(tuple(blue))
        if invoice is not None:
            key = import_key(invoice.found.imported_to, "", invoice.found.number)
            invoice.reds[key] = invoice.reds.get(key, 0) + int(total)


async def select(connection: aiomysql.Connection, sql: str, keys: Sequence[Any], *before: Any) -> list[tuple[Any, ...]]:
    """Runs a statement with `{places}` for the keys; no round trip without keys."""
    if not keys:
        return []
    return await rows(connection, sql.format(places=places(len(keys))), (*before, *keys))


def places(count: int) -> str:
    """Returns so many placeholders."""
    return ",".join(["%s"] * count)

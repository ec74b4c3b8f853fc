"""Rows of `invoices` as answers: the columns, and the statements that find them by request id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from core.storage.ports import Draft, Issued
from core.storage.red_letter_port import RedDraft

ISSUED_COLUMNS = (
    "number, seller_key, request_id, request_sha256, kind, color, issued_at_us, net_total_minor, tax_total_minor,"
    " gross_total_minor, buyer_tax_id, body_sha256"
)


def lookups(drafts: Iterable[Draft | RedDraft]) -> list[tuple[str, tuple[Any, ...]]]:
    """The statements that look the drafts' request ids up, one a seller, each with its values."""
    by_seller: dict[int, list[str]] = {}
    for draft in drafts:
        by_seller.setdefault(draft.seller_key, []).append(draft.request_id)
    statements: list[tuple[str, tuple[Any, ...]]] = []
    for seller_key, request_ids in by_seller.items():
        places = ",".join(["%s"] * len(request_ids))
        # the index is named, or stale statistics make it read all invoices of the seller
        sql = (
            f"SELECT {ISSUED_COLUMNS} FROM invoices FORCE INDEX (by_request)"  # noqa: S608 (placeholders)
            f" WHERE seller_key = %s AND request_id IN ({places})"
        )
        statements.append((sql, (seller_key, *request_ids)))
    return statements


def issued_from(row: Sequence[Any]) -> Issued:
    """Builds an Issued from the columns ISSUED_COLUMNS."""
    issued = Issued(*row)
    issued.request_id = row[2].decode("ascii")
    issued.buyer_tax_id = issued.buyer_tax_id or ""
    return issued

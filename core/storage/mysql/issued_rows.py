"""Rows of `invoices` as answers: the columns, and the statements that find them by request id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from core.limits import LOOKUP_SELLERS_MAX
from core.storage.pieces import pieces
from core.storage.ports import Draft, Issued
from core.storage.red_letter_port import RedDraft

ISSUED_COLUMNS = (
    "number, seller_key, request_id, request_sha256, kind, color, issued_at_us, net_total_minor, tax_total_minor,"
    " gross_total_minor, buyer_tax_id, body_sha256"
)


def lookups(drafts: Iterable[Draft | RedDraft]) -> list[tuple[str, tuple[Any, ...]]]:
    """The statements that look the drafts' request ids up, LOOKUP_SELLERS_MAX sellers each, with their values."""
    by_seller: dict[int, list[str]] = {}
    for draft in drafts:
        by_seller.setdefault(draft.seller_key, []).append(draft.request_id)
    statements: list[tuple[str, tuple[Any, ...]]] = []
    for some in pieces(list(by_seller.items()), LOOKUP_SELLERS_MAX):
        terms = [f"seller_key = %s AND request_id IN ({','.join(['%s'] * len(ids))})" for _, ids in some]
        # the index is named, or stale statistics make it read all invoices of the sellers
        sql = (
            f"SELECT {ISSUED_COLUMNS} FROM invoices FORCE INDEX (by_request)"  # noqa: S608 (placeholders)
            f" WHERE {' OR '.join(terms)}"
        )
        statements.append((sql, tuple(value for seller_key, ids in some for value in (seller_key, *ids))))
    return statements


def issued_from(row: Sequence[Any]) -> Issued:
    """Builds an Issued from the columns ISSUED_COLUMNS."""
    issued = Issued(*row)
    issued.request_id = row[2].decode("ascii")
    issued.buyer_tax_id = issued.buyer_tax_id or ""
    return issued

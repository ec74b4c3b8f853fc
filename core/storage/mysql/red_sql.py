# ruff: noqa: S608 -- integers, and texts as hexadecimal literals, as in issuing_sql.py
"""The writing statements of a red commit. Built by hand as those of issuing_sql.py, and as safe."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from core.domain import body
from core.domain.kinds import InvoiceColor
from core.domain.red_letter import Sums, pack_sums
from core.storage.mysql.batch_feed import NOW_US
from core.storage.mysql.issuing_sql import INSERT_INVOICES
from core.storage.ports import Issued
from core.storage.red_letter_port import RedDraft, RedShape

Accepted = Sequence[tuple[RedDraft, RedShape]]
_RED = int(InvoiceColor.RED)


def _hex(value: bytes) -> str:
    return f"X'{value.hex()}'"


def insert_reds(accepted: Accepted, numbers: Sequence[str], issued_at_us: int) -> tuple[str, list[Issued]]:
    """Finishes the digests, builds the multi-row INSERT, and returns it with the answers."""
    rows: list[str] = []
    issued: list[Issued] = []
    for position, ((wish, shape), number) in enumerate(zip(accepted, numbers, strict=True)):
        draft = shape.draft
        digest = hashlib.sha256(draft.prepared + body.suffix(issued_at_us, number)).digest()
        buyer = _hex(draft.buyer_tax_id.encode()) if draft.buyer_tax_id else "NULL"
        rows.append(
            f"({_hex(number.encode())},{draft.seller_key:d},{_hex(draft.request_id.encode())},"
            f"{_hex(draft.request_sha256)},{draft.kind:d},{_RED:d},{issued_at_us:d},{draft.net_total_minor:d},"
            f"{draft.tax_total_minor:d},{draft.gross_total_minor:d},{buyer},{_hex(wish.blue_number.encode())},"
            f"{_hex(digest)},LAST_INSERT_ID(),{position:d})"
        )
        issued.append(
            Issued(
                number,
                draft.seller_key,
                draft.request_id,
                draft.request_sha256,
                draft.kind,
                _RED,
                issued_at_us,
                draft.net_total_minor,
                draft.tax_total_minor,
                draft.gross_total_minor,
                draft.buyer_tax_id,
                digest,
            )
        )
    return INSERT_INVOICES + ",".join(rows), issued


def write_balances(accepted: Accepted, sums: Mapping[str, Sums]) -> str:
    """Writes the balance of every blue that a red was accepted for, as counted under its lock.

    When, the database says: whoever looks for late changes (workers/red_letter.py) asks by one clock.
    """
    rows = []
    for number in sorted({wish.blue_number for wish, _ in accepted}):
        total = -sum(taken.gross for taken in sums[number].values())
        line_sums = _hex(pack_sums(sums[number]))
        rows.append(f"({_hex(number.encode())},{total:d},{line_sums},{NOW_US})")
    return (
        "INSERT INTO red_balances (blue_number, red_total_minor, line_sums, changed_at_us) VALUES "
        + ",".join(rows)
        + " ON DUPLICATE KEY UPDATE red_total_minor = VALUES(red_total_minor), line_sums = VALUES(line_sums),"
        " changed_at_us = VALUES(changed_at_us)"
    )


def use_forms(accepted: Accepted, numbers: Sequence[str]) -> list[str]:
    """Notes in each form used which red invoice used it."""
    return [
        f"UPDATE red_confirmations SET red_number = {_hex(number.encode())}"
        f" WHERE confirmation_id = {_hex(wish.confirmation_id.encode())}"
        for (wish, _), number in zip(accepted, numbers, strict=True)
        if wish.confirmation_id
    ]

# ruff: noqa: S608 -- the one module that writes values into SQL text (docs/adr/0003)
"""The hand-built SQL of the hot insert: the only place where values are written into statement text.

Why by hand: a multi-row INSERT of 500 rows written here costs about a tenth of the same rows escaped one parameter at
a time by the driver (docs/adr/0003). Why that is safe: integers are formatted as integers, and every text or binary
value is written as a hexadecimal literal, so no byte of a caller's can end a literal. Tests feed it hostile strings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from core.domain.body import NUMBER_TAG, time_part
from core.domain.kinds import InvoiceColor
from core.storage.block import Run, pack_runs
from core.storage.ports import Draft, Issued

INSERT_INVOICES = (
    "INSERT INTO invoices (number, seller_key, request_id, request_sha256, kind, color, issued_at_us, net_total_minor,"
    " tax_total_minor, gross_total_minor, buyer_tax_id, blue_number, body_sha256, batch_id, batch_position) VALUES "
)

# LAST_INSERT_ID() is the batch's id: `invoices` has no AUTO_INCREMENT column that would change it
_ROW = "(X'%s',%d,X'%s',X'%s',%d,%d,%d,%d,%d,%d,%s,NULL,X'%s',LAST_INSERT_ID(),%d)"
_BLUE = int(InvoiceColor.BLUE)


def lock_ranges(range_ids: Sequence[int]) -> str:
    """Starts the transaction and locks ranges in the order of their ids, so that two transactions cannot deadlock.

    The last column is the database's epoch, read in the same look: the caller compares it (docs/adr/0029).
    """
    wanted = ",".join(map(str, sorted(range_ids)))
    return (
        "START TRANSACTION READ WRITE;"
        " SELECT range_id, first_number, size, used, quota_on, seller_key, (SELECT epoch FROM fencing)"
        " FROM number_ranges"
        f" WHERE range_id IN ({wanted}) ORDER BY range_id FOR UPDATE"
    )


def take_numbers(taken: dict[int, int]) -> str:
    """Moves the ranges on: `taken` says how many numbers of which range. A statement for all that move as far."""
    as_far: dict[int, list[int]] = {}
    for range_id, count in taken.items():
        as_far.setdefault(count, []).append(range_id)
    return "; ".join(
        f"UPDATE number_ranges SET used = used + {count:d} WHERE range_id IN ({','.join(map(str, range_ids))})"
        for count, range_ids in as_far.items()
    )


def insert_batch(issued_at_us: int, items: int, runs: Sequence[Run], block: bytes) -> str:
    """Writes the batch's row, which is also its outbox row, and a row for each of its runs (docs/adr/0028).

    LAST_INSERT_ID() is the batch's id after it: `seller_runs` has no AUTO_INCREMENT column.
    """
    listed = ",".join(
        f"({run.seller_key:d},{issued_at_us:d},'{int(run.first_number):020d}','{int(run.last_number):020d}')"
        for run in runs
    )
    return (
        "INSERT INTO batches (issued_at_us, items, runs, block) VALUES"
        f" ({issued_at_us:d},{items:d},X'{pack_runs(runs).hex()}',X'{block.hex()}');"
        f" INSERT INTO seller_runs (seller_key, issued_at_us, first_number, last_number) VALUES {listed}"
    )


def insert_invoices(drafts: Sequence[Draft], numbers: Sequence[str], issued_at_us: int) -> tuple[str, list[Issued]]:
    """Finishes the digests, builds the multi-row INSERT, and returns it with the answers; about 6 µs a row."""
    rows: list[str] = []
    issued: list[Issued] = []
    head = time_part(issued_at_us) + NUMBER_TAG
    sha256 = hashlib.sha256
    for position, (draft, number) in enumerate(zip(drafts, numbers, strict=True)):
        digits = number.encode()
        digest = sha256(draft.prepared + head + digits).digest()
        buyer = draft.buyer_tax_id
        rows.append(
            _ROW
            % (
                digits.hex(),
                draft.seller_key,
                draft.request_id.encode().hex(),
                draft.request_sha256.hex(),
                draft.kind,
                _BLUE,
                issued_at_us,
                draft.net_total_minor,
                draft.tax_total_minor,
                draft.gross_total_minor,
                f"X'{buyer.encode().hex()}'" if buyer else "NULL",
                digest.hex(),
                position,
            )
        )
        issued.append(
            Issued(
                number,
                draft.seller_key,
                draft.request_id,
                draft.request_sha256,
                draft.kind,
                _BLUE,
                issued_at_us,
                draft.net_total_minor,
                draft.tax_total_minor,
                draft.gross_total_minor,
                buyer,
                digest,
            )
        )
    return INSERT_INVOICES + ",".join(rows), issued

"""Packs claimed batches into the bytes of a segment. Pure: blocks for some 30 µs an invoice, so it runs in a thread."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from billow.types.v1.invoice_pb2 import Invoice
from core.domain.body import NUMBER_TAG, time_part
from core.domain.kinds import InvoiceColor
from core.storage import block, segments
from core.storage.block import BlockCorrupt
from core.storage.ports import BatchRow, PackedSegment


@dataclass(frozen=True, slots=True)
class Packing:
    """A segment ready to be stored, and the batches that cannot be part of any, with the reason."""

    packed: PackedSegment
    data: bytes
    refused: dict[int, str]


def pack(batches: Sequence[BatchRow], *, retention_days: int) -> Packing:
    """Packs batches in the order given, leaving out those that are not what their rows say, so that one bad block
    does not hold the archive up. Raises BlockCorrupt when none is left.
    """
    columns = segments.Columns()
    good: list[BatchRow] = []
    refused: dict[int, str] = {}
    for batch in batches:
        try:
            columns.extend(_rows(batch))
            good.append(batch)
        except BlockCorrupt as error:
            refused[batch.batch_id] = str(error)
    if not good:
        raise BlockCorrupt(f"no batch can be packed: {refused}")
    data = segments.write(columns)
    sha256 = hashlib.sha256(data).digest()
    return Packing(
        packed=PackedSegment(
            object_key=segments.object_key(min(batch.issued_at_us for batch in good), sha256),
            sha256=sha256,
            size_bytes=len(data),
            invoices=len(columns),
            retain_until_us=segments.retain_until_us(max(batch.issued_at_us for batch in good), retention_days),
            batches=good,
        ),
        data=data,
        refused=refused,
    )


def _rows(batch: BatchRow) -> segments.Columns:
    """Makes the rows of one batch; raises BlockCorrupt."""
    unpacked = block.unpack(batch.block or b"")
    numbers = block.numbers(batch.runs)
    if not len(numbers) == len(unpacked.bodies) == batch.items:
        raise BlockCorrupt(f"{batch.items} items, {len(numbers)} numbers, {len(unpacked.bodies)} bodies")
    head = time_part(batch.issued_at_us) + NUMBER_TAG
    bodies = [prepared + head + number.encode() for prepared, number in zip(unpacked.bodies, numbers, strict=True)]
    columns = segments.Columns(
        number=numbers,
        seller_key=[run.seller_key for run in batch.runs for _ in range(run.count)],
        request_id=unpacked.request_ids,
        issued_at=[batch.issued_at_us] * batch.items,
        body=bodies,
        body_sha256=[hashlib.sha256(body).digest() for body in bodies],
        batch_id=[batch.batch_id] * batch.items,
        batch_position=list(range(batch.items)),
    )
    try:
        _describe(columns, bodies)
    except DecodeError as error:
        raise BlockCorrupt(f"a body is no invoice: {error}") from error
    return columns


def _describe(columns: segments.Columns, bodies: Sequence[bytes]) -> None:
    """Adds the columns that only the bodies know."""
    parse, blue = Invoice.FromString, int(InvoiceColor.BLUE)
    for body in bodies:
        invoice = parse(body)
        buyer = invoice.buyer
        columns.seller_tax_id.append(invoice.seller.tax_id)
        columns.kind.append(invoice.kind)
        columns.color.append(invoice.color or blue)
        columns.currency.append(invoice.currency)
        columns.net_total_minor.append(invoice.net_total_minor)
        columns.tax_total_minor.append(invoice.tax_total_minor)
        columns.gross_total_minor.append(invoice.gross_total_minor)
        columns.buyer_name.append(buyer.name)
        columns.buyer_tax_id.append(buyer.tax_id)

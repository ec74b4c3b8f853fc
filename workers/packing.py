"""Packs claimed batches into the bytes of a segment. Pure: blocks for some 30 µs an invoice, so it runs in a thread."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from billow.types.v1.invoice_pb2 import Invoice

from core.domain.body import NUMBER_TAG, time_part
from core.domain.kinds import InvoiceColor
from core.storage import block, segments
from core.storage.block import BlockCorrupt
from core.storage.ports import BatchRow, PackedSegment


@dataclass(frozen=True, slots=True)
class Packing:
    """A segment ready to be stored."""

    packed: PackedSegment
    data: bytes


def pack(batches: Sequence[BatchRow], *, retention_days: int) -> Packing:
    """Packs batches in the order given; raises BlockCorrupt when a batch is not what its row says."""
    columns = segments.Columns()
    for batch in batches:
        _add(columns, batch)
    data = segments.write(columns)
    sha256 = hashlib.sha256(data).digest()
    return Packing(
        packed=PackedSegment(
            object_key=segments.object_key(min(batch.issued_at_us for batch in batches), sha256),
            sha256=sha256,
            size_bytes=len(data),
            invoices=len(columns),
            retain_until_us=segments.retain_until_us(max(batch.issued_at_us for batch in batches), retention_days),
            batches=batches,
        ),
        data=data,
    )


def _add(columns: segments.Columns, batch: BatchRow) -> None:
    """Adds the rows of one batch."""
    unpacked = block.unpack(batch.block or b"")
    numbers = block.numbers(batch.runs)
    if not len(numbers) == len(unpacked.bodies) == batch.items:
        raise BlockCorrupt(
            f"batch {batch.batch_id}: {batch.items} items, {len(numbers)} numbers, {len(unpacked.bodies)} bodies"
        )
    head = time_part(batch.issued_at_us) + NUMBER_TAG
    bodies = [prepared + head + number.encode() for prepared, number in zip(unpacked.bodies, numbers, strict=True)]
    columns.number += numbers
    columns.request_id += unpacked.request_ids
    columns.body += bodies
    columns.body_sha256 += [hashlib.sha256(body).digest() for body in bodies]
    columns.issued_at += [batch.issued_at_us] * batch.items
    columns.batch_id += [batch.batch_id] * batch.items
    columns.batch_position += range(batch.items)
    for run in batch.runs:
        columns.seller_key += [run.seller_key] * run.count
    _describe(columns, bodies)


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

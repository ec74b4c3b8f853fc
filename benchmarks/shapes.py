"""Requests to measure with, made cheaply: pre-serialised invoices, joined with fresh request ids byte by byte.

Protobuf concatenates, so a request is the seller's field + the request id's field + an invoice's field, and a message
of a stream is its requests one after another. Making one invoice costs about 1 µs instead of 40, so that the load
generator is not what is measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from billow.types.v1 import invoice_pb2
from core.domain.body import varint
from core.domain.taxpayer_id import check_character

GOODS = ("办公椅", "laser printer", "咖啡豆", "network cable", "咨询服务", "steel bolt M8", "红茶", "LED lamp")
RATES_BP = (1300, 900, 600, 300, 100)
BUYERS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a load looks like. Invoices of `lines` lines; `seller_ids` take turns within a batch."""

    seller_ids: Sequence[str]
    lines: int = 3
    batch_items: int = 500
    run_id: str


def tax_id(serial: int) -> str:
    """Returns a made-up unified social credit code with a right check character."""
    first = f"9144{serial:013d}"
    return first + check_character(first)


def invoices(lines: int, count: int = BUYERS) -> list[bytes]:
    """Returns `count` different serialised invoices of `lines` lines."""
    made = []
    for serial in range(count):
        invoice = invoice_pb2.Invoice(
            kind=invoice_pb2.INVOICE_KIND_GENERAL, remark=f"订单 {serial * 7919 % 99991}", drawer="王芳"
        )
        invoice.buyer.name = f"示例客户{serial}有限公司"
        invoice.buyer.tax_id = tax_id(serial)
        for position in range(lines):
            pick = serial + position
            invoice.lines.add(
                name=f"{GOODS[pick % len(GOODS)]} {pick % 97}",
                category="货物",
                goods_code=f"10{pick % 89:02d}0000000000000",
                unit="件",
                quantity=str(1 + pick % 12),
                unit_price=f"{9 + pick % 450}.{pick % 100:02d}",
                tax_rate_bp=RATES_BP[pick % len(RATES_BP)],
            )
        made.append(invoice.SerializeToString())
    return made


def field(number: int, payload: bytes) -> bytes:
    """Encodes a length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


@cache
def bodies(lines: int) -> tuple[bytes, ...]:
    """The invoice's field of a request, for BUYERS invoices; made once, before the clock runs."""
    return tuple(field(3, invoice) for invoice in invoices(lines))


def stream_messages(shape: Shape, batches: int, worker: int) -> Iterator[bytes]:
    """Yields serialised StreamIssueInvoicesRequest messages with request ids never used before by this run."""
    sellers = [field(1, seller_id.encode()) for seller_id in shape.seller_ids]
    made = bodies(shape.lines)
    serial = 0
    for sequence in range(batches):
        parts = [b"\x08" + varint(sequence)] if sequence else []
        for _ in range(shape.batch_items):
            request_id = f"{shape.run_id}-{worker}-{serial}".encode()
            request = sellers[serial % len(sellers)] + field(2, request_id) + made[serial % len(made)]
            parts.append(field(2, request))
            serial += 1
        yield b"".join(parts)


def batch_messages(shape: Shape) -> Iterator[bytes]:
    """Yields serialised BatchIssueInvoicesRequest messages without end, with request ids of their own."""
    sellers = [field(1, seller_id.encode()) for seller_id in shape.seller_ids]
    made = bodies(shape.lines)
    serials = itertools.count()
    while True:
        parts = []
        for serial in itertools.islice(serials, shape.batch_items):
            request_id = f"{shape.run_id}-batch-{serial}".encode()
            parts.append(field(1, sellers[serial % len(sellers)] + field(2, request_id) + made[serial % len(made)]))
        yield b"".join(parts)


def single_messages(shape: Shape) -> Iterator[bytes]:
    """Yields serialised IssueInvoiceRequest messages without end, each with a request id of its own."""
    sellers = [field(1, seller_id.encode()) for seller_id in shape.seller_ids]
    made = bodies(shape.lines)
    for serial in itertools.count():
        request_id = f"{shape.run_id}-single-{serial}".encode()
        yield sellers[serial % len(sellers)] + field(2, request_id) + made[serial % len(made)]

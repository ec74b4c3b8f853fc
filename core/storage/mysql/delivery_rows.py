"""Rows of the delivery tables to records."""

from __future__ import annotations

from typing import Any, Final

from core.storage.delivery_port import Attempt, Delivery, DeliveryState, Endpoint, EndpointKind, EndpointState, Facts

ENDPOINT: Final = (
    "e.endpoint_key, e.endpoint_id, e.seller_key, e.kind, e.target, e.every_invoice, e.state, e.state_reason,"
    " e.secret, e.old_secret, e.old_secret_until_us, e.failures, e.open_until_us, e.created_at_us, e.formats"
)
DELIVERY: Final = (
    "d.delivery_id, d.seller_key, e.endpoint_id, d.number, d.state, d.attempts, d.tries, d.due_at_us,"
    " d.created_at_us, d.finished_at_us"
)
FACTS: Final = (
    "i.number, s.seller_id, s.name, CONVERT(i.request_id USING latin1), i.kind, i.color, i.issued_at_us,"
    " i.net_total_minor, i.tax_total_minor, i.gross_total_minor, COALESCE(i.buyer_tax_id, ''), i.body_sha256"
)


def endpoint(row: tuple[Any, ...]) -> Endpoint:
    """Reads the columns ENDPOINT."""
    return Endpoint(
        endpoint_key=row[0],
        endpoint_id=row[1],
        seller_key=row[2],
        kind=EndpointKind(row[3]),
        target=row[4].decode(),
        every_invoice=bool(row[5]),
        state=EndpointState(row[6]),
        state_reason=row[7].decode(),
        secret=row[8],
        old_secret=row[9],
        old_secret_until_us=row[10],
        failures=row[11],
        open_until_us=row[12],
        created_at_us=row[13],
        formats=tuple(row[14].split(",")) if row[14] else (),
    )


def delivery(row: tuple[Any, ...]) -> Delivery:
    """Reads the columns DELIVERY."""
    return Delivery(
        delivery_id=row[0],
        seller_key=row[1],
        endpoint_id=row[2],
        number=row[3],
        state=DeliveryState(row[4]),
        attempts=row[5],
        tries=row[6],
        due_at_us=row[7],
        created_at_us=row[8],
        finished_at_us=row[9],
    )


def facts(row: tuple[Any, ...]) -> Facts:
    """Reads the columns FACTS."""
    return Facts(
        number=row[0],
        seller_id=row[1],
        seller_name=row[2],
        request_id=row[3],
        kind=row[4],
        color=row[5],
        issued_at_us=row[6],
        net_total_minor=row[7],
        tax_total_minor=row[8],
        gross_total_minor=row[9],
        buyer_tax_id=row[10],
        body_sha256=row[11],
    )


def attempt(row: tuple[Any, ...]) -> Attempt:
    """Reads an attempt's columns."""
    return Attempt(
        attempt=row[0],
        at_us=row[1],
        duration_us=row[2],
        delivered=bool(row[3]),
        code=row[4],
        detail=row[5].decode(),
    )

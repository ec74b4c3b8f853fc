"""Delivery's records to messages."""

from __future__ import annotations

from billow.delivery.v1 import delivery_pb2
from core.domain.kinds import InvoiceColor
from core.storage.delivery_port import Attempt, Delivery, Due, Endpoint
from server.convert.registry import timestamp


def delivery_id(number: int) -> str:
    """Writes the id of a delivery."""
    return f"dlv_{number}"


def endpoint(record: Endpoint, seller_id: str) -> delivery_pb2.Endpoint:
    """Builds the message of an endpoint; without its secrets."""
    return delivery_pb2.Endpoint(
        endpoint_id=record.endpoint_id,
        seller_id=seller_id,
        kind=delivery_pb2.EndpointKind.ValueType(record.kind),
        target=record.target,
        every_invoice=record.every_invoice,
        state=delivery_pb2.EndpointState.ValueType(record.state),
        state_reason=record.state_reason,
        old_secret_expire_time=timestamp(record.old_secret_until_us) if record.old_secret_until_us else None,
        failures=record.failures,
        paused_until_time=timestamp(record.open_until_us) if record.open_until_us else None,
        create_time=timestamp(record.created_at_us),
        formats=record.formats,
    )


def delivery(record: Delivery) -> delivery_pb2.Delivery:
    """Builds the message of a delivery."""
    return delivery_pb2.Delivery(
        delivery_id=delivery_id(record.delivery_id),
        endpoint_id=record.endpoint_id,
        number=record.number,
        state=delivery_pb2.DeliveryState.ValueType(record.state),
        attempt_count=record.attempts,
        due_time=None if record.due_at_us is None else timestamp(record.due_at_us),
        create_time=timestamp(record.created_at_us),
        finish_time=None if record.finished_at_us is None else timestamp(record.finished_at_us),
    )


def attempt(record: Attempt) -> delivery_pb2.Attempt:
    """Builds the message of an attempt."""
    return delivery_pb2.Attempt(
        attempt=record.attempt,
        time=timestamp(record.at_us),
        duration_ms=record.duration_us // 1_000,
        delivered=record.delivered,
        code=record.code,
        detail=record.detail,
    )


def claimed(due: Due) -> delivery_pb2.ClaimedDelivery:
    """Builds the message of a leased delivery."""
    facts = due.facts
    return delivery_pb2.ClaimedDelivery(
        delivery_id=delivery_id(due.delivery_id),
        invoice=delivery_pb2.InvoiceFacts(
            number=facts.number,
            seller_id=facts.seller_id,
            request_id=facts.request_id,
            issue_time=timestamp(facts.issued_at_us),
            red=facts.color == InvoiceColor.RED,
            net_total_minor=facts.net_total_minor,
            tax_total_minor=facts.tax_total_minor,
            gross_total_minor=facts.gross_total_minor,
            buyer_tax_id=facts.buyer_tax_id,
            body_sha256=facts.body_sha256,
        ),
    )

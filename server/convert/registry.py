"""The registry's records to messages."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from billow.registry.v1 import registry_pb2
from billow.types.v1 import invoice_pb2
from core.domain.parties import Party
from core.storage.credit import month_text
from core.storage.ports import SellerRecord
from core.storage.quota_port import CreditQuota
from core.storage.registry_port import ApiKeyRecord, NumberRangeRecord, TenantRecord


def timestamp(at_us: int) -> Timestamp:
    """Builds a Timestamp from microseconds since the epoch."""
    seconds, micros = divmod(at_us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1_000)


def tenant(record: TenantRecord) -> registry_pb2.Tenant:
    """Builds the message of a tenant."""
    return registry_pb2.Tenant(
        tenant_id=record.tenant_id, display_name=record.display_name, create_time=timestamp(record.created_at_us)
    )


def api_key(record: ApiKeyRecord) -> registry_pb2.ApiKey:
    """Builds the message of a key."""
    return registry_pb2.ApiKey(
        key_id=record.key_id,
        tenant_id=record.tenant_id,
        scopes=sorted(record.scopes),
        display_name=record.display_name,
        create_time=timestamp(record.created_at_us),
        revoke_time=None if record.revoked_at_us is None else timestamp(record.revoked_at_us),
    )


def party_message(party: Party) -> invoice_pb2.Party:
    """Builds the message of a party."""
    return invoice_pb2.Party(
        name=party.name,
        tax_id=party.tax_id,
        address=party.address,
        phone=party.phone,
        bank_name=party.bank_name,
        bank_account=party.bank_account,
    )


def party(message: invoice_pb2.Party) -> Party:
    """Reads a party."""
    return Party(
        name=message.name,
        tax_id=message.tax_id,
        address=message.address,
        phone=message.phone,
        bank_name=message.bank_name,
        bank_account=message.bank_account,
    )


def seller(record: SellerRecord) -> registry_pb2.Seller:
    """Builds the message of a seller."""
    return registry_pb2.Seller(
        seller_id=record.seller_id,
        party=party_message(record.party),
        profile=record.profile,
        create_time=timestamp(record.created_at_us),
    )


def number_range(record: NumberRangeRecord, seller_id: str) -> registry_pb2.NumberRange:
    """Builds the message of a number range."""
    return registry_pb2.NumberRange(
        range_id=record.range_id,
        seller_id=seller_id,
        color=invoice_pb2.InvoiceColor.ValueType(record.color),
        kind=invoice_pb2.InvoiceKind.ValueType(record.kind),
        first_number=record.first_number,
        last_number=record.last_number,
        used=record.used,
        create_time=timestamp(record.created_at_us),
    )


def credit_quota(record: CreditQuota, seller_id: str) -> registry_pb2.CreditQuota:
    """Builds the message of a credit quota."""
    return registry_pb2.CreditQuota(
        seller_id=seller_id,
        month=month_text(record.month),
        quota_minor=record.quota_minor,
        used_minor=record.used_minor,
        left_minor=record.left_minor,
    )

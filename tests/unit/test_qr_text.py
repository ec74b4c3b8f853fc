"""The text of the QR code (DOMAIN.md)."""

from __future__ import annotations

import binascii

import pytest

from core.domain.qr_text import qr_text

NUMBER = "26110000000000000042"


@pytest.mark.parametrize(
    ("kind", "total", "first"),
    [
        (2, 11_300, f"01,32,,{NUMBER},113.00,20261122,,"),
        (1, 5, f"01,31,,{NUMBER},0.05,20261122,,"),
        (2, -50_000, f"01,32,,{NUMBER},-500.00,20261122,,"),
    ],
)
def test_fields_and_check_digits(kind: int, total: int, first: str) -> None:
    text = qr_text(kind=kind, number=NUMBER, gross_total_minor=total, issue_date=20261122)
    assert text.startswith(first)
    assert text[len(first) :] == f"{binascii.crc_hqx(first.encode(), 0):04X}"


def test_a_kind_without_a_code_is_refused() -> None:
    with pytest.raises(ValueError, match="not a valid InvoiceKind"):
        qr_text(kind=0, number=NUMBER, gross_total_minor=1, issue_date=20261122)

"""Profiles: what the law of one place says of invoices, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The rules of one place. Tolerances are in minor units; sources are in DOMAIN.md."""

    name: str
    currency: str
    utc_offset_s: int  # of the issue date
    rates_bp: frozenset[int]
    lines_max: int = limits.LINES_MAX
    amount_tolerance_minor: int = 1  # |quantity × price − amount|
    line_tax_tolerance_minor: int = 6  # |net × rate − tax| of a line
    invoice_tax_tolerance_minor: int = 127  # |Σ of the signed errors| of an invoice


CN: Final = Profile(
    name="cn",
    currency="CNY",
    utc_offset_s=8 * 3600,
    rates_bp=frozenset({1300, 900, 600, 500, 300, 150, 100, 0}),
)

PROFILES: Final = {CN.name: CN}

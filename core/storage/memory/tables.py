"""The tables that the in-memory twins share, as dictionaries."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.domain.red_letter import Sums
from core.storage.allocation import RangeState, Stock
from core.storage.ports import BatchRow, InvoiceRow, Issued, Segment
from core.storage.red_letter_port import Form


@dataclass(slots=True)
class MemoryTables:
    """What MySQL would hold."""

    ranges: dict[Stock, list[RangeState]] = field(default_factory=dict)
    invoices: dict[str, InvoiceRow] = field(default_factory=dict)
    by_request: dict[tuple[int, str], Issued] = field(default_factory=dict)
    batches: dict[int, BatchRow] = field(default_factory=dict)
    segments: dict[int, Segment] = field(default_factory=dict)
    red_ranges: dict[Stock, list[RangeState]] = field(default_factory=dict)
    red_sums: dict[str, Sums] = field(default_factory=dict)
    red_changed: dict[str, int] = field(default_factory=dict)  # blue number -> µs
    forms: dict[str, Form] = field(default_factory=dict)
    booked: set[str] = field(default_factory=set)
    quotas: dict[int, int] = field(default_factory=dict)  # seller_key -> credit quota, minor units
    quota_used: dict[tuple[int, int], int] = field(default_factory=dict)  # seller_key, month

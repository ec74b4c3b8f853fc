"""The tables that the in-memory twins share, as dictionaries."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.storage.allocation import RangeState, Stock
from core.storage.ports import BatchRow, InvoiceRow, Issued, Segment


@dataclass(slots=True)
class MemoryTables:
    """What MySQL would hold."""

    ranges: dict[Stock, list[RangeState]] = field(default_factory=dict)
    invoices: dict[str, InvoiceRow] = field(default_factory=dict)
    by_request: dict[tuple[int, str], Issued] = field(default_factory=dict)
    batches: dict[int, BatchRow] = field(default_factory=dict)
    segments: dict[int, Segment] = field(default_factory=dict)

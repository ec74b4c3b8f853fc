"""The ports to collection: what numbers received invoices, and what reads them. Errors as in ports.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Received:
    """A received invoice at its position in the sequence of its buyer, and what has become of it."""

    position: int
    number: str
    kind: int
    color: int
    issued_at_us: int
    seller_tax_id: str
    seller_name: str
    net_total_minor: int
    tax_total_minor: int
    gross_total_minor: int
    blue_number: str
    red_total_minor: int
    entry_state: int
    entry_period: int


class Collector(Protocol):
    """Gives received invoices their positions."""

    async def follow(self, buyer_tax_id: str) -> None:
        """Has a buyer's invoices numbered from now on, those it received before included; again changes nothing.

        1 round trip. The numbering itself is `collect`'s.
        """
        ...

    async def collect(self) -> bool:
        """Numbers invoices of followed buyers that are not numbered yet; True when there is more to do at once.

        One transaction: each invoice of some committed batches gets the next position of its buyer, exactly once
        whatever dies; within a batch in the order of the batch. What a buyer received before it was followed goes
        first, COLLECT_FILL_ROWS_MAX at a time. One collector at a time works, others return False. Up to about 18 round
        trips and one more for every COLLECT_ROWS_MAX invoices and READ_RUNS_MAX runs of consecutive numbers.
        """
        ...


class ReceivedStore(Protocol):
    """Reads received invoices."""

    async def received(self, buyer_tax_id: str, *, after: int, items_max: int) -> list[Received]:
        """Reads the next invoices of a buyer after a position, without a gap; 1 round trip.

        States may be as old as the lag allowed of a replica.
        """
        ...

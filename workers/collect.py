"""The collecting job: gives received invoices their positions, so that buyers can follow what they receive.

It runs behind the commits: an invoice can be collected `INTERVAL_MS` and a transaction after its acknowledgement, and
nothing of it is on the issuing path. If it dies, its transaction is undone and the next process does it again.
"""

from __future__ import annotations

import asyncio
from typing import Final

from core.storage.collection_port import Collector

INTERVAL_MS: Final = 500  # between looks, unless there is more than one transaction takes


class CollectJob:
    """One worker's collecting; of many workers one works at a time.

    While invoices keep coming, what gathers in an interval is numbered together: without that the primary has more
    durable commits (docs/adr/0018).
    """

    name = "collect"

    def __init__(self, *, collector: Collector, interval_ms: int = INTERVAL_MS) -> None:
        self._collector = collector
        self._interval_ms = interval_ms

    async def step(self) -> bool:
        """Numbers some batches; see the port of Loop."""
        return await self._collector.collect()

    async def idle(self) -> None:
        """Waits."""
        await asyncio.sleep(self._interval_ms / 1_000)

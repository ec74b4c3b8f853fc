"""P4, P6: what is kept as a document belongs to an issued invoice, is not empty, and is locked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from admin.audit.check import Check, Sources
from core import limits
from core.documents.formats import FORMATS

PREFIX: Final = "documents/"
KEY: Final = re.compile(rf"documents/([a-z0-9]+)/([1-9][0-9]*)/([0-9]{{{limits.NUMBER_CHARS}}})\.([a-z.]+)", re.ASCII)
KEYS_AT_ONCE: Final = 1_000
LOCKS_AT_ONCE: Final = 16


class DocumentsCheck(Check):
    """Every document's key names a format there is and an issued invoice; a sample of them is there and locked."""

    name = "documents belong to invoices"
    promise = "P4"

    async def finish(self, sources: Sources) -> None:
        """Walks the kept documents, some at once. 1 round trip to the primary for every 1,000 of them."""
        waiting: list[str] = []
        async for key in sources.objects.keys(PREFIX):
            waiting.append(key)
            if len(waiting) == KEYS_AT_ONCE:
                await self._look(sources, waiting)
                waiting = []
        await self._look(sources, waiting)

    async def _look(self, sources: Sources, keys: Sequence[str]) -> None:
        """Checks some documents."""
        self.report.examined += len(keys)
        numbers: dict[str, str] = {}
        for key in keys:
            match = KEY.fullmatch(key)
            made = FORMATS.get(match[1]) if match else None
            if match is None or made is None or match[4] != made.extension:
                self.report.add(f"object {key}", "is no document of a format there is")
            elif int(match[2]) > made.version:
                self.report.add(f"object {key}", "is of a version that there is not yet")
            else:
                numbers[key] = match[3]
        if not numbers:
            return
        asked = sorted(set(numbers.values()))
        places = ",".join(["%s"] * len(asked))
        sql = f"SELECT number FROM invoices WHERE number IN ({places})"  # noqa: S608 -- placeholders
        known = {number for (number,) in await sources.primary.rows(sql, asked)}
        for key, number in numbers.items():
            if number not in known:
                self.report.add(f"object {key}", "is the document of no invoice")
        sample = list(numbers)[:: max(1, len(numbers) // LOCKS_AT_ONCE)]
        await asyncio.gather(*(self._look_at_object(sources, key) for key in sample))

    async def _look_at_object(self, sources: Sources, key: str) -> None:
        if not await sources.objects.size(key):
            self.report.add(f"object {key}", "is empty")
        if not await sources.objects.retained_until_us(key):
            self.report.add(f"object {key}", "has no retention lock")

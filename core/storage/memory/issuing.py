"""The twin of the issuing store: the same decisions over dictionaries."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from core.domain import body
from core.domain.errors import BillowError
from core.domain.kinds import InvoiceColor
from core.storage import block
from core.storage.allocation import Stock, allocate, answer_known, shortage, stocks
from core.storage.credit import MonthUse, month_of, share_out
from core.storage.memory.tables import MemoryTables
from core.storage.ports import Answer, BatchRow, Draft, InvoiceRow, Issued


class MemoryIssuingStore:
    """The IssuingStore of core/storage/ports.py over MemoryTables."""

    def __init__(self, *, tables: MemoryTables, now_us: Callable[[], int]) -> None:
        self._tables = tables
        self._now_us = now_us
        self._one_at_a_time = asyncio.Lock()

    async def commit(self, drafts: Sequence[Draft]) -> list[Answer]:
        """Issues the drafts; see the port."""
        async with self._one_at_a_time:
            await asyncio.sleep(0)
            return self._commit(drafts)

    def _commit(self, drafts: Sequence[Draft]) -> list[Answer]:
        known = self._tables.by_request
        unique: dict[tuple[int, str], Draft] = {}
        for draft in drafts:
            if (draft.seller_key, draft.request_id) not in known:
                unique.setdefault((draft.seller_key, draft.request_id), draft)
        issued_at_us = self._now_us()
        fresh = sorted(unique.values(), key=lambda draft: (draft.seller_key, draft.kind))
        refused: dict[tuple[int, str], BillowError] = {}
        allocation = allocate(stocks(fresh), self._tables.ranges)
        if allocation.short:
            fresh = self._without_short(fresh, allocation.short, refused)
        beyond = self._beyond_quota([draft for key, draft in unique.items() if key not in refused], issued_at_us)
        fresh = [draft for draft in fresh if (draft.seller_key, draft.request_id) not in beyond]
        refused |= beyond
        allocation = allocate(stocks(fresh), self._tables.ranges)
        if fresh:
            self._write(fresh, allocation.numbers, allocation.runs, issued_at_us)
            for states in self._tables.ranges.values():
                for state in states:
                    state.used += allocation.taken.get(state.range_id, 0)
        answers: list[Answer] = []
        for draft in drafts:
            key = (draft.seller_key, draft.request_id)
            if key in refused:
                answers.append(refused[key])
                continue
            answer = known[key] if key in unique else replace(known[key], repeated=True)
            answers.append(answer_known(draft, answer.request_sha256) or answer)
        return answers

    def _beyond_quota(self, drafts: Sequence[Draft], issued_at_us: int) -> dict[tuple[int, str], BillowError]:
        """Counts what fits into the sellers' credit quotas and returns the errors of the rest."""
        tables, month = self._tables, month_of(issued_at_us)
        uses = {key: MonthUse(quota, tables.quota_used.get((key, month), 0)) for key, quota in tables.quotas.items()}
        shares = share_out(drafts, uses, month)
        for key, taken in shares.taken.items():
            tables.quota_used[key, month] = uses[key].used_minor + taken
        return shares.refused

    def _without_short(
        self, fresh: Sequence[Draft], short: dict[Stock, int], refused: dict[tuple[int, str], BillowError]
    ) -> list[Draft]:
        """Drops the last drafts of every stock that is short and notes their errors."""
        kept: list[Draft] = []
        missing = dict(short)
        for draft in reversed(fresh):
            stock = (draft.seller_key, draft.kind)
            if missing.get(stock):
                missing[stock] -= 1
                error = shortage(stock, had_ranges=bool(self._tables.ranges.get(stock)))
                refused[draft.seller_key, draft.request_id] = error
            else:
                kept.append(draft)
        return kept[::-1]

    def _write(self, drafts: Sequence[Draft], numbers: Sequence[str], runs: list[block.Run], issued_at_us: int) -> None:
        tables = self._tables
        batch_id = len(tables.batches) + 1
        packed = block.pack([draft.request_id for draft in drafts], [draft.prepared for draft in drafts])
        tables.batches[batch_id] = BatchRow(batch_id, issued_at_us, len(drafts), runs, packed, None, None)
        for position, (draft, number) in enumerate(zip(drafts, numbers, strict=True)):
            issued = Issued(
                number=number,
                seller_key=draft.seller_key,
                request_id=draft.request_id,
                request_sha256=draft.request_sha256,
                kind=draft.kind,
                color=int(InvoiceColor.BLUE),
                issued_at_us=issued_at_us,
                net_total_minor=draft.net_total_minor,
                tax_total_minor=draft.tax_total_minor,
                gross_total_minor=draft.gross_total_minor,
                buyer_tax_id=draft.buyer_tax_id,
                body_sha256=hashlib.sha256(draft.prepared + body.suffix(issued_at_us, number)).digest(),
            )
            tables.by_request[draft.seller_key, draft.request_id] = issued
            tables.invoices[number] = InvoiceRow(issued, batch_id, position, 0)

"""Red-lettering in memory: the twins of core/storage/mysql/red_letter.py and red_forms.py."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from core.domain import body
from core.domain.errors import BillowError
from core.domain.kinds import InvoiceColor
from core.domain.red_letter import Sums, Taken
from core.storage import block
from core.storage.allocation import allocate, answer_known, stocks
from core.storage.memory.tables import MemoryTables
from core.storage.ports import Answer, BatchRow, InvoiceRow, Issued
from core.storage.red_decision import LockedBlue, RedRound
from core.storage.red_letter_port import WAITING, Form, FormFilter, FormState, RedDraft, RedShape

Accepted = list[tuple[RedDraft, RedShape]]


class MemoryRedStore:
    """The RedStore of core/storage/red_letter_port.py over MemoryTables.

    `now_us` is the clock of the process that issues, `time_us` the store's own.
    """

    def __init__(self, *, tables: MemoryTables, now_us: Callable[[], int], time_us: Callable[[], int]) -> None:
        self._tables = tables
        self._now_us = now_us
        self._time_us = time_us
        self._one_at_a_time = asyncio.Lock()

    async def commit(self, drafts: Sequence[RedDraft]) -> list[Answer]:
        """Issues the drafts; see the port."""
        async with self._one_at_a_time:
            await asyncio.sleep(0)
            return self._commit(drafts)

    def _commit(self, drafts: Sequence[RedDraft]) -> list[Answer]:
        tables = self._tables
        free = {stock: sum(s.size - s.used for s in states) for stock, states in tables.red_ranges.items()}
        copied = {
            name: {line: Taken(taken.net, taken.tax) for line, taken in sums.items()}
            for name, sums in tables.red_sums.items()
        }
        deciding = RedRound(
            blues={n: LockedBlue(r.issued.seller_key, r.issued.color) for n, r in tables.invoices.items()},
            sums=copied,
            booked=tables.booked,
            forms=tables.forms,
            free=free,
            had_ranges=set(tables.red_ranges),
        )
        refused: dict[tuple[int, str], BillowError] = {}
        accepted: dict[tuple[int, str], tuple[RedDraft, RedShape]] = {}
        for draft in drafts:
            key = (draft.seller_key, draft.request_id)
            if key in tables.by_request or key in accepted or key in refused:
                continue
            outcome = deciding.decide(draft)
            if isinstance(outcome, BillowError):
                refused[key] = outcome
            else:
                accepted[key] = (draft, outcome)
        self._write(sorted(accepted.values(), key=lambda pair: (pair[0].seller_key, pair[0].kind)))
        tables.red_sums = deciding.sums
        answers: list[Answer] = []
        for draft in drafts:
            key = (draft.seller_key, draft.request_id)
            if key in refused:
                answers.append(refused[key])
            else:
                known = tables.by_request[key]
                answers.append(answer_known(draft, known.request_sha256) or known)
        return answers

    def _write(self, accepted: Accepted) -> None:
        """Numbers and stores the accepted ones."""
        if not accepted:
            return
        tables, issued_at_us = self._tables, self._now_us()
        drafts = [shape.draft for _, shape in accepted]
        allocation = allocate(stocks(drafts), tables.red_ranges)
        for states in tables.red_ranges.values():
            for state in states:
                state.used += allocation.taken.get(state.range_id, 0)
        packed = block.pack([draft.request_id for draft in drafts], [draft.prepared for draft in drafts])
        batch_id = len(tables.batches) + 1
        tables.batches[batch_id] = BatchRow(batch_id, issued_at_us, len(drafts), allocation.runs, packed, None, None)
        for position, ((wish, shape), number) in enumerate(zip(accepted, allocation.numbers, strict=True)):
            draft = shape.draft
            issued = Issued(
                number=number,
                seller_key=draft.seller_key,
                request_id=draft.request_id,
                request_sha256=draft.request_sha256,
                kind=draft.kind,
                color=int(InvoiceColor.RED),
                issued_at_us=issued_at_us,
                net_total_minor=draft.net_total_minor,
                tax_total_minor=draft.tax_total_minor,
                gross_total_minor=draft.gross_total_minor,
                buyer_tax_id=draft.buyer_tax_id,
                body_sha256=hashlib.sha256(draft.prepared + body.suffix(issued_at_us, number)).digest(),
            )
            tables.by_request[draft.seller_key, draft.request_id] = issued
            tables.invoices[number] = InvoiceRow(issued, batch_id, position, 0)
            blue = tables.invoices[wish.blue_number]
            red_total = blue.red_total_minor + draft.gross_total_minor
            tables.invoices[wish.blue_number] = replace(blue, red_total_minor=red_total)
            tables.red_changed[wish.blue_number] = self._time_us()
            if wish.confirmation_id:
                form = tables.forms[wish.confirmation_id]
                tables.forms[wish.confirmation_id] = replace(form, red_number=number)

    async def taken(self, blue_number: str) -> Sums:
        """Reads what was taken; see the port."""
        return self._tables.red_sums.get(blue_number, {})

    async def booked(self, blue_number: str) -> bool:
        """Tells whether the buyer has booked it; see the port."""
        return blue_number in self._tables.booked

    async def time_us(self) -> int:
        """The store's clock; see the port."""
        return self._time_us()

    async def changed(self, *, since_us: int, after: str, items_max: int) -> list[str]:
        """Lists changed balances; see the port."""
        changes = self._tables.red_changed.items()
        return sorted(number for number, at_us in changes if at_us >= since_us and number > after)[:items_max]


class MemoryFormStore:
    """The FormStore of core/storage/red_letter_port.py over MemoryTables. `now_us` is the store's own clock."""

    def __init__(self, *, tables: MemoryTables, now_us: Callable[[], int]) -> None:
        self._tables = tables
        self._now_us = now_us

    async def create(self, form: Form) -> Form:
        """Stores a form; see the port."""
        known = await self.made(form.tenant_key, form.request_id)
        return known or self._tables.forms.setdefault(form.confirmation_id, form)

    async def made(self, tenant_key: int, request_id: str) -> Form | None:
        """Reads a form by request id; see the port."""
        for form in self._tables.forms.values():
            if (form.tenant_key, form.request_id) == (tenant_key, request_id):
                return form
        return None

    async def get(self, confirmation_id: str) -> Form | None:
        """Reads a form; see the port."""
        return self._tables.forms.get(confirmation_id)

    async def move(self, confirmation_id: str, *, state: int, to_state: int) -> bool:
        """Moves a form; see the port."""
        form = self._tables.forms.get(confirmation_id)
        if form is None or form.state != state or form.red_number:
            return False
        self._tables.forms[confirmation_id] = replace(form, state=to_state)
        return True

    async def list(self, wanted: FormFilter) -> list[Form]:
        """Lists forms; see the port."""
        found = [
            form
            for form in self._tables.forms.values()
            if wanted.seller_key in (None, form.seller_key)
            and wanted.buyer_tax_id in (None, form.buyer_tax_id)
            and wanted.state in (0, form.state)
            and (wanted.after is None or (form.created_at_us, form.confirmation_id) > wanted.after)
        ]
        found.sort(key=lambda form: (form.created_at_us, form.confirmation_id))
        return found[: wanted.items_max]

    async def expire(self, *, now_us: int, items_max: int) -> int:
        """Voids overdue forms; see the port."""
        until_us = min(now_us, self._now_us())
        overdue = [f for f in self._tables.forms.values() if f.state in WAITING and f.expires_at_us <= until_us]
        for form in overdue[:items_max]:
            self._tables.forms[form.confirmation_id] = replace(form, state=int(FormState.EXPIRED))
        return len(overdue[:items_max])

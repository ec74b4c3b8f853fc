"""The promises, checked over what is left when a history is over: the tables, the objects, and the clients' ledger."""

from __future__ import annotations

import hashlib
from collections import defaultdict

from core.domain.errors import BillowError, Reason
from core.domain.kinds import InvoiceColor
from core.storage import block, segments
from core.storage.ports import Answer
from tests.simulation.clients import NET, REFUSED, TAX, Ledger, final
from tests.simulation.world import Broken, World

SHORT = (Reason.NUMBER_RANGE_EXHAUSTED, Reason.NO_NUMBER_RANGE)


def check(world: World, ledger: Ledger, *, thoroughly: bool) -> None:
    """Raises Broken; `thoroughly` reads the segments as well."""
    acknowledged_is_there(world, ledger)
    refused_is_not_there(world, ledger)
    numbers_have_no_gap(world)
    reds_fit(world)
    archived_once(world, thoroughly=thoroughly)


def acknowledged_is_there(world: World, ledger: Ledger) -> None:
    """P1, P2: every answer is the row that is there, and a request has one row."""
    tables = world.tables
    for number, issued in ledger.acked.items():
        row = tables.invoices.get(number)
        if row is None:
            raise Broken("P1", f"{number} was acknowledged and is not there")
        if row.issued != issued:
            raise Broken("P4", f"{number} is not what was acknowledged")
    keys = [(row.issued.seller_key, row.issued.request_id) for row in tables.invoices.values()]
    if len(set(keys)) != len(keys) or set(keys) != set(tables.by_request):
        raise Broken("P2", "a request has two invoices")


def refused_is_not_there(world: World, ledger: Ledger) -> None:
    """P2, P9: what was refused for good, or at every try, was not done."""
    for key, attempts in ledger.attempts.items():
        there = world.tables.by_request.get(key)
        if there is not None and all(_refused(attempt.answer) for attempt in attempts):
            raise Broken("P9", f"{key[1]} was refused at every try, and issued")
        for attempt in attempts:
            answer = attempt.answer
            if not isinstance(answer, BillowError) or not final(answer):
                continue
            same = there is not None and there.request_sha256 == attempt.draft.request_sha256
            if answer.reason is Reason.REQUEST_ID_REUSED:
                if there is None or same:
                    raise Broken("P2", f"{key[1]} was called reused, and is not")
            elif same:
                raise Broken("P9", f"{key[1]} was answered {answer.reason}, and issued")


def _refused(answer: Answer | None) -> bool:
    return isinstance(answer, BillowError) and answer.reason in REFUSED


def numbers_have_no_gap(world: World) -> None:
    """P3: the numbers of a range are its first ones, in the order of the commits."""
    tables = world.tables
    rows = sorted(tables.invoices.values(), key=lambda row: (row.batch_id, row.batch_position))
    for ranges in (tables.ranges, tables.red_ranges):
        for states in ranges.values():
            for state in states:
                numbers = range(state.first_number, state.first_number + state.size)
                used = [int(row.issued.number) for row in rows if int(row.issued.number) in numbers]
                if used != list(numbers[: len(used)]) or state.used != len(used):
                    raise Broken("P3", f"range {state.range_id} says {state.used} and has {used}")
    for batch in tables.batches.values():
        held = [row.issued.number for row in rows if row.batch_id == batch.batch_id]
        if block.numbers(batch.runs) != held:
            raise Broken("P3", f"batch {batch.batch_id} says {block.numbers(batch.runs)} and has {held}")


def reds_fit(world: World) -> None:
    """P4: no blue invoice has more reds than it is worth, and its balance is their sum."""
    taken: dict[str, int] = {
        number: sum(part.gross for part in sums.values()) for number, sums in world.tables.red_sums.items()
    }
    reds = sum(
        row.issued.gross_total_minor for row in world.tables.invoices.values() if row.issued.color == InvoiceColor.RED
    )
    if reds != -sum(taken.values()):
        raise Broken("P4", f"reds of {reds} in all took {sum(taken.values())}")
    for number, gross in taken.items():
        if gross > NET + TAX or world.tables.invoices[number].red_total_minor != -gross:
            raise Broken("P4", f"{number}: {gross} is red of {NET + TAX}")


def archived_once(world: World, *, thoroughly: bool) -> None:
    """P6: every invoice lies in exactly one recorded segment, which is stored as recorded."""
    tables = world.tables
    rows: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for batch in tables.batches.values():
        if batch.segment_id is None or batch.segment_row is None or batch.block is not None:
            raise Broken("P6", f"batch {batch.batch_id} is not archived")
        rows[batch.segment_id].append((batch.segment_row, batch.items))
    numbers: list[str] = []
    for segment in tables.segments.values():
        next_row = 0
        for row, items in sorted(rows[segment.segment_id]):
            if row != next_row:
                raise Broken("P6", f"segment {segment.segment_id} has a hole or an overlap at row {row}")
            next_row += items
        data = world.objects.objects.get(segment.object_key, b"")
        if next_row != segment.invoices or hashlib.sha256(data).digest() != segment.sha256:
            raise Broken("P6", f"segment {segment.segment_id} is not what its record says")
        if thoroughly:
            numbers += [number for columns in segments.rows(data) for number in columns.number]
    if thoroughly and sorted(numbers) != sorted(tables.invoices):
        raise Broken("P6", "the segments do not hold every invoice once")

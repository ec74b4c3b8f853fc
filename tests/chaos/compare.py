"""Ledgers against what is there: pure functions that return every broken promise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.chaos.facts import Facts, Stored
from tests.chaos.ledger import Item

LOST, DUPLICATED, GAP, WRONG = "lost", "duplicated", "gap", "wrong"
KINDS: Final = (LOST, DUPLICATED, GAP, WRONG)
REUSED: Final = "REQUEST_ID_REUSED"
# a red invoice that cannot be, or an invoice that cannot be entered: lawful answers, whose state is checked elsewhere
LAWFUL: Final = frozenset(
    {REUSED, "ALREADY_FULLY_RED", "CONFIRMATION_REQUIRED", "ALREADY_ENTERED", "INVOICE_NOT_FOUND"}
)


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken promise. `at`: when it was promised or answered (monotonic); 0: not tied to a moment."""

    kind: str
    promise: str
    subject: str
    text: str
    at: float = 0.0


def issued(items: Sequence[Item], facts: Facts) -> list[Breach]:
    """P1, P2, P4: every acknowledged invoice is there once, with the number and digest that were acknowledged."""
    found: list[Breach] = []
    asked = _by_request(items)
    stored: dict[tuple[str, str], list[Stored]] = defaultdict(list)
    for row in facts.rows:
        stored[row.seller, row.request].append(row)
    numbers: dict[str, tuple[str, str]] = {}
    for key, group in asked.items():
        rows = stored.get(key, [])
        subject = f"request {key[1]!r} of {key[0]}"
        if len(rows) > 1:
            many = ", ".join(row.number for row in rows)
            found.append(Breach(DUPLICATED, "P2", subject, f"made {len(rows)} invoices: {many}", _last(group)))
        for item in group:
            found += _one(item, rows, subject)
            if item.answer is not None and item.acknowledged:
                other = numbers.setdefault(item.answer.number, key)
                if other != key:
                    text = f"number {item.answer.number} was also given to request {other[1]!r} of {other[0]}"
                    found.append(Breach(DUPLICATED, "P3", subject, text, item.ended))
        found += _answers(group, subject)
    ours = {seller for seller, _ in asked}
    for (seller, request), rows in stored.items():
        if seller in ours and (seller, request) not in asked:
            found.append(Breach(WRONG, "P2", f"invoice {rows[0].number}", f"nobody asked for {request!r} of {seller}"))
    return found


def _one(item: Item, rows: Sequence[Stored], subject: str) -> Iterator[Breach]:
    """Compares one answer with the rows of its request."""
    answer, intent = item.answer, item.intent
    if answer is None:
        return
    if answer.what == REUSED and rows and rows[0].gross == intent.gross and intent.variant == 0 and intent.op != "red":
        others = [row for row in rows if row.gross != intent.gross]
        if not others:
            yield Breach(WRONG, "P2", subject, "refused as another body though the stored one is the same", answer.at)
    if not item.acknowledged:
        return
    row = next((row for row in rows if row.number == answer.number), None)
    if row is None:
        what = f"acknowledged as {answer.number}, stored as {rows[0].number}" if rows else "acknowledged and not there"
        yield Breach(LOST, "P1", subject, what, answer.at)
        return
    if row.digest != answer.digest:
        yield Breach(
            WRONG, "P4", subject, f"digest {row.digest} instead of the acknowledged {answer.digest}", answer.at
        )
    if not answer.gross == row.gross == intent.gross:
        text = f"asked for {intent.gross}, answered {answer.gross}, stored {row.gross}"
        yield Breach(WRONG, "P2", subject, text, answer.at)


def _answers(group: Sequence[Item], subject: str) -> Iterator[Breach]:
    """P2: every answer to a request is the same, byte for byte; and in the end there is one."""
    answers = {item.answer.answer for item in group if item.answer is not None and item.acknowledged}
    if len(answers) > 1:
        yield Breach(WRONG, "P2", subject, f"got {len(answers)} different answers", _last(group))
    last = group[-1].answer
    if not answers and (last is None or last.what not in LAWFUL):
        what = "nothing" if last is None else last.what
        yield Breach(WRONG, "P2", subject, f"has no answer, even after all was mended: {what}", _last(group))


def ranges(facts: Facts) -> list[Breach]:
    """P3: the numbers of each range are its first ones, all of them."""
    found: list[Breach] = []
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in facts.rows:
        numbers[row.seller].append(int(row.number))
    placed = 0
    for place in facts.ranges:
        inside = sorted(number for number in numbers[place.seller] if place.first <= number <= place.last)
        placed += len(inside)
        subject = f"range {place.first:020d} of {place.seller}"
        if len(set(inside)) != len(inside):
            found.append(Breach(DUPLICATED, "P3", subject, "a number was given twice"))
        missing = [
            number for number, have in zip(range(place.first, place.last + 1), inside, strict=False) if number != have
        ]
        if missing:
            found.append(Breach(GAP, "P3", subject, f"{missing[0]:020d} is missing before {inside[-1]:020d}"))
        if place.used != len(inside):
            found.append(Breach(GAP, "P3", subject, f"{place.used} numbers are used and {len(inside)} invoices there"))
    if placed != len(facts.rows):
        found.append(Breach(WRONG, "P3", "numbers", f"{len(facts.rows) - placed} invoices lie outside every range"))
    return found


def nodes(facts: Facts) -> list[Breach]:
    """P1: every node has the same invoices."""
    found: list[Breach] = []
    ours = {row.number: row for row in facts.rows}
    for name, rows in facts.nodes.items():
        theirs = {row.number: row for row in rows}
        lost = sorted(ours.keys() - theirs.keys())
        more = sorted(theirs.keys() - ours.keys())
        other = sorted(number for number in ours.keys() & theirs.keys() if ours[number] != theirs[number])
        tail = f"is on {name} only: an unacknowledged tail came back"
        found += [Breach(LOST, "P1", f"invoice {number}", f"is not on {name}") for number in lost]
        found += [Breach(WRONG, "P10", f"invoice {number}", tail) for number in more]
        found += [Breach(WRONG, "P4", f"invoice {number}", f"is another one on {name}") for number in other]
    return found


def archive(facts: Facts) -> list[Breach]:
    """P6: every invoice lies in exactly one segment, with its digest."""
    found: list[Breach] = []
    if facts.waiting_batches:
        found.append(Breach(LOST, "P6", "archive", f"{facts.waiting_batches} batches were never archived"))
    for row in facts.rows:
        digests = facts.archived.get(row.number, [])
        subject = f"invoice {row.number}"
        if not digests and not facts.waiting_batches:
            found.append(Breach(LOST, "P6", subject, "is in no segment"))
        elif len(digests) > 1:
            found.append(Breach(DUPLICATED, "P6", subject, f"is in {len(digests)} segments"))
        if any(digest != row.digest for digest in digests):
            found.append(Breach(WRONG, "P6", subject, "is archived with another digest"))
    numbers = {row.number for row in facts.rows}
    found += [
        Breach(WRONG, "P6", f"invoice {number}", "is archived and not in the database")
        for number in facts.archived
        if number not in numbers
    ]
    return found


def entries(items: Sequence[Item], facts: Facts) -> list[Breach]:
    """P2, P10: every acknowledged entry is there, and a repeat got the same answer."""
    found: list[Breach] = []
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.intent.op == "enter":
            groups[item.intent.request].append(item)
    for request, group in groups.items():
        subject = f"request {request!r}"
        if any(item.acknowledged for item in group) and group[0].intent.number not in facts.entered:
            found.append(Breach(LOST, "P10", subject, "acknowledged, and not in the books", _last(group)))
        found += _answers(group, subject)
    return found


def reads(items: Sequence[Item]) -> list[Breach]:
    """P4: what was read is what was acknowledged."""
    found: list[Breach] = []
    digests = {
        item.answer.number: item.answer.digest
        for item in items
        if item.intent.op == "issue" and item.answer is not None and item.acknowledged
    }
    for item in items:
        answer = item.answer
        if item.intent.op != "get" or answer is None:
            continue
        subject = f"invoice {item.intent.number}"
        if answer.what == "INVOICE_NOT_FOUND":
            found.append(Breach(WRONG, "P1", subject, "acknowledged, and not found when read", answer.at))
        elif item.acknowledged:
            right = digests.get(item.intent.number, answer.digest)
            if {answer.digest, answer.answer} != {right} or answer.gross != item.intent.gross:
                found.append(Breach(WRONG, "P4", subject, "what was read is not what was acknowledged", answer.at))
    return found


def _by_request(items: Iterable[Item]) -> dict[tuple[str, str], list[Item]]:
    """Items that issue, by seller and request id, in their order."""
    groups: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        if item.intent.op in {"issue", "red"}:
            groups[item.intent.seller, item.intent.request].append(item)
    return groups


def _last(group: Sequence[Item]) -> float:
    """When the last answer of a group came."""
    return max((item.answer.at for item in group if item.answer is not None), default=0.0)

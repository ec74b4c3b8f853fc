"""Which draft gets which number: the decision between reading the ranges and writing the invoices. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.domain.errors import BillowError, Reason
from core.domain.kinds import InvoiceKind
from core.storage.block import Run
from core.storage.ports import Draft

Stock = tuple[int, int]  # seller_key, kind: what ranges belong to


class Requested(Protocol):
    """Anything with a request id and the digest of its request."""

    @property
    def request_id(self) -> str: ...  # noqa: D102
    @property
    def request_sha256(self) -> bytes: ...  # noqa: D102


@dataclass(slots=True)
class RangeState:
    """A number range as read under lock."""

    range_id: int
    first_number: int
    size: int
    used: int


@dataclass(slots=True)
class Allocation:
    """Numbers for the drafts that got one, in order, and what to write for it."""

    numbers: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    taken: dict[int, int] = field(default_factory=dict)  # range id -> count
    short: dict[Stock, int] = field(default_factory=dict)  # stock -> how many numbers are missing


def stocks(drafts: Iterable[Draft]) -> dict[Stock, int]:
    """Counts the numbers needed of each stock, in the order of the drafts, which are sorted by stock."""
    counts: dict[Stock, int] = {}
    for draft in drafts:
        stock = (draft.seller_key, draft.kind)
        counts[stock] = counts.get(stock, 0) + 1
    return counts


def allocate(needed: Mapping[Stock, int], open_ranges: Mapping[Stock, Sequence[RangeState]]) -> Allocation:
    """Takes numbers from each stock's ranges in the order given, the next range when one ends."""
    allocation = Allocation()
    for stock, count in needed.items():
        for state in open_ranges.get(stock, ()):
            take = min(count, state.size - state.used)
            if take <= 0:
                continue
            first = state.first_number + state.used
            allocation.numbers += [f"{number:020d}" for number in range(first, first + take)]
            allocation.runs.append(Run(stock[0], stock[1], f"{first:020d}", take))
            allocation.taken[state.range_id] = take
            count -= take
            if not count:
                break
        if count:
            allocation.short[stock] = count
    return allocation


def shortage(stock: Stock, *, had_ranges: bool) -> BillowError:
    """The error of a draft for which no number is left."""
    kind = InvoiceKind(stock[1]).name
    metadata = {"kind": kind}
    if had_ranges:
        words = f"all number ranges of the seller for {kind} invoices are used up"
        return BillowError(Reason.NUMBER_RANGE_EXHAUSTED, words, metadata=metadata)
    return BillowError(Reason.NO_NUMBER_RANGE, f"the seller has no number range for {kind} invoices", metadata=metadata)


def answer_known(draft: Requested, request_sha256: bytes) -> BillowError | None:
    """Compares a draft with the digest its request id was used with; returns the error when they differ (P2)."""
    if draft.request_sha256 == request_sha256:
        return None
    return BillowError(
        Reason.REQUEST_ID_REUSED,
        f"request id {draft.request_id} was used with another body",
        metadata={"request_id": draft.request_id},
    )

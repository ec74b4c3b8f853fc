"""Which drafts a credit quota lets pass: the decision between reading what is used and writing. Pure (docs/adr/0022).

A quota bounds the sum of the totals without tax of the blue invoices of one seller and calendar month, in the time zone
of the issue date. Red invoices give nothing back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from core.domain.decimals import minor_text
from core.domain.errors import BillowError, Reason
from core.domain.profile import CN
from core.storage.ports import Draft

Key = tuple[int, str]  # seller_key, request_id
ZONE: Final = dt.timezone(dt.timedelta(seconds=CN.utc_offset_s))  # of the issue date; "cn" is the only profile yet


@dataclass(frozen=True, slots=True)
class MonthUse:
    """A seller's quota and what is used of it in one month, as read under lock."""

    quota_minor: int
    used_minor: int


@dataclass(slots=True)
class Shares:
    """What the quotas let pass: the errors of those refused, and what the others take, by seller."""

    refused: dict[Key, BillowError] = field(default_factory=dict)
    taken: dict[int, int] = field(default_factory=dict)


def month_of(at_us: int) -> int:
    """Returns the month of the issue date as yyyymm."""
    date = dt.datetime.fromtimestamp(at_us // 1_000_000, ZONE)
    return date.year * 100 + date.month


def month_start_us(month: int) -> int:
    """Returns when the month yyyymm begins, µs since the epoch."""
    return int(dt.datetime(month // 100, month % 100, 1, tzinfo=ZONE).timestamp()) * 1_000_000


def next_month(month: int) -> int:
    """Returns the month after yyyymm."""
    return month + 1 if month % 100 < 12 else month + 89


def month_text(month: int) -> str:
    """Writes the month for people: 202611 is "2026-11"."""
    return f"{month // 100}-{month % 100:02d}"


def share_out(drafts: Iterable[Draft], uses: Mapping[int, MonthUse], month: int) -> Shares:
    """Looks at the drafts in the order they came in; each that still fits passes, also after one that did not.

    Drafts of sellers without an entry in `uses` are not looked at.
    """
    shares = Shares()
    for draft in drafts:
        use = uses.get(draft.seller_key)
        if use is None:
            continue
        used_minor = use.used_minor + shares.taken.get(draft.seller_key, 0)
        if used_minor + draft.net_total_minor > use.quota_minor:
            error = quota_exceeded(draft, use.quota_minor, used_minor, month)
            shares.refused[draft.seller_key, draft.request_id] = error
        else:
            shares.taken[draft.seller_key] = used_minor + draft.net_total_minor - use.used_minor
    return shares


def quota_exceeded(draft: Draft, quota_minor: int, used_minor: int, month: int) -> BillowError:
    """The error of a draft that does not fit; the amounts are those when it was looked at."""
    left_minor = max(0, quota_minor - used_minor)
    words = (
        f"{minor_text(draft.net_total_minor)} exceed the seller's credit quota:"
        f" {minor_text(left_minor)} of {minor_text(quota_minor)} are left in {month_text(month)}"
    )
    metadata = {
        "month": month_text(month),
        "quota_minor": str(quota_minor),
        "used_minor": str(used_minor),
        "left_minor": str(left_minor),
    }
    return BillowError(Reason.CREDIT_QUOTA_EXCEEDED, words, metadata=metadata)

"""Telling whether what somebody reads off an invoice agrees with the invoice: pure, about 1 µs a check."""

from __future__ import annotations

import datetime as dt
import enum
import re
from functools import lru_cache
from typing import Any, Final, Protocol

from core import limits
from core.domain.kinds import state_of
from core.domain.profile import CN

NUMBER_FORM: Final = re.compile(rf"[0-9]{{{limits.NUMBER_CHARS}}}")

_US_PER_S: Final = 1_000_000
_US_PER_DAY: Final = 86_400 * _US_PER_S
_OFFSET_US: Final = CN.utc_offset_s * _US_PER_S  # the only profile yet
_EPOCH_ORDINAL: Final = dt.date(1970, 1, 1).toordinal()


class Outcome(enum.IntEnum):
    """What a check found; the values are those of billow.verification.v1.VerificationOutcome."""

    MATCH = 1
    MISMATCH = 2
    NOT_FOUND = 3
    TOO_MANY_CHECKS = 4
    INVALID = 5
    TOO_OLD = 6


Result = tuple[int, int, int]
"""Outcome, state, red total in minor units; state and red total are 0 unless the outcome is MATCH."""

MISMATCH: Final[Result] = (int(Outcome.MISMATCH), 0, 0)
NOT_FOUND: Final[Result] = (int(Outcome.NOT_FOUND), 0, 0)
TOO_MANY_CHECKS: Final[Result] = (int(Outcome.TOO_MANY_CHECKS), 0, 0)
INVALID: Final[Result] = (int(Outcome.INVALID), 0, 0)
TOO_OLD: Final[Result] = (int(Outcome.TOO_OLD), 0, 0)

_MATCH = int(Outcome.MATCH)


class Check(Protocol):
    """What the holder reads off the invoice: as billow.verification.v1.InvoiceCheck, which has these attributes."""

    @property
    def number(self) -> str: ...  # noqa: D102
    @property
    def issue_date(self) -> int:
        """As yyyymmdd."""
        ...

    @property
    def gross_total_minor(self) -> int: ...  # noqa: D102
    @property
    def net_total_minor(self) -> int: ...  # noqa: D102
    @property
    def seller_tax_id(self) -> str: ...  # noqa: D102
    @property
    def buyer_tax_id(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> int:
        """The legal kind; 0 when it is not given."""
        ...

    def HasField(self, name: Any, /) -> bool:  # noqa: N802 (protobuf's name)
        """Tells an absent optional number from zero."""
        ...


class Entry(Protocol):
    """What is known of the invoice: as core.storage.ports.VerificationEntry."""

    issued_at_us: int
    kind: int
    net_total_minor: int
    gross_total_minor: int
    red_total_minor: int
    seller_tax_id: str
    buyer_tax_id: str


@lru_cache(maxsize=8_192)
def _date_of_day(day: int) -> int:
    date = dt.date.fromordinal(_EPOCH_ORDINAL + day)
    return date.year * 10_000 + date.month * 100 + date.day


def date_of(at_us: int) -> int:
    """Returns the issue date, yyyymmdd in the profile's time zone, of a moment in µs since the epoch."""
    return _date_of_day((at_us + _OFFSET_US) // _US_PER_DAY)


@lru_cache(maxsize=8_192)
def is_date(value: int) -> bool:
    """Tells whether a number is a date as yyyymmdd."""
    try:
        dt.date(value // 10_000, value // 100 % 100, value % 100)
    except (ValueError, OverflowError):
        return False
    return True


def before_lookup(check: Check, today: int) -> Result | None:
    """Returns the result of a check that needs no look at the invoice: INVALID or TOO_OLD; else None."""
    if not NUMBER_FORM.fullmatch(check.number) or not check.HasField("gross_total_minor"):
        return INVALID
    issue_date = check.issue_date
    if not is_date(issue_date):
        return INVALID
    if issue_date < today - limits.VERIFICATION_YEARS_MAX * 10_000:
        return TOO_OLD
    return None


def needs_key(check: Check) -> bool:
    """Tells whether a check has fields that only a caller with a key may ask about."""
    return bool(check.seller_tax_id or check.buyer_tax_id or check.kind) or check.HasField("net_total_minor")


def compare(check: Check, entry: Entry) -> Result:
    """Compares every field given with the invoice of that number. Which one disagrees is not told."""
    if check.gross_total_minor != entry.gross_total_minor or check.issue_date != date_of(entry.issued_at_us):
        return MISMATCH
    seller_tax_id = check.seller_tax_id
    if seller_tax_id and seller_tax_id != entry.seller_tax_id:
        return MISMATCH
    buyer_tax_id = check.buyer_tax_id
    if buyer_tax_id and buyer_tax_id != entry.buyer_tax_id:
        return MISMATCH
    kind = check.kind
    if kind and kind != entry.kind:
        return MISMATCH
    if check.net_total_minor != entry.net_total_minor and check.HasField("net_total_minor"):
        return MISMATCH
    red_total = entry.red_total_minor
    return (_MATCH, int(state_of(entry.gross_total_minor, red_total)), red_total)

"""What a request asks of a representation that never changes: conditions and ranges of RFC 9110, as pure functions."""

from __future__ import annotations

import re
from typing import Final

RANGE_FORM: Final = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range asked for has none of the bytes there are."""


def has_it(if_none_match: str | None, etag: str) -> bool:
    """Tells whether the caller has these bytes already (If-None-Match, compared weakly as RFC 9110 13.1.2 says)."""
    if if_none_match is None:
        return False
    known = [item.strip().removeprefix("W/") for item in if_none_match.split(",")]
    return etag in known or known == ["*"]


def part(range_: str | None, if_range: str | None, *, etag: str, size_bytes: int) -> tuple[int, int] | None:
    """Returns start and end (exclusive) of the part asked for, or None: the whole.

    Several ranges, other units and what is not well formed get the whole, as RFC 9110 14.2 allows; so does an
    If-Range that names other bytes. Raises Unsatisfiable.
    """
    found = RANGE_FORM.fullmatch(range_.strip()) if range_ is not None else None
    if found is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, size_bytes - int(suffix)), size_bytes
    else:
        start, end = int(first), min(int(last) + 1, size_bytes) if last else size_bytes
        if last and int(last) < start:
            return None
    if start >= end:
        raise Unsatisfiable
    return start, end

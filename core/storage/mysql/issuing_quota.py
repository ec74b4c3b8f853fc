# ruff: noqa: S608 -- integers only, as in issuing_sql.py
"""Credit quotas inside the issuing transaction (docs/adr/0022).

`number_ranges.quota_on`, which the transaction locks anyway, tells that a seller has a quota; without one nothing here
is asked. Rows of `credit_quotas` are locked by seller after the ranges; whoever holds one may count in its months.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core.storage.credit import MonthUse

SELLERS_KNOWN_MAX = 100_000  # sellers with a quota that are remembered; the memory starts anew beyond


class QuotaSellers:
    """The sellers that had a quota when last seen: their rows are locked in the same round trip as the ranges.

    A mere accelerator: the flag on the locked ranges decides.
    """

    def __init__(self) -> None:
        self._sellers: set[int] = set()

    def among(self, seller_keys: Iterable[int]) -> list[int]:
        """Returns those of the sellers that had a quota, in order; nothing is looked at while no seller has one."""
        return sorted(self._sellers.intersection(seller_keys)) if self._sellers else []

    def saw(self, guessed: Sequence[int], limited: Sequence[int]) -> None:
        """Notes which sellers have a quota and which of those guessed have none any more."""
        if len(self._sellers) > SELLERS_KNOWN_MAX:
            self._sellers.clear()
        self._sellers.difference_update(guessed)
        self._sellers.update(limited)


def lock_quotas(seller_keys: Sequence[int], month: int) -> str:
    """Locks the quotas in the order of their sellers, each with what is used of it in the month."""
    wanted = ",".join(f"{key:d}" for key in sorted(seller_keys))
    return (
        "SELECT q.seller_key, q.quota_minor, COALESCE(m.used_minor, 0) FROM credit_quotas q FORCE INDEX (PRIMARY)"
        f" LEFT JOIN credit_quota_months m ON m.seller_key = q.seller_key AND m.month = {month:d}"
        f" WHERE q.seller_key IN ({wanted}) ORDER BY q.seller_key FOR UPDATE"
    )


def uses_from(rows: Iterable[Sequence[Any]]) -> dict[int, MonthUse]:
    """Reads what lock_quotas found."""
    return {row[0]: MonthUse(row[1], int(row[2])) for row in rows}


def count_quotas(taken: Mapping[int, int], uses: Mapping[int, MonthUse], month: int) -> str:
    """Counts what a commit takes; `ceiling_minor` becomes the greatest quota in force at any commit of the month."""
    values = ",".join(
        f"({key:d},{month:d},{amount:d},{uses[key].quota_minor:d})" for key, amount in sorted(taken.items())
    )
    return (
        f"INSERT INTO credit_quota_months (seller_key, month, used_minor, ceiling_minor) VALUES {values}"
        " ON DUPLICATE KEY UPDATE used_minor = used_minor + VALUES(used_minor),"
        " ceiling_minor = GREATEST(ceiling_minor, VALUES(ceiling_minor))"
    )

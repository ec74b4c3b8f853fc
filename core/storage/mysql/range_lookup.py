# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""Looks up open number ranges of blue invoices, which a process then remembers; 1 round trip each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from core.limits import OPEN_RANGES_MAX
from core.storage.allocation import Stock
from core.storage.mysql.pool import Primary

_OF_STOCK: Final = " FROM number_ranges WHERE seller_key = %s AND kind = %s AND color = 1"


async def first(primary: Primary, wanted: Mapping[Stock, int]) -> dict[Stock, list[int]]:
    """Returns the ids of the first OPEN_RANGES_MAX ranges of those stocks for which they hold the numbers wanted."""
    sellers = sorted({seller_key for seller_key, _ in wanted})
    rows = await primary.rows(_first_of(sellers), sellers)
    found: dict[Stock, list[int]] = {}
    left: dict[Stock, int] = {}
    for seller_key, kind, range_id, free in rows:
        stock = (seller_key, kind)
        found.setdefault(stock, []).append(range_id)
        left[stock] = left.get(stock, 0) + int(free)
    return {stock: found[stock] for stock, count in wanted.items() if left.get(stock, 0) >= count}


def _first_of(sellers: Sequence[int]) -> str:
    return (
        "SELECT seller_key, kind, range_id, size - used FROM (SELECT seller_key, kind, range_id, size, used,"
        " ROW_NUMBER() OVER (PARTITION BY seller_key, kind ORDER BY range_id) AS place"
        f" FROM number_ranges FORCE INDEX (by_seller) WHERE seller_key IN ({','.join(['%s'] * len(sellers))})"
        f" AND color = 1 AND used < size) open_ranges WHERE place <= {OPEN_RANGES_MAX} ORDER BY range_id"
    )


async def enough(primary: Primary, stock: Stock, count: int) -> tuple[list[int], int]:
    """Returns the ids of the first ranges of a stock that hold `count` numbers and some more, and what they hold."""
    found = await primary.rows(
        f"SELECT range_id, size - used{_OF_STOCK} AND used < size ORDER BY range_id LIMIT %s",
        (*stock, count + OPEN_RANGES_MAX),
    )
    left = ids = 0
    for _, free in found:
        left += free
        ids += 1
        if left >= count and ids >= OPEN_RANGES_MAX:
            break
    return [row[0] for row in found[:ids]], left


async def any_at_all(primary: Primary, stock: Stock) -> bool:
    """Tells whether a stock has any range, used up or not."""
    return bool(await primary.rows(f"SELECT 1{_OF_STOCK} LIMIT 1", stock))

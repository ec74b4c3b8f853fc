"""What a red invoice takes of its blue one: pure arithmetic, decided while the blue one's balance is locked (P4).

A blue invoice is seen as items: each is a line together with the discount behind it. A red invoice takes a part of
some items. The tax of a part is what the tax of everything taken of the item grows by, so that parts add up to the item
exactly, whatever their sizes and however they were rounded. Sources: DOMAIN.md, docs/adr/0014.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.domain.decimals import POWERS, divided, parse
from core.domain.errors import BillowError, Reason, Violation
from core.domain.kinds import LineType
from core.limits import DECIMALS_MAX, VIOLATIONS_MAX

REMARK: Final = "被红冲蓝字数电票号码："  # DOMAIN.md: the red names the blue number in its remark
_SUM = struct.Struct("<HQQ")


class RedReason(enum.IntEnum):
    """Why; the values are those of billow.redletter.v1.RedReason, and of the law (01 to 04)."""

    ISSUED_IN_ERROR = 1
    GOODS_RETURNED = 2
    SERVICE_STOPPED = 3
    ALLOWANCE = 4


class RedExtent(enum.IntEnum):
    """How much; the values are those of billow.redletter.v1.RedExtent."""

    WHOLE = 1
    REMAINDER = 2
    LINES = 3


@dataclass(frozen=True, slots=True)
class BlueLine:
    """A line of a blue invoice as issued; amounts in minor units."""

    type: int
    quantity: str
    unit_price: str
    net: int
    tax: int


@dataclass(slots=True)
class Taken:
    """What has been taken of an item, minor units."""

    net: int = 0
    tax: int = 0

    @property
    def gross(self) -> int:
        """With tax."""
        return self.net + self.tax


Sums = dict[int, Taken]
"""What the reds so far took, by the position of the item's line from 0."""


@dataclass(frozen=True, slots=True)
class LineWish:
    """One line as the caller named it, from 0; at most one of the amounts is set, none means all that is left."""

    line: int
    quantity: str = ""
    net: int | None = None
    gross: int | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """How much of a blue invoice is to be taken."""

    extent: int
    lines: tuple[LineWish, ...] = ()


@dataclass(frozen=True, slots=True)
class RedPart:
    """What is taken of one item: positive amounts; quantity and price are empty where an amount was asked for."""

    line: int
    net: int
    tax: int
    quantity: str
    unit_price: str


def pack_sums(sums: Mapping[int, Taken]) -> bytes:
    """Packs sums for the database: u16 line, u64 net, u64 tax each, little-endian, by line."""
    return b"".join(_SUM.pack(line, taken.net, taken.tax) for line, taken in sorted(sums.items()))


def unpack_sums(data: bytes | None) -> Sums:
    """Reads what `pack_sums` wrote; raises struct.error."""
    return {line: Taken(net, tax) for line, net, tax in _SUM.iter_unpack(data or b"")}


def items_of(lines: Sequence[BlueLine]) -> dict[int, BlueLine]:
    """Joins each line with its discount, whose amounts are negative; by the line's position."""
    items: dict[int, BlueLine] = {}
    for position, line in enumerate(lines):
        if line.type != LineType.DISCOUNT:
            items[position] = line
            continue
        item = items[position - 1]
        items[position - 1] = BlueLine(
            item.type, item.quantity, item.unit_price, item.net + line.net, item.tax + line.tax
        )
    return items


def wish_faults(wish: Wish, lines: Sequence[BlueLine]) -> list[Violation]:
    """Names what is wrong with a wish, whatever has been taken; paths are those inside RedSelection."""
    faults: list[Violation] = []
    seen: set[int] = set()
    for place, named in enumerate(wish.lines[:VIOLATIONS_MAX]):
        path = f"lines[{place}]"
        if not 0 <= named.line < len(lines):
            faults.append(Violation(f"{path}.line", "RED_LINE", f"must be 1 to {len(lines)}"))
            continue
        blue = lines[named.line]
        if blue.type == LineType.DISCOUNT:
            faults.append(Violation(f"{path}.line", "RED_LINE", "is a discount: name the line before it"))
        if named.line in seen:
            faults.append(Violation(f"{path}.line", "RED_LINE", "is named twice"))
        seen.add(named.line)
        amount = named.net if named.net is not None else named.gross
        if amount is not None and amount <= 0:
            field = "net_minor" if named.net is not None else "gross_minor"
            faults.append(Violation(f"{path}.{field}", "AMOUNT_POSITIVE", "must be positive"))
        if named.quantity:
            faults += _quantity_faults(named.quantity, blue, f"{path}.quantity")
    return faults


def _quantity_faults(text: str, blue: BlueLine, path: str) -> list[Violation]:
    quantity = parse(text)
    if quantity is None:
        return [Violation(path, "DECIMAL_FORM", f"must be a plain decimal with at most {DECIMALS_MAX} decimals")]
    if quantity[0] <= 0:
        return [Violation(path, "QUANTITY_POSITIVE", "must be positive")]
    if not blue.quantity:
        return [Violation(path, "RED_LINE", "the line has no quantity: name an amount")]
    return []


def decide(number: str, lines: Sequence[BlueLine], sums: Sums, wish: Wish, *, gross_prices: bool) -> list[RedPart]:
    """Decides what a red invoice takes of blue invoice `number`, given what was taken before; changes nothing.

    Raises ALREADY_FULLY_RED, or RED_EXCEEDS_REMAINDER with what is left, of the whole or of the line that is short.
    The wish has no faults.
    """
    items = items_of(lines)
    left = sum(item.net + item.tax for item in items.values()) - sum(taken.gross for taken in sums.values())
    if left <= 0:
        words = f"nothing is left of invoice {number}: it is fully red"
        raise BillowError(Reason.ALREADY_FULLY_RED, words, metadata={"number": number})
    if wish.extent == RedExtent.WHOLE and sums:
        raise exceeds(number, left)
    named = wish.lines if wish.extent == RedExtent.LINES else tuple(LineWish(line) for line in items)
    parts = []
    for one in named:
        part = _part(number, one, items[one.line], sums.get(one.line) or Taken(), gross_prices=gross_prices)
        if part is not None:
            parts.append(part)
        elif wish.extent == RedExtent.LINES:
            raise exceeds(number, 0, one.line)
    return parts


def exceeds(number: str, remaining_minor: int, line: int | None = None) -> BillowError:
    """The error for a wish beyond what is left, which it tells, with tax."""
    metadata = {"number": number, "remaining_minor": str(remaining_minor)}
    what = f"invoice {number}"
    if line is not None:
        metadata["line"] = str(line + 1)
        what = f"line {line + 1} of {what}"
    words = f"only {remaining_minor} is left of {what}"
    return BillowError(Reason.RED_EXCEEDS_REMAINDER, words, metadata=metadata)


def _part(number: str, wish: LineWish, item: BlueLine, taken: Taken, *, gross_prices: bool) -> RedPart | None:
    """Returns what is taken of one item; None when nothing is left of it."""
    net_left, tax_left = item.net - taken.net, item.tax - taken.tax
    if net_left + tax_left <= 0:
        return None
    net, gross = wish.net, wish.gross
    if wish.quantity:
        amount = _of_quantity(wish.quantity, item, gross_prices=gross_prices)
        basis_left = net_left + tax_left if gross_prices else net_left
        if amount == basis_left + 1:
            amount = basis_left  # thirds of a line, each rounded up
        net, gross = (None, amount) if gross_prices else (amount, None)
    if net is None and gross is None:
        untouched = not taken.gross
        quantity = item.quantity if untouched else ""
        return RedPart(wish.line, net_left, tax_left, quantity, _price(item, gross_prices) if quantity else "")
    if net is not None:
        if net > net_left:
            raise exceeds(number, net_left + tax_left, wish.line)
        tax = divided(item.tax * (taken.net + net), item.net) - taken.tax
        tax = min(max(tax, 0), tax_left)
    else:
        assert gross is not None  # noqa: S101 (one of the two is given)
        if gross > net_left + tax_left:
            raise exceeds(number, net_left + tax_left, wish.line)
        net = divided(item.net * (taken.gross + gross), item.net + item.tax) - taken.net
        net = min(max(net, gross - tax_left, 0), net_left, gross)
        tax = gross - net
    return RedPart(wish.line, net, tax, wish.quantity, _price(item, gross_prices) if wish.quantity else "")


def _of_quantity(text: str, item: BlueLine, *, gross_prices: bool) -> int:
    """Returns the share of the item's amount, in the price basis, that a part of its quantity has."""
    part, whole = parse(text), parse(item.quantity)
    assert part is not None and whole is not None  # noqa: S101, PT018 (checked by wish_faults and when it was issued)
    amount = item.net + item.tax if gross_prices else item.net
    return divided(amount * part[0] * POWERS[whole[1]], whole[0] * POWERS[part[1]])


def _price(item: BlueLine, gross_prices: bool) -> str:
    """Returns the price of one unit of an item: as issued, or, with a discount, what it comes to."""
    quantity, price = parse(item.quantity), parse(item.unit_price)
    assert quantity is not None and price is not None  # noqa: S101, PT018 (checked when it was issued)
    if item.type != LineType.DISCOUNTED:
        return item.unit_price
    amount = item.net + item.tax if gross_prices else item.net
    scaled = divided(amount * POWERS[quantity[1]] * POWERS[DECIMALS_MAX], quantity[0] * 100)
    digits = f"{scaled:0{DECIMALS_MAX + 1}d}"
    return f"{digits[:-DECIMALS_MAX]}.{digits[-DECIMALS_MAX:]}".rstrip("0").rstrip(".")

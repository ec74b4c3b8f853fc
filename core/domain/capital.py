"""Amounts in Chinese capital numerals (大写), as invoices and cheques carry them against alteration.

Source: DOMAIN.md, "Capital amount", after the payment rules of the People's Bank: zeros collapse to one 零, 整 follows
圆 and never 分; after 角 it is optional and left out.
"""

from __future__ import annotations

import re
from typing import Final

DIGITS: Final = "零壹贰叁肆伍陆柒捌玖"
NEGATIVE: Final = "（负数）"
WAN: Final = 10**4
YI: Final = 10**8
YUAN_MAX: Final = 10**16 - 1

_PLACES: Final = ((1000, "仟"), (100, "佰"), (10, "拾"), (1, ""))
_FORM: Final = re.compile(
    r"(（负数）)?(?:([零壹贰叁肆伍陆柒捌玖拾佰仟万亿]+)圆)?(?:零?([壹贰叁肆伍陆柒捌玖])角)?(?:零?([壹贰叁肆伍陆柒捌玖])分)?整?"
)


def capital(amount_minor: int) -> str:
    """Writes an amount in fen: 140950 is 壹仟肆佰零玖圆伍角. Less than 10^16 yuan either way, else ValueError."""
    yuan, cents = divmod(abs(amount_minor), 100)
    if yuan > YUAN_MAX:
        raise ValueError(f"{amount_minor} is too large to be written")
    jiao, fen = divmod(cents, 10)
    text = NEGATIVE if amount_minor < 0 else ""
    if yuan or not cents:
        text += (_whole(yuan) or DIGITS[0]) + "圆"
    if jiao:
        text += DIGITS[jiao] + "角"
    elif fen and yuan:
        text += DIGITS[0]
    return text + (DIGITS[fen] + "分" if fen else "" if jiao else "整")


def read_capital(text: str) -> int | None:
    """Reads what `capital` writes back into fen; None when it is not such a text.

    元 counts as 圆, 整 after 角 may stand or not, and 零 may stand where the rules leave it to the writer.
    """
    match = _FORM.fullmatch(text.strip().replace("元", "圆"))
    if match is None or not any(match.groups()[1:]):
        return None
    negative, whole, jiao, fen = match.groups()
    yuan = _value(whole or DIGITS[0])
    if yuan is None:
        return None
    amount_minor = yuan * 100 + DIGITS.index(jiao or DIGITS[0]) * 10 + DIGITS.index(fen or DIGITS[0])
    plain = str.maketrans("", "", DIGITS[0] + "整")
    if capital(amount_minor).translate(plain) != text.strip().replace("元", "圆").removeprefix(NEGATIVE).translate(
        plain
    ):
        return None  # units out of order, or a digit twice
    return -amount_minor if negative else amount_minor


def _whole(number: int) -> str:
    """Writes a whole number below 10^16; nothing for 0."""
    for unit, name in ((YI, "亿"), (WAN, "万")):
        if number >= unit:
            high, low = divmod(number, unit)
            gap = DIGITS[0] if 0 < low < unit // 10 else ""
            return _whole(high) + name + gap + _whole(low)
    text, gap = "", ""
    for place, name in _PLACES:
        digit, number = divmod(number, place)
        if digit:
            text += gap + DIGITS[digit] + name
            gap = ""
        elif text:
            gap = DIGITS[0]
    return text


def _value(text: str) -> int | None:
    """Adds up a whole number; None when a unit has no digit."""
    for unit, name in ((YI, "亿"), (WAN, "万")):
        high, found, low = text.rpartition(name)
        if found:
            above, below = _value(high), _value(low) if low else 0
            return None if not above or below is None else above * unit + below
    total = digit = 0
    places = {name: place for place, name in _PLACES if name}
    for character in text:
        if character in places:
            if not digit:
                return None
            total += digit * places[character]
            digit = 0
        else:
            digit = DIGITS.index(character)
    return total + digit

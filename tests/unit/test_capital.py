"""Capital amounts: the examples of DOMAIN.md, and every amount reads back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import limits
from core.domain.capital import capital, read_capital

AMOUNTS = st.integers(-limits.AMOUNT_MINOR_MAX, limits.AMOUNT_MINOR_MAX)


@pytest.mark.parametrize(
    ("amount_minor", "text"),
    [
        (140_950, "壹仟肆佰零玖圆伍角"),
        (600_714, "陆仟零柒圆壹角肆分"),
        (32_504, "叁佰贰拾伍圆零肆分"),
        (113_000, "壹仟壹佰叁拾圆整"),
        (-50_000, "（负数）伍佰圆整"),
        (0, "零圆整"),
        (5, "伍分"),
        (50, "伍角"),
        (1_000, "壹拾圆整"),
        (1_005, "壹拾圆零伍分"),
        (10_050_000, "壹拾万零伍佰圆整"),
        (100_000_001_00, "壹亿零壹圆整"),
        (100_010_000_00, "壹亿零壹万圆整"),
        (10**14, "壹万亿圆整"),
        (1_234_567_890_123_45, "壹万贰仟叁佰肆拾伍亿陆仟柒佰捌拾玖万零壹佰贰拾叁圆肆角伍分"),
    ],
)
def test_examples(amount_minor: int, text: str) -> None:
    assert capital(amount_minor) == text
    assert read_capital(text) == amount_minor


@given(AMOUNTS)
def test_every_amount_reads_back(amount_minor: int) -> None:
    assert read_capital(capital(amount_minor)) == amount_minor


@given(AMOUNTS)
def test_zeros_collapse_and_the_end_is_right(amount_minor: int) -> None:
    text = capital(amount_minor)
    assert "零零" not in text
    assert text.endswith("整") == (amount_minor % 10 == 0 and abs(amount_minor) // 10 % 10 == 0)
    assert re.search(r"零[拾佰仟万亿角分]", text) is None
    assert amount_minor == 0 or "零圆" not in text


@pytest.mark.parametrize(
    ("text", "amount_minor"),
    [
        ("壹仟肆佰零玖元伍角整", 140_950),
        ("壹拾万零伍仟圆整", 10_500_000),
        ("壹圆零伍角", 150),
        ("", None),
        ("圆整", None),
        ("拾圆整", None),
        ("壹拾贰佰圆整", None),
        ("壹贰圆整", None),
        ("5圆", None),
        ("壹万贰万圆整", None),
    ],
)
def test_other_writers_and_nonsense(text: str, amount_minor: int | None) -> None:
    assert read_capital(text) == amount_minor


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        capital(10**18)

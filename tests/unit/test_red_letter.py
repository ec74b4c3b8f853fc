"""What red invoices take of a blue one: parts add up exactly and never exceed it (P4)."""

from __future__ import annotations

import random

import pytest

from core.domain.errors import BillowError, Reason
from core.domain.kinds import LineType
from core.domain.red_letter import (
    BlueLine,
    LineWish,
    RedExtent,
    RedPart,
    Sums,
    Taken,
    Wish,
    decide,
    pack_sums,
    unpack_sums,
    wish_faults,
)

NUMBER = "2" * 20
NORMAL, DISCOUNTED, DISCOUNT = int(LineType.NORMAL), int(LineType.DISCOUNTED), int(LineType.DISCOUNT)
LINES = [
    BlueLine(NORMAL, "3", "33.3333", 10_000, 1_300),
    BlueLine(DISCOUNTED, "4", "25", 10_000, 1_300),
    BlueLine(DISCOUNT, "", "", -2_000, -260),
    BlueLine(NORMAL, "", "", 999, 0),
]
GROSS = sum(line.net + line.tax for line in LINES)


def take(sums: Sums, wish: Wish, *, gross_prices: bool = False) -> list[RedPart]:
    parts = decide(NUMBER, LINES, sums, wish, gross_prices=gross_prices)
    for part in parts:
        taken = sums.setdefault(part.line, Taken())
        taken.net += part.net
        taken.tax += part.tax
    return parts


def of(line: int, **amount: int | str) -> Wish:
    return Wish(int(RedExtent.LINES), (LineWish(line, **amount),))  # type: ignore[arg-type]


def refusal(sums: Sums, wish: Wish) -> BillowError:
    with pytest.raises(BillowError) as refused:
        take(sums, wish)
    return refused.value


def total(sums: Sums) -> int:
    return sum(taken.gross for taken in sums.values())


def test_the_whole_is_every_item_with_its_discount() -> None:
    sums: Sums = {}
    parts = take(sums, Wish(int(RedExtent.WHOLE)))
    assert [(part.line, part.net, part.tax) for part in parts] == [(0, 10_000, 1_300), (1, 8_000, 1_040), (3, 999, 0)]
    assert [(part.quantity, part.unit_price) for part in parts] == [("3", "33.3333"), ("4", "20"), ("", "")]
    assert total(sums) == GROSS
    error = refusal(sums, Wish(int(RedExtent.REMAINDER)))
    assert (error.reason, error.metadata) == (Reason.ALREADY_FULLY_RED, {"number": NUMBER})


def test_the_whole_is_refused_once_a_part_is_red_and_the_remainder_is_not() -> None:
    sums: Sums = {}
    take(sums, of(0, net=1_000))
    error = refusal(sums, Wish(int(RedExtent.WHOLE)))
    assert error.reason is Reason.RED_EXCEEDS_REMAINDER
    assert error.metadata == {"number": NUMBER, "remaining_minor": str(GROSS - 1_130)}
    parts = take(sums, Wish(int(RedExtent.REMAINDER)))
    assert parts[0] == RedPart(0, 9_000, 1_170, "", "")
    assert total(sums) == GROSS


def test_a_line_gives_no_more_than_it_has_though_the_invoice_has_more() -> None:
    sums: Sums = {}
    take(sums, of(0, gross=11_000))
    error = refusal(sums, of(0, gross=301))
    assert error.metadata == {"number": NUMBER, "remaining_minor": "300", "line": "1"}
    take(sums, of(0, gross=300))
    assert refusal(sums, of(0)).metadata["remaining_minor"] == "0"
    assert take(sums, of(3)) == [RedPart(3, 999, 0, "", "")]


@pytest.mark.parametrize("gross_prices", [False, True])
def test_quantities_one_by_one_add_up_to_the_line(gross_prices: bool) -> None:
    sums: Sums = {}
    for _ in range(3):
        (part,) = take(sums, of(0, quantity="1"), gross_prices=gross_prices)
        assert (part.quantity, part.unit_price) == ("1", "33.3333")
    left = 11_300 - sums[0].gross
    assert 0 <= left <= 2
    if left:
        take(sums, of(0))
    assert (sums[0].net, sums[0].tax) == (10_000, 1_300)


@pytest.mark.parametrize("seed", range(20))
def test_random_parts_add_up_exactly(seed: int) -> None:
    chance = random.Random(seed)
    sums: Sums = {}
    for _ in range(200):
        line = chance.choice([0, 1, 3])
        amount = chance.randint(1, 400)
        wish = of(line, net=amount) if chance.random() < 0.5 else of(line, gross=amount)
        try:
            parts = take(sums, wish)
        except BillowError:
            continue
        assert all(part.net >= 0 and part.tax >= 0 and part.net + part.tax > 0 for part in parts)
    if total(sums) < GROSS:
        take(sums, Wish(int(RedExtent.REMAINDER)))
    assert {line: (taken.net, taken.tax) for line, taken in sums.items()} == {
        0: (10_000, 1_300),
        1: (8_000, 1_040),
        3: (999, 0),
    }


def test_faults_of_a_wish_are_all_named() -> None:
    wish = Wish(
        int(RedExtent.LINES),
        (
            LineWish(2),
            LineWish(4),
            LineWish(0, net=0),
            LineWish(0, quantity="-1"),
            LineWish(3, quantity="1"),
            LineWish(1, quantity="1e3"),
        ),
    )
    assert [(fault.field, fault.rule) for fault in wish_faults(wish, LINES)] == [
        ("lines[0].line", "RED_LINE"),
        ("lines[1].line", "RED_LINE"),
        ("lines[2].net_minor", "AMOUNT_POSITIVE"),
        ("lines[3].line", "RED_LINE"),
        ("lines[3].quantity", "QUANTITY_POSITIVE"),
        ("lines[4].quantity", "RED_LINE"),
        ("lines[5].quantity", "DECIMAL_FORM"),
    ]


def test_sums_survive_packing() -> None:
    sums = {1_999: Taken(10**15, 3), 0: Taken(1, 0)}
    assert unpack_sums(pack_sums(sums)) == sums
    assert unpack_sums(None) == {}

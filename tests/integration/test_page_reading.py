"""What the inspection page makes of typed text: money without floats, numbers, dates, QR codes; run by Chromium."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from core import limits
from core.domain.decimals import minor_text
from core.domain.qr_text import qr_text
from stack import Stack
from tests.fuzz.mutations import mutated
from tests.support.browser import Visit, chromium, visiting

NUMBER = "26110000000000000042"
LARGEST = limits.AMOUNT_MINOR_MAX


@pytest.fixture(scope="module")
def visit(running_stack: Stack) -> Iterator[Visit]:
    with chromium() as browser, visiting(browser, running_stack) as opened:
        yield opened


def call(visit: Visit, module: str, function: str, *arguments: object) -> Any:
    script = "async ([file, name, given]) => (await import(`/static/${file}.js`))[name](...given)"
    return visit.page.evaluate(script, [module, function, list(arguments)])


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("0", "0"),
        ("0.1", "10"),
        ("0.29", "29"),
        ("1.005", None),
        ("1.10000", "110"),
        ("1130", "113000"),
        (" 1,130.00 ", "113000"),
        ("1,234,567.89", "123456789"),
        ("1,13", None),
        ("1130,00", None),
        ("12,345,6.00", None),
        ("¥1130.5", "113050"),
        ("￥１，１３０．５０", "113050"),
        ("1130.50元", "113050"),
        ("-500.00", "-50000"),
        ("\u2212500", "-50000"),
        ("-¥500", "-50000"),
        ("--5", None),
        ("-0", "0"),
        ("", None),
        (".", None),
        ("5.", None),
        (".5", None),
        ("1e3", None),
        ("0x10", None),
        ("twelve", None),
        (minor_text(LARGEST), str(LARGEST)),
        (minor_text(-LARGEST), str(-LARGEST)),
        (minor_text(LARGEST + 1), None),
        ("9" * 400, None),
    ],
)
def test_money(visit: Visit, text: str, minor: str | None) -> None:
    assert call(visit, "amounts", "minorUnits", text) == minor


def test_money_goes_there_and_back(visit: Visit) -> None:
    amounts = [0, 1, 9, 10, 99, 100, 101, 999_999_999_999_999, -1, -100, *range(2**49, 2**49 + 300)]
    script = (
        "async (minors) => { const { minorText, minorUnits } = await import('/static/amounts.js');"
        " return minors.map((minor) => [minorText(minor), minorUnits(minorText(minor, { grouped: true }))]) }"
    )
    found = visit.page.evaluate(script, [str(amount) for amount in amounts])
    assert found == [[minor_text(amount), str(amount)] for amount in amounts]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2026-11-18", 20261118),
        ("20261118", 20261118),
        ("2026/1/8", 20260108),
        ("2026年11月18日", 20261118),
        ("２０２６年１１月１８日", 20261118),
        (" 2026 年 11 月 18 日 ", 20261118),
        ("2024-02-29", 20240229),
        ("2026-02-29", None),
        ("2026-13-01", None),
        ("2026-00-10", None),
        ("18-11-2026", None),
        ("0026-11-18", None),
        ("2026-11-18T00:00", None),
        ("", None),
    ],
)
def test_dates(visit: Visit, text: str, date: int | None) -> None:
    assert call(visit, "readings", "issueDate", text) == date


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (NUMBER, NUMBER),
        ("26110 00000 00000 00042", NUMBER),
        ("２６１１" + NUMBER[4:], NUMBER),
        (NUMBER[1:], None),
        (NUMBER + "0", None),
        (NUMBER[:-1] + "O", None),
    ],
)
def test_numbers(visit: Visit, text: str, number: str | None) -> None:
    assert call(visit, "readings", "invoiceNumber", text) == number


@pytest.mark.parametrize(("kind", "minor"), [(1, 11_300), (2, 5), (2, -50_000), (1, LARGEST)])
def test_codes_are_read_as_they_are_written(visit: Visit, kind: int, minor: int) -> None:
    text = qr_text(kind=kind, number=NUMBER, gross_total_minor=minor, issue_date=20261118)
    assert call(visit, "readings", "qrFields", text) == {
        "number": NUMBER,
        "date": "2026-11-18",
        "total": minor_text(minor),
        "sound": True,
    }
    misread = text.replace("2611", "2671", 1)
    assert call(visit, "readings", "qrFields", misread)["sound"] is False


@pytest.mark.parametrize(
    "text",
    ["", "01,32", f"01,32,,{NUMBER},113.00,20261318,,0000", f"01,99,,{NUMBER},113.00,20261118,,0000", "x" * 100_000],
)
def test_other_texts_are_no_codes(visit: Visit, text: str) -> None:
    assert call(visit, "readings", "qrFields", text) is None


def test_garbled_texts_are_read_or_refused(visit: Visit) -> None:
    """By seed: no reader of typed text throws, and a code is sound only if it is the one that was written."""
    code = qr_text(kind=2, number=NUMBER, gross_total_minor=11_300, issue_date=20261118)
    seeds = [text.encode() for text in (code, NUMBER, "2026年11月18日", "￥１，１３０．５０", "1,130.00")]
    choice = random.Random(20_261_129)
    texts = [mutated(seeds, choice, bytes_max=200).decode(errors="replace") for _ in range(2_000)]
    script = """async (texts) => {
        const {invoiceNumber, issueDate, qrFields} = await import('/static/readings.js');
        const {minorUnits} = await import('/static/amounts.js');
        for (const read of [invoiceNumber, issueDate, minorUnits]) texts.forEach((text) => read(text));
        return texts.filter((text) => qrFields(text)?.sound);
    }"""
    assert {text.strip() for text in visit.page.evaluate(script, texts)} <= {code}

"""Where things stand on the pages of a PDF: wrapping and the breaking into pages. Pure; lengths are in points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from core.documents.face import FaceTexts, LineTexts

MM: Final = 72 / 25.4
PAGE_WIDTH: Final = 210 * MM
SHORT_PAGE_HEIGHT: Final = 140 * MM  # the face that people know
LONG_PAGE_HEIGHT: Final = 297 * MM  # A4, when the lines do not fit
MARGIN: Final = 8 * MM
EDGE: Final = 4 * MM  # above and below
WIDTH: Final = PAGE_WIDTH - 2 * MARGIN
LABEL_WIDTH: Final = 6 * MM
PADDING: Final = 1.2 * MM
TEXT_SIZE: Final = 8
LEADING: Final = 10
ROW_PADDING: Final = 3
TITLE_HEIGHT: Final = 30 * MM
HEAD_HEIGHT: Final = 6 * MM
SUM_HEIGHT: Final = 6 * MM
GROSS_HEIGHT: Final = 8 * MM
DRAWER_HEIGHT: Final = 9 * MM
PARTY_HEIGHT_MIN: Final = 20 * MM
REMARK_HEIGHT_MIN: Final = 14 * MM

Measure = Callable[[str], float]  # the width of a text at TEXT_SIZE


class Column(NamedTuple):
    """A column of the table. `align` is l, c or r; what wraps may take several lines, the rest is made to fit."""

    label: str
    width: float
    align: str
    wraps: bool


COLUMNS: Final = (
    Column("项目名称", 58 * MM, "l", True),
    Column("规格型号", 24 * MM, "l", True),
    Column("单位", 13 * MM, "c", True),
    Column("数量", 21 * MM, "r", False),
    Column("单价", 23 * MM, "r", False),
    Column("金额", 22 * MM, "r", False),
    Column("税率/征收率", 13 * MM, "c", False),
    Column("税额", 20 * MM, "r", False),
)


class Row(NamedTuple):
    """A line of the table: the lines of text of each cell, and the height."""

    cells: tuple[tuple[str, ...], ...]
    height: float
    amount: int  # fen, for the page's sum
    tax: int


class Label(NamedTuple):
    """A label and the lines of the text behind it."""

    label: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything placed: the rows of each page, and the heights that depend on the text."""

    page_height: float
    pages: tuple[tuple[Row, ...], ...]
    buyer: tuple[Label, ...]
    seller: tuple[Label, ...]
    party_height: float
    remark: tuple[str, ...]
    remark_height: float


def wrapped(text: str, width: float, measure: Measure) -> tuple[str, ...]:
    """Breaks a text into lines no wider than `width`, between any two characters, as Chinese is set.

    A run of Latin letters or digits, or a telephone number, moves to the next line whole when it is shorter than
    half of the line, counted in characters.
    """
    lines = []
    while measure(text) > width:
        end = _fitting(text, width, measure)
        start = end
        while start > end // 2 and _inside_word(text, start):
            start -= 1
        if start > end // 2:
            end = start
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return (*lines, text) if text or not lines else tuple(lines)


def plan(face: FaceTexts, measure: Measure) -> Plan:
    """Places a face: on one page as high as it needs, else on as many A4 pages as it takes."""
    party_width = WIDTH / 2 - LABEL_WIDTH - 2 * PADDING
    buyer = tuple(_labelled(face.buyer, party_width, measure))
    seller = tuple(_labelled(face.seller, party_width, measure))
    party_lines = max(sum(len(item.lines) for item in party) for party in (buyer, seller))
    party_height = max(PARTY_HEIGHT_MIN, party_lines * (LEADING + 2) + 8)
    remark = wrapped(face.remark, WIDTH - LABEL_WIDTH - 2 * PADDING, measure)
    remark_height = max(REMARK_HEIGHT_MIN, len(remark) * LEADING + 2 * ROW_PADDING)
    rows = [_row(line, measure) for line in face.lines]
    first = 2 * EDGE + TITLE_HEIGHT + HEAD_HEIGHT + SUM_HEIGHT
    last = GROSS_HEIGHT + remark_height + DRAWER_HEIGHT
    whole = first + party_height + sum(row.height for row in rows) + last
    if whole <= LONG_PAGE_HEIGHT:
        page_height, pages = max(whole, SHORT_PAGE_HEIGHT), [rows]
    else:
        page_height = LONG_PAGE_HEIGHT
        pages = _broken(rows, room=page_height - first, taken_first=party_height, taken_last=last + SUM_HEIGHT)
    return Plan(
        page_height=page_height,
        pages=tuple(tuple(page) for page in pages),
        buyer=buyer,
        seller=seller,
        party_height=party_height,
        remark=remark,
        remark_height=remark_height,
    )


def _broken(rows: Sequence[Row], *, room: float, taken_first: float, taken_last: float) -> list[list[Row]]:
    """Breaks rows into pages; the first also has the parties, the last the totals, perhaps with no row above them."""
    pages: list[list[Row]] = [[]]
    left = room - taken_first
    for row in rows:
        if row.height > left and pages[-1]:
            pages.append([])
            left = room
        pages[-1].append(row)
        left -= row.height
    if left < taken_last:
        moved = [pages[-1].pop()] if len(pages[-1]) > 1 else []  # totals do not stand alone
        pages.append(moved)
    return pages


def _row(line: LineTexts, measure: Measure) -> Row:
    texts = (
        *(line.name, line.specification, line.unit, line.quantity),
        *(line.unit_price, line.amount, line.rate, line.tax),
    )
    cells = tuple(
        wrapped(text, column.width - 2 * PADDING, measure) if column.wraps else (text,)
        for text, column in zip(texts, COLUMNS, strict=True)
    )
    height = max(len(cell) for cell in cells) * LEADING + ROW_PADDING
    return Row(cells, height, _fen(line.amount), _fen(line.tax))


def _fen(text: str) -> int:
    digits = text.replace(".", "")
    return int(digits) if digits.lstrip("-").isdigit() else 0


def _labelled(texts: Sequence[tuple[str, str]], width: float, measure: Measure) -> Iterator[Label]:
    for label, value in texts:
        yield Label(label, wrapped(value, width - measure(label), measure))


def _fitting(text: str, width: float, measure: Measure) -> int:
    """How many characters fit, at least one."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if measure(text[:middle]) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def _inside_word(text: str, place: int) -> bool:
    """Whether a break before `place` tears a Latin word, a number, or a telephone number with its hyphens apart."""
    before, after = text[place - 1], text[place]
    if before == "-":
        before = text[place - 2] if place > 1 and after.isdigit() else ""
        return before.isascii() and before.isdigit()
    if after == "-":
        return before.isascii() and before.isdigit() and text[place + 1 : place + 2].isdigit()
    return before.isascii() and after.isascii() and before.isalnum() and after.isalnum()

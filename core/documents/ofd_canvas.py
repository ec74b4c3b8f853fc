"""A canvas that makes OFD pages (GB/T 33190) of what is drawn on it: it stands in for reportlab's in PagePainter.

The face is drawn once and for all by `core.documents.pdf_page`, in points from the lower left; OFD counts millimetres
from the upper left. Texts carry the place of every character, so they stand the same whatever font a reader has.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import Final

from core.documents.pdf_layout import MM, TEXT_SIZE
from core.documents.xml_text import content

FONT_ID: Final = 2
FIRST_FREE_ID: Final = 10
DESCENT: Final = 0.25  # below the baseline, of the size

Rect = tuple[float, float, float, float]


@lru_cache(maxsize=16_384)
def character_width(character: str) -> float:
    """The width in ems, as in Song (宋体): Chinese and ambiguous ones are square, the rest half as wide."""
    return 1.0 if unicodedata.east_asian_width(character) in "WFA" else 0.5


def measure(text: str) -> float:
    """The width of a text at TEXT_SIZE, in points."""
    if text.isascii():
        return 0.5 * TEXT_SIZE * len(text)
    return TEXT_SIZE * sum(map(character_width, text))


class RectPath:
    """A path of rectangles, all as high as the first."""

    def __init__(self) -> None:
        self.rects: list[Rect] = []

    def rect(self, x: float, y: float, width: float, height: float) -> None:
        """Adds one."""
        self.rects.append((x, y, width, height))


class OfdCanvas:
    """Collects the objects of page after page. The methods are those of reportlab's canvas that PagePainter calls."""

    def __init__(self, *, page_height: float) -> None:
        self.pages: list[str] = []
        self._page_height = page_height
        self._objects: list[str] = []
        self._next_id = FIRST_FREE_ID
        self._size: float = TEXT_SIZE
        self._line_width = 1.0
        self._fill = self._stroke = "0 0 0"
        self._shift = (0.0, 0.0)
        self._forms: dict[str, tuple[RectPath, str]] = {}
        self._form: str | None = None

    @property
    def last_id(self) -> int:
        """The highest id given to an object."""
        return self._next_id - 1

    def take_id(self) -> int:
        """Returns an id that nothing else has."""
        self._next_id += 1
        return self._next_id - 1

    def setLineWidth(self, width: float) -> None:  # noqa: N802 (reportlab's name, as below)
        """Sets the width of lines, points."""
        self._line_width = width

    def setFont(self, name: str, size: float) -> None:  # noqa: N802, ARG002
        """Sets the size; there is one font only."""
        self._size = size

    def setFillColorRGB(self, *color: float) -> None:  # noqa: N802
        """Sets the colour of texts and fillings, parts of 1."""
        self._fill = _color(color)

    def setStrokeColorRGB(self, *color: float) -> None:  # noqa: N802
        """Sets the colour of lines, parts of 1."""
        self._stroke = _color(color)

    def saveState(self) -> None:  # noqa: N802
        """Only shifts are kept and undone."""

    def restoreState(self) -> None:  # noqa: N802
        """Undoes the shift."""
        self._shift = (0.0, 0.0)

    def translate(self, x: float, y: float) -> None:
        """Shifts the form drawn next."""
        self._shift = (x, y)

    def beginForm(self, name: str, *_box: float) -> None:  # noqa: N802
        """Begins a drawing that is used on every page: one path."""
        self._form = name

    def endForm(self) -> None:  # noqa: N802
        """Ends it."""
        self._form = None

    def doForm(self, name: str) -> None:  # noqa: N802
        """Draws it."""
        path, color = self._forms[name]
        self._filled(path, color)

    def beginPath(self) -> RectPath:  # noqa: N802
        """Begins a path."""
        return RectPath()

    def drawPath(self, path: RectPath, *, stroke: int, fill: int) -> None:  # noqa: N802, ARG002
        """Fills a path, or keeps it for the form."""
        if self._form is not None:
            self._forms[self._form] = (path, self._fill)
        else:
            self._filled(path, self._fill)

    def line(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Draws a line."""
        left, right, bottom, top = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
        ends = f"M {_mm(x1 - left)} {_mm(top - y1)} L {_mm(x2 - left)} {_mm(top - y2)}"
        self._stroked((left, bottom, right - left, top - bottom), ends)

    def rect(self, x: float, y: float, width: float, height: float) -> None:
        """Draws the outline of a rectangle."""
        w, h = _mm(width), _mm(height)
        self._stroked((x, y, width, height), f"M 0 0 L {w} 0 L {w} {h} L 0 {h} C")

    def roundRect(self, x: float, y: float, width: float, height: float, radius: float) -> None:  # noqa: N802, ARG002
        """Draws the outline of a rectangle, with corners."""
        self.rect(x, y, width, height)

    def drawString(self, x: float, y: float, text: str) -> None:  # noqa: N802
        """Writes a text that begins at x, its baseline at y."""
        if not text:
            return
        size = self._size
        widths = [character_width(character) * size for character in text]
        box = self._boundary((x, y - DESCENT * size, sum(widths), (1 + DESCENT) * size))
        deltas = f' DeltaX="{_deltas(widths[:-1])}"' if len(widths) > 1 else ""
        self._objects.append(
            f'<ofd:TextObject ID="{self.take_id()}" Boundary="{box}" Font="{FONT_ID}" Size="{_mm(size)}">'
            f'<ofd:FillColor Value="{self._fill}"/>'
            f'<ofd:TextCode X="0" Y="{_mm(size)}"{deltas}>{content(text)}</ofd:TextCode></ofd:TextObject>'
        )

    def drawCentredString(self, x: float, y: float, text: str) -> None:  # noqa: N802
        """Writes a text with its middle at x."""
        self.drawString(x - measure(text) * self._size / TEXT_SIZE / 2, y, text)

    def drawRightString(self, x: float, y: float, text: str) -> None:  # noqa: N802
        """Writes a text that ends at x."""
        self.drawString(x - measure(text) * self._size / TEXT_SIZE, y, text)

    def showPage(self) -> None:  # noqa: N802
        """Ends the page."""
        self.pages.append("".join(self._objects))
        self._objects = []

    def _stroked(self, box: Rect, data: str) -> None:
        self._objects.append(
            f'<ofd:PathObject ID="{self.take_id()}" Boundary="{self._boundary(box)}"'
            f' LineWidth="{_mm(self._line_width)}"><ofd:StrokeColor Value="{self._stroke}"/>'
            f"<ofd:AbbreviatedData>{data}</ofd:AbbreviatedData></ofd:PathObject>"
        )

    def _filled(self, path: RectPath, color: str) -> None:
        """Draws bars of one height as thick lines: some readers do not fill, but all of them draw lines."""
        x, y = self._shift
        height = path.rects[0][3]
        right = max(rect[0] + rect[2] for rect in path.rects)
        top = max(rect[1] for rect in path.rects) + height
        data = " ".join(
            f"M {_mm(left)} {_mm(top - low - height / 2)} L {_mm(left + width)} {_mm(top - low - height / 2)}"
            for left, low, width, _ in path.rects
        )
        self._objects.append(
            f'<ofd:PathObject ID="{self.take_id()}" Boundary="{self._boundary((x, y, right, top))}"'
            f' LineWidth="{_mm(height)}" Cap="Butt"><ofd:StrokeColor Value="{color}"/>'
            f"<ofd:AbbreviatedData>{data}</ofd:AbbreviatedData></ofd:PathObject>"
        )

    def _boundary(self, box: Rect) -> str:
        x, y, width, height = box
        return f"{_mm(x)} {_mm(self._page_height - y - height)} {_mm(max(width, 0.1))} {_mm(max(height, 0.1))}"


def _mm(points: float) -> str:
    """Points as millimetres, to a thousandth."""
    return f"{points / MM:.3f}".rstrip("0").rstrip(".")


def _color(parts: Sequence[float]) -> str:
    return " ".join(str(round(part * 255)) for part in parts)


def _deltas(widths: Sequence[float]) -> str:
    """The steps between characters, runs of the same written short: g count step."""
    runs = []
    for width, run in groupby(widths):
        count = sum(1 for _ in run)
        runs.append(f"g {count} {_mm(width)}" if count > 2 else " ".join([_mm(width)] * count))
    return " ".join(runs)

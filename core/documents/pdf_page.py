"""Draws the pages of an invoice on a canvas of reportlab. Lengths are in points, the origin is at the lower left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import segno
from reportlab.pdfgen.canvas import Canvas

from core.documents import pdf_layout as layout
from core.documents.face import FaceTexts
from core.documents.pdf_layout import COLUMNS, LEADING, MARGIN, MM, PADDING, TEXT_SIZE, WIDTH, Label, Measure, Plan, Row
from core.domain.decimals import minor_text

BROWN: Final = (0.5, 0.2, 0.05)
RED: Final = (0.85, 0.05, 0.05)
BLACK: Final = (0.0, 0.0, 0.0)
TITLE_SIZE: Final = 17
QR_SIDE: Final = 21 * MM
QR_FORM: Final = "qr"
QR_MASK: Final = 2  # any is lawful; choosing the prettiest of eight costs 9 ms of 11
RIGHT: Final = MARGIN + WIDTH
BASELINE: Final = 0.35 * TEXT_SIZE  # from the middle of a row down to the text's baseline


class PagePainter:
    """Draws one invoice; used once."""

    def __init__(self, *, canvas: Canvas, font: str, measure: Measure, face: FaceTexts, plan: Plan) -> None:
        self._canvas = canvas
        self._font = font
        self._measure = measure
        self._face = face
        self._plan = plan

    def begin(self) -> None:
        """Makes the form of the QR code; what belongs to the first page comes after it."""
        self._qr()

    def draw(self) -> None:
        """Draws all pages."""
        count = len(self._plan.pages)
        for index, rows in enumerate(self._plan.pages):
            self._canvas.setLineWidth(0.6)
            y = self._title(index, count)
            top = y
            if index == 0:
                y = self._parties(y)
            y = self._table(y, rows, last=index == count - 1, sums_of_page=count > 1)
            if index == count - 1:
                y = self._gross(y)
                y = self._remark(y)
            self._ink(BROWN)
            self._canvas.rect(MARGIN, y, WIDTH, top - y)
            if index == count - 1:
                self._text(MARGIN + 10 * MM, y - 6 * MM, "开票人：", self._face.drawer)
            self._canvas.showPage()

    def _title(self, index: int, count: int) -> float:
        """Draws what stands above the box and returns where the box begins."""
        top = self._plan.page_height - layout.EDGE
        self._canvas.saveState()
        self._canvas.translate(MARGIN, top - 2 * MM - QR_SIDE)
        self._canvas.doForm(QR_FORM)
        self._canvas.restoreState()
        self._ink(BROWN)
        middle = MARGIN + WIDTH / 2
        self._canvas.setFont(self._font, TITLE_SIZE)
        self._canvas.drawCentredString(middle, top - 13 * MM, self._face.title)
        half = self._measure(self._face.title) * TITLE_SIZE / TEXT_SIZE / 2 + 4 * MM
        for below in (15.5 * MM, 16.5 * MM):
            self._canvas.line(middle - half, top - below, middle + half, top - below)
        if self._face.red:
            self._ink(RED)
            self._canvas.roundRect(MARGIN + QR_SIDE + 3 * MM, top - 15 * MM, 15 * MM, 8 * MM, 1.5 * MM)
            self._canvas.setFont(self._font, 13)
            self._canvas.drawCentredString(MARGIN + QR_SIDE + 10.5 * MM, top - 12.7 * MM, "红字")
        left = RIGHT - 54 * MM
        self._text(left, top - 10 * MM, "发票号码：", self._face.number, size=9)
        self._text(left, top - 16 * MM, "开票日期：", self._face.issue_date, size=9)
        if count > 1:
            self._text(left, top - 22 * MM, f"共 {count} 页 第 {index + 1} 页", "", size=9)
        return top - layout.TITLE_HEIGHT

    def _qr(self) -> None:
        """Makes the form of the QR code: runs of dark modules, 4 modules of white around as the standard asks."""
        self._canvas.beginForm(QR_FORM, 0, 0, QR_SIDE, QR_SIDE)
        matrix = segno.make(self._face.qr, error="m", micro=False, mask=QR_MASK).matrix
        side = QR_SIDE / (len(matrix) + 8)
        self._ink(BLACK)
        path = self._canvas.beginPath()
        for row, modules in enumerate(matrix):
            start = None
            for column, dark in enumerate((*modules, 0)):
                if dark and start is None:
                    start = column
                elif not dark and start is not None:
                    bottom = QR_SIDE - (row + 5) * side
                    path.rect((start + 4) * side, bottom, (column - start) * side, side)
                    start = None
        self._canvas.drawPath(path, stroke=0, fill=1)
        self._canvas.endForm()

    def _parties(self, top: float) -> float:
        bottom = top - self._plan.party_height
        middle = MARGIN + WIDTH / 2
        for left, label, party in (
            (MARGIN, "购买方信息", self._plan.buyer),
            (middle, "销售方信息", self._plan.seller),
        ):
            self._upright(left, top, bottom, label)
            self._party(left + layout.LABEL_WIDTH + PADDING, top, bottom, party)
        self._ink(BROWN)
        self._canvas.line(middle, top, middle, bottom)
        self._canvas.line(MARGIN, bottom, RIGHT, bottom)
        return bottom

    def _party(self, left: float, top: float, bottom: float, party: Sequence[Label]) -> None:
        """Spreads the lines of a party over the height of its box."""
        count = sum(len(item.lines) for item in party)
        step = (top - bottom) / count
        y = top - step / 2 - BASELINE
        for item in party:
            indent = self._measure(item.label)
            self._text(left, y, item.label, "")
            self._ink(BLACK)
            for text in item.lines:
                self._canvas.drawString(left + indent, y, text)
                y -= step

    def _table(self, top: float, rows: Sequence[Row], *, last: bool, sums_of_page: bool) -> float:
        """Draws the head, the rows and the sums; on a short last page the table reaches down to the totals."""
        y = top - layout.HEAD_HEIGHT
        self._ink(BROWN)
        self._canvas.line(MARGIN, y, RIGHT, y)
        x = MARGIN
        for column in COLUMNS:
            self._cell(x, y + layout.HEAD_HEIGHT / 2 - BASELINE, column.width, column.label, "c")
            x += column.width
            if x < RIGHT - 1:
                self._canvas.line(x, top, x, y)
        for row in rows:
            self._row(y, row)
            y -= row.height
        rest = layout.GROSS_HEIGHT + self._plan.remark_height + layout.DRAWER_HEIGHT if last else 0.0
        if not sums_of_page:
            y = layout.EDGE + rest + layout.SUM_HEIGHT
        y -= layout.SUM_HEIGHT
        if sums_of_page:
            amount, tax = sum(row.amount for row in rows), sum(row.tax for row in rows)
            self._sums(y, "小计", f"¥{minor_text(amount)}", f"¥{minor_text(tax)}")
        if last:
            if sums_of_page:
                y -= layout.SUM_HEIGHT
            self._sums(y, "合计", self._face.net_total, self._face.tax_total)
        return y

    def _row(self, top: float, row: Row) -> None:
        x = MARGIN
        for column, lines in zip(COLUMNS, row.cells, strict=True):
            y = top - LEADING
            for text in lines:
                self._ink(RED if self._face.red and text.startswith("-") else BLACK)
                self._cell(x, y, column.width, text, column.align)
                y -= LEADING
            x += column.width

    def _sums(self, bottom: float, label: str, amount: str, tax: str) -> None:
        y = bottom + layout.SUM_HEIGHT / 2 - BASELINE
        self._ink(BROWN)
        self._cell(MARGIN, y, COLUMNS[0].width, label.replace("计", "    计"), "c")
        self._ink(RED if self._face.red else BLACK)
        for text, last in ((amount, 6), (tax, 8)):
            end = MARGIN + sum(column.width for column in COLUMNS[:last])
            room = 34 * MM if last == 6 else COLUMNS[7].width
            self._cell(end - room, y, room, text, "r")

    def _gross(self, top: float) -> float:
        bottom = top - layout.GROSS_HEIGHT
        y = bottom + layout.GROSS_HEIGHT / 2 - BASELINE
        self._ink(BROWN)
        self._canvas.line(MARGIN, top, RIGHT, top)
        self._canvas.line(MARGIN, bottom, RIGHT, bottom)
        split = MARGIN + COLUMNS[0].width
        self._canvas.line(split, top, split, bottom)
        self._cell(MARGIN, y, COLUMNS[0].width, "价税合计（大写）", "c")
        small = MARGIN + WIDTH * 0.7
        self._text(small, y, "（小写）", "")
        self._ink(RED if self._face.red else BLACK)
        self._cell(split + 2 * MM, y, small - split - 2 * MM, f"⊗ {self._face.gross_capital}", "l", size=9)
        self._cell(small + 15 * MM, y, RIGHT - small - 15 * MM, self._face.gross_total, "l", size=9)
        return bottom

    def _remark(self, top: float) -> float:
        bottom = top - self._plan.remark_height
        self._upright(MARGIN, top, bottom, "备注")
        self._ink(BLACK)
        y = top - LEADING
        for text in self._plan.remark:
            self._canvas.drawString(MARGIN + layout.LABEL_WIDTH + PADDING, y, text)
            y -= LEADING
        return bottom

    def _upright(self, left: float, top: float, bottom: float, label: str) -> None:
        """Draws a label from top to bottom in its narrow column."""
        self._ink(BROWN)
        right = left + layout.LABEL_WIDTH
        self._canvas.line(right, top, right, bottom)
        self._canvas.setFont(self._font, TEXT_SIZE)
        step = min(LEADING + 2, (top - bottom) / len(label))
        y = (top + bottom + step * len(label)) / 2 - step / 2 - BASELINE
        for character in label:
            self._canvas.drawCentredString(left + layout.LABEL_WIDTH / 2, y, character)
            y -= step

    def _cell(self, x: float, y: float, width: float, text: str, align: str, *, size: float = TEXT_SIZE) -> None:
        """Draws a text in a cell, smaller when it would not fit."""
        wide = self._measure(text) * size / TEXT_SIZE
        room = width - 2 * PADDING
        self._canvas.setFont(self._font, size if wide <= room else size * room / wide)
        if align == "l":
            self._canvas.drawString(x + PADDING, y, text)
        elif align == "r":
            self._canvas.drawRightString(x + width - PADDING, y, text)
        else:
            self._canvas.drawCentredString(x + width / 2, y, text)

    def _text(self, x: float, y: float, label: str, text: str, size: float = TEXT_SIZE) -> None:
        """Draws a brown label and a black text behind it."""
        self._canvas.setFont(self._font, size)
        self._ink(BROWN)
        self._canvas.drawString(x, y, label)
        if text:
            self._ink(BLACK)
            self._canvas.drawString(x + self._measure(label) * size / TEXT_SIZE, y, text)

    def _ink(self, color: tuple[float, float, float]) -> None:
        self._canvas.setFillColorRGB(*color)
        self._canvas.setStrokeColorRGB(*color)

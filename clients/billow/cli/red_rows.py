"""Red invoices of files: one object each, or a table with one row a red-lettered line."""

from collections.abc import Callable, Iterator
from typing import Any

from billow import IssueRedInvoiceRequest

from .json_messages import Fault, UnreadableMessage, reader_of
from .row_groups import IDENTITY, Shape, grouped_entries
from .sources import Entry, Row, Source, plain_entries

REASONS = {"01": 1, "02": 2, "03": 3, "04": 4}
SELECTION_COLUMNS = ("blue_number", "reason", "extent")
REQUEST_COLUMNS = ("confirmation_id", "drawer")
LINE_COLUMNS = {name: name for name in ("line", "quantity", "net_minor", "gross_minor")}
COLUMNS = frozenset((*IDENTITY, *SELECTION_COLUMNS, *REQUEST_COLUMNS, *LINE_COLUMNS))
"""What a table of red invoices may have."""
AMOUNTS = (("quantity",), ("net_minor", "netMinor"), ("gross_minor", "grossMinor"))

COLUMNS_HELP = f"""\b
Tables (CSV with a header line, Parquet) have one row a red invoice, or one row a line of it:
consecutive rows with the same seller_id and request_id make one red invoice. Columns, all others are refused:
  which      {", ".join(IDENTITY)}, blue_number
  why        reason (01 to 04, or its name), confirmation_id (the form, where one is needed)
  how much   extent (whole, remainder, lines); whole when empty and no line is named
  line       line (from 1), and at most one of quantity, net_minor and gross_minor; none: what is left of it
  optional   drawer
Amounts are positive whole numbers of minor units (fen).
"""


def red_entries(source: Source, *, first_line: int = 1) -> Iterator[Entry[IssueRedInvoiceRequest]]:
    """The red invoices of a file from the entry that begins at ``first_line`` on (1: all)."""
    read = _one_amount_a_line(reader_of(IssueRedInvoiceRequest))
    if source.is_table:
        shape = Shape(
            heads=(*IDENTITY, *SELECTION_COLUMNS, *REQUEST_COLUMNS), lines=LINE_COLUMNS, value=_value, read=read
        )
        return grouped_entries(source, shape, first_line=first_line)
    return plain_entries(source, read, first_line=first_line, identify=(*IDENTITY, "sellerId", "requestId"))


def _value(heads: Row, lines: list[Row]) -> Row:
    """One red invoice of a table as it stands in JSON."""
    selection: dict[str, Any] = {name: heads[name] for name in SELECTION_COLUMNS if name in heads}
    selection["reason"] = REASONS.get(selection.get("reason", ""), selection.get("reason"))
    named = [line for line in lines if line]
    selection.setdefault("extent", "lines" if named else "whole")
    if named:
        selection["lines"] = named
    return {name: heads[name] for name in (*IDENTITY, *REQUEST_COLUMNS) if name in heads} | {"selection": selection}


def _one_amount_a_line(read: Callable[[Row], IssueRedInvoiceRequest]) -> Callable[[Row], IssueRedInvoiceRequest]:
    """Refuses lines with two amounts, of which protobuf would silently keep the last."""

    def checked(value: Row) -> IssueRedInvoiceRequest:
        message = read(value)
        faults: list[Fault] = []
        for index, line in enumerate(value.get("selection", {}).get("lines") or ()):
            if sum(line.get(name) is not None for names in AMOUNTS for name in names) > 1:
                words = "only one of quantity, net_minor and gross_minor may be given"
                faults.append((f"selection.lines[{index}]", words))
        if faults:
            raise UnreadableMessage(faults)
        return message

    return checked

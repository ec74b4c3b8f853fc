"""Checks of files: objects or rows with what stands on an invoice, or the results file of `billow issue`."""

from collections.abc import Iterator
from typing import Any

from billow import InvoiceCheck

from .json_messages import UnreadableMessage, reader_of
from .sources import Entry, Row, Source

COLUMNS = frozenset(InvoiceCheck.DESCRIPTOR.fields_by_name)
"""What a table of checks may have."""
COLUMNS_HELP = f"""\b
Columns of a table, fields of an object:
  {", ".join(InvoiceCheck.DESCRIPTOR.fields_by_name)}
number (20 digits), issue_date (20260131) and gross_total_minor (fen, with tax) are required.
A results file of `billow issue` may be given as it is; its refused lines are passed over.
"""

_FROM_RESULTS = ("number", "issue_date", "net_total_minor", "gross_total_minor")


def check_entries(source: Source) -> Iterator[Entry[InvoiceCheck]]:
    """The checks of a file; refused lines of a results file are left out."""
    read = reader_of(InvoiceCheck)
    for line, row, faults, size in source.rows(1):
        if row is None:
            yield Entry(line, None, faults, size, {})
            continue
        if _is_result(row):
            if "error" in row:
                continue
            row = {name: row[name] for name in _FROM_RESULTS if name in row}
        try:
            content = read(row)
        except UnreadableMessage as unreadable:
            number = row.get("number")
            identity: dict[str, Any] = {"number": number} if isinstance(number, str) else {}
            yield Entry(line, None, unreadable.faults, size, identity)
        else:
            yield Entry(line, content, faults, size, {})


def _is_result(row: Row) -> bool:
    return (type(row.get("line")) is int and "request_id" in row and ("number" in row or "error" in row)) or (
        type(row.get("line")) is int and "error" in row
    )

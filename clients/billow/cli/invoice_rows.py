"""Invoices of files: one object each, or a table with one row a line item."""

from collections.abc import Callable, Iterator
from typing import Any

from billow import IssueInvoiceRequest

from .json_messages import FAULTS_MAX, Fault, UnreadableMessage, reader_of
from .sources import Entry, Row, Source, plain_entries

IDENTITY = ("seller_id", "request_id")
INVOICE_COLUMNS = (
    "kind",
    "prices_include_tax",
    "remark",
    "drawer",
    "currency",
    "net_total_minor",
    "tax_total_minor",
    "gross_total_minor",
)
BUYER_COLUMNS = tuple(f"buyer_{name}" for name in ("name", "tax_id", "address", "phone", "bank_name", "bank_account"))
LINE_COLUMNS = {
    "line_type": "type",
    "name": "name",
    "category": "category",
    "goods_code": "goods_code",
    "specification": "specification",
    "unit": "unit",
    "quantity": "quantity",
    "unit_price": "unit_price",
    "amount_minor": "amount_minor",
    "tax_rate_bp": "tax_rate_bp",
    "zero_rate_reason": "zero_rate_reason",
    "tax_minor": "tax_minor",
}
COLUMNS = frozenset((*IDENTITY, *INVOICE_COLUMNS, *BUYER_COLUMNS, *LINE_COLUMNS))
"""What a table of invoices may have."""
LINES_MAX = 10_000
"""Rows gathered into one invoice, far more than an invoice may have: bounds memory when all rows have the same id."""

COLUMNS_HELP = f"""\b
Tables (CSV with a header line, Parquet) have one row a line item; consecutive rows with the same
seller_id and request_id make one invoice. Columns, all others are refused:
  which     {", ".join(IDENTITY)}
  invoice   kind (general, special), {", ".join(INVOICE_COLUMNS[1:5])},
            {", ".join(INVOICE_COLUMNS[5:])}
  buyer     {", ".join(BUYER_COLUMNS[:4])},
            {", ".join(BUYER_COLUMNS[4:])}
  line      {", ".join(list(LINE_COLUMNS)[:6])},
            {", ".join(list(LINE_COLUMNS)[6:])}
Columns of the invoice and the buyer count where they are filled; they must not differ between the
rows of one invoice. Amounts are whole numbers of minor units (fen), rates are basis points (1300 is 13 %).
Parquet may also have the columns seller_id, request_id and invoice, the last being nested as in JSON.
"""

_HEADS = (*IDENTITY, *INVOICE_COLUMNS, *BUYER_COLUMNS)
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def invoice_entries(source: Source, *, first_line: int = 1) -> Iterator[Entry[IssueInvoiceRequest]]:
    """The invoices of a file from the entry that begins at ``first_line`` on (1: all)."""
    read = reader_of(IssueInvoiceRequest)
    if not source.is_table:
        return plain_entries(source, read, first_line=first_line, identify=(*IDENTITY, "sellerId", "requestId"))
    return _table_entries(source, read, first_line=first_line)


def _table_entries(
    source: Source, read: Callable[[Any], IssueInvoiceRequest], *, first_line: int
) -> Iterator[Entry[IssueInvoiceRequest]]:
    group: _Group | None = None
    unread: list[Fault] = []  # of rows since the last good one: they may belong to the invoice before or after them
    for line, row, faults, size in source.rows(first_line):
        if row is None:
            unread += [(path, f"row {line}: {text}") for path, text in faults]
            if group is None:
                yield Entry(line, None, faults, size, {})
            continue
        key = (row.get("seller_id"), row.get("request_id"))
        if group is None or key != group.key or None in key or len(group.lines) >= LINES_MAX:
            if group is not None:
                group.faults += unread
                yield group.entry(read)
            group = _Group(line, key, row)
        group.faults += unread
        unread = []
        group.add(line, row, size)
    if group is not None:
        group.faults += unread
        yield group.entry(read)


class _Group:
    """The rows of one invoice."""

    def __init__(self, line: int, key: tuple[Any, Any], row: Row) -> None:
        self.line = line
        self.key = key
        self.faults: list[Fault] = []
        self.lines: list[dict[str, Any]] = []
        self._heads = {name: row[name] for name in _HEADS if name in row}
        self._size = 0

    def add(self, line: int, row: Row, size: int) -> None:
        """Takes one more row."""
        self._size += size
        heads = self._heads
        for name in _HEADS:
            value = row.get(name)
            if value is not None and value != heads.setdefault(name, value) and len(self.faults) < FAULTS_MAX:
                self.faults.append((name, f"row {line}: differs from a row of the same invoice before it"))
        self.lines.append({field: row[column] for column, field in LINE_COLUMNS.items() if column in row})

    def entry(self, read: Callable[[Any], IssueInvoiceRequest]) -> Entry[IssueInvoiceRequest]:
        """The invoice of all its rows."""
        heads = self._heads
        invoice: dict[str, Any] = {name: heads[name] for name in INVOICE_COLUMNS if name in heads}
        flag = invoice.get("prices_include_tax")
        if isinstance(flag, str):
            invoice["prices_include_tax"] = _TRUTH.get(flag.strip().lower(), flag)
        invoice["buyer"] = {name.removeprefix("buyer_"): heads[name] for name in BUYER_COLUMNS if name in heads}
        invoice["lines"] = self.lines
        value = {name: heads[name] for name in IDENTITY if name in heads} | {"invoice": invoice}
        identity = {name: heads[name] for name in IDENTITY if isinstance(heads.get(name), str)}
        if not self.faults:
            try:
                return Entry(self.line, read(value), [], self._size, {})
            except UnreadableMessage as unreadable:
                self.faults = unreadable.faults
        return Entry(self.line, None, self.faults, self._size, identity)

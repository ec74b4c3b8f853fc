"""Invoices of files: one object each, or a table with one row a line item."""

from collections.abc import Iterator
from typing import Any

from billow import IssueInvoiceRequest

from .json_messages import reader_of
from .row_groups import IDENTITY, Shape, grouped_entries
from .sources import Entry, Row, Source, plain_entries

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
    shape = Shape(heads=_HEADS, lines=LINE_COLUMNS, value=_value, read=read)
    return grouped_entries(source, shape, first_line=first_line)


def _value(heads: Row, lines: list[Row]) -> Row:
    """One invoice of a table as it stands in JSON."""
    invoice: dict[str, Any] = {name: heads[name] for name in INVOICE_COLUMNS if name in heads}
    flag = invoice.get("prices_include_tax")
    if isinstance(flag, str):
        invoice["prices_include_tax"] = _TRUTH.get(flag.strip().lower(), flag)
    invoice["buyer"] = {name.removeprefix("buyer_"): heads[name] for name in BUYER_COLUMNS if name in heads}
    invoice["lines"] = lines
    return {name: heads[name] for name in IDENTITY if name in heads} | {"invoice": invoice}

"""What `billow red batch` makes of files: red invoices of objects and of tables, broken ones with their faults."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import json_format

from billow import (
    RED_EXTENT_LINES,
    RED_EXTENT_REMAINDER,
    RED_EXTENT_WHOLE,
    IssueRedInvoiceRequest,
    RedLine,
    RedReason,
    RedSelection,
)
from billow.cli.red_rows import COLUMNS, red_entries
from billow.cli.sources import Entry, UnusableFile, open_source

BLUE = "26440000000000000001"


def request(
    request_id: str, extent: int, *lines: RedLine, reason: int = 2, drawer: str = "", form: str = ""
) -> IssueRedInvoiceRequest:
    selection = RedSelection(blue_number=BLUE, reason=RedReason.ValueType(reason), extent=extent, lines=lines)  # type: ignore[arg-type]
    return IssueRedInvoiceRequest(
        seller_id="acme", request_id=request_id, selection=selection, drawer=drawer, confirmation_id=form
    )


def read(path: Path, *, first_line: int = 1) -> list[Entry[IssueRedInvoiceRequest]]:
    return list(red_entries(open_source(path, kind=None, columns=COLUMNS), first_line=first_line))


TABLE = f"""\
seller_id,request_id,blue_number,reason,extent,line,quantity,net_minor,gross_minor,drawer,confirmation_id
acme,r1,{BLUE},01,,,,,,,
acme,r2,{BLUE},goods_returned,remainder,,,,,,
acme,r3,{BLUE},04,,1,0.5,,,甲,{"a" * 32}
acme,r3,,,,2,,1234,,,
acme,r3,,,,3,,,99,,
acme,r3,,,,4,,,,,
"""
WANTED = [
    (2, request("r1", RED_EXTENT_WHOLE, reason=1)),
    (3, request("r2", RED_EXTENT_REMAINDER)),
    (
        4,
        request(
            "r3",
            RED_EXTENT_LINES,
            RedLine(line=1, quantity="0.5"),
            RedLine(line=2, net_minor=1_234),
            RedLine(line=3, gross_minor=99),
            RedLine(line=4),
            reason=4,
            drawer="甲",
            form="a" * 32,
        ),
    ),
]


def test_a_table_has_one_row_a_red_invoice_or_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "red.csv"
    path.write_text(TABLE)
    assert [(entry.line, entry.content) for entry in read(path)] == WANTED
    assert [(entry.line, entry.content) for entry in read(path, first_line=4)] == WANTED[2:]


def test_parquet_and_jsonl_say_the_same(tmp_path: Path) -> None:
    lines = tmp_path / "red.jsonl"
    lines.write_text("".join(json_format.MessageToJson(one, indent=None) + "\n" for _, one in WANTED))
    assert [entry.content for entry in read(lines)] == [one for _, one in WANTED]
    names = TABLE.splitlines()[0].split(",")
    rows = [dict(zip(names, row.split(","), strict=True)) for row in TABLE.splitlines()[1:]]
    kinds = {"line": int, "net_minor": int, "gross_minor": int, "quantity": Decimal}
    columns = {name: [kinds.get(name, str)(row[name]) if row[name] else None for row in rows] for name in names}
    table = tmp_path / "red.parquet"
    pq.write_table(pa.table(columns), table)
    assert [entry.content for entry in read(table)] == [one for _, one in WANTED]


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        (f"acme,r1,{BLUE},05,,,,,,,", "selection.reason"),
        (f"acme,r1,{BLUE},01,some,,,,,,", "selection.extent"),
        (f"acme,r1,{BLUE},01,,1,2,3,,,", "selection.lines[0]"),
        (f"acme,r1,{BLUE},01,,one,,,,,", "selection.lines[0].line"),
    ],
)
def test_a_broken_row_is_told_with_its_field_and_its_identity(tmp_path: Path, cells: str, field: str) -> None:
    path = tmp_path / "red.csv"
    path.write_text(TABLE.splitlines()[0] + "\n" + cells + "\n")
    (entry,) = read(path)
    assert entry.content is None
    assert [name for name, _ in entry.faults] == [field]
    assert entry.identity == {"seller_id": "acme", "request_id": "r1"}


def test_rows_of_one_red_invoice_that_differ_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "red.csv"
    path.write_text(f"seller_id,request_id,blue_number,reason,line\nacme,r,{BLUE},01,1\nacme,r,{BLUE[:-1]}2,01,2\n")
    (entry,) = read(path)
    assert [name for name, _ in entry.faults] == ["blue_number"]


def test_an_unknown_column_makes_the_file_unusable(tmp_path: Path) -> None:
    path = tmp_path / "red.csv"
    path.write_text("seller_id,request_id,number\n")
    with pytest.raises(UnusableFile, match="unknown columns number"):
        read(path)

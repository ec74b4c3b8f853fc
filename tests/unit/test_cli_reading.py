"""What the command makes of files: messages, tables, broken lines."""

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import json_format

import billow
from billow import IssueInvoiceRequest
from billow.cli.check_rows import COLUMNS as CHECK_COLUMNS
from billow.cli.check_rows import check_entries
from billow.cli.invoice_rows import COLUMNS, invoice_entries
from billow.cli.json_messages import UnreadableMessage, reader_of
from billow.cli.sources import Entry, UnusableFile, open_source

NASTY = 'it\'s "quoted" \\ back\u0000nul 😀 𠮷 مرحبا\r\n,;'


def request(number: int = 1, *, lines: int = 2) -> IssueInvoiceRequest:
    return IssueInvoiceRequest(
        seller_id="acme",
        request_id=f"r-{number}",
        invoice=billow.Invoice(
            kind=billow.INVOICE_KIND_GENERAL,
            buyer=billow.Party(name="买家", tax_id="91310000MA1FL00000"),
            prices_include_tax=True,
            remark=NASTY,
            gross_total_minor=-(2**63),
            lines=[
                billow.InvoiceLine(
                    type=billow.LINE_TYPE_NORMAL,
                    name=f"item {n}",
                    goods_code="1010101",
                    quantity="1.50",
                    unit_price="2",
                    amount_minor=300 + n,
                    tax_rate_bp=0,
                    zero_rate_reason=billow.ZERO_RATE_REASON_EXEMPT,
                )
                for n in range(lines)
            ],
        ),
    )


def read_all(path: Path, *, kind: str | None = None, first_line: int = 1) -> list[Entry[IssueInvoiceRequest]]:
    return list(invoice_entries(open_source(path, kind=kind, columns=COLUMNS), first_line=first_line))


def outcome(entries: list[Entry[Any]]) -> list[tuple[int, Any]]:
    return [
        (e.line, e.content if e.content is not None else [f"{path}: {text}" for path, text in e.faults])
        for e in entries
    ]


# --- messages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_names", [True, False])
@pytest.mark.parametrize("numbers", [True, False])
def test_both_spellings_of_names_and_enums_are_read_as_protobuf_reads_them(keep_names: bool, numbers: bool) -> None:
    original = request()
    original.invoice.issue_time.FromJsonString("2026-01-31T08:00:00.000001Z")
    value = json_format.MessageToDict(original, preserving_proto_field_name=keep_names, use_integers_for_enums=numbers)
    assert reader_of(IssueInvoiceRequest)(value) == original


def test_short_enum_names_nulls_and_whole_numbers_in_text_are_read() -> None:
    value = {"sellerId": "a", "requestId": None, "invoice": {"kind": "special", "netTotalMinor": "-5", "lines": []}}
    read = reader_of(IssueInvoiceRequest)(value)
    expected = billow.Invoice(kind=billow.INVOICE_KIND_SPECIAL, net_total_minor=-5)
    assert read == IssueInvoiceRequest(seller_id="a", invoice=expected)


@pytest.mark.parametrize(
    ("change", "path", "text"),
    [
        ({"sellerid": "x"}, "sellerid", "unknown field"),
        ({"seller_id": 5}, "seller_id", "must be text, not a number"),
        ({"sellerId": "x", "seller_id": "y"}, "seller_id", "given twice"),
        ({"invoice": []}, "invoice", "must be an object, not a list"),
        ({"invoice": {"kind": "blue"}}, "invoice.kind", "must be one of INVOICE_KIND_SPECIAL, INVOICE_KIND_GENERAL"),
        ({"invoice": {"kind": 9}}, "invoice.kind", "must be one of"),
        ({"invoice": {"kind": True}}, "invoice.kind", "must be one of"),
        ({"invoice": {"lines": {}}}, "invoice.lines", "must be a list, not an object"),
        ({"invoice": {"lines": [{}, 7]}}, "invoice.lines[1]", "must be an object, not a number"),
        ({"invoice": {"lines": [{"amountMinor": 1.0}]}}, "invoice.lines[0].amount_minor", "a number with decimals"),
        ({"invoice": {"lines": [{"amountMinor": 2**63}]}}, "invoice.lines[0].amount_minor", "must be -9223"),
        ({"invoice": {"lines": [{"amountMinor": "1e3"}]}}, "invoice.lines[0].amount_minor", "whole number, not text"),
        ({"invoice": {"lines": [{"amountMinor": "٣"}]}}, "invoice.lines[0].amount_minor", "whole number, not text"),
        ({"invoice": {"lines": [{"amountMinor": True}]}}, "invoice.lines[0].amount_minor", "not a truth value"),
        ({"invoice": {"lines": [{"taxRateBp": 2**31}]}}, "invoice.lines[0].tax_rate_bp", "must be -2147483648"),
        ({"invoice": {"lines": [{"quantity": 1}]}}, "invoice.lines[0].quantity", "must be text, not a number"),
        ({"invoice": {"pricesIncludeTax": "yes"}}, "invoice.prices_include_tax", "must be true or false, not text"),
        ({"invoice": {"buyer": {"fax": "1"}}}, "invoice.buyer.fax", "unknown field"),
        ({"invoice": {"issueTime": "today"}}, "invoice.issue_time", "must be a time"),
        ({"invoice": {"remark": "\udcff"}}, "invoice.remark", "is not UTF-8"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(change: dict[str, Any], path: str, text: str) -> None:
    with pytest.raises(UnreadableMessage) as caught:
        reader_of(IssueInvoiceRequest)(change)
    assert [fault[0] for fault in caught.value.faults] == [path]
    assert text in caught.value.faults[0][1]


def test_all_faults_are_told_up_to_a_bound() -> None:
    lines = [{"amountMinor": "x", "nome": "y"} for _ in range(80)]
    with pytest.raises(UnreadableMessage) as caught:
        reader_of(IssueInvoiceRequest)({"foo": 1, "invoice": {"kind": "?", "lines": lines}})
    paths = [path for path, _ in caught.value.faults]
    assert paths[:4] == ["foo", "invoice.kind", "invoice.lines[0].amount_minor", "invoice.lines[0].nome"]
    assert len(paths) == 100


# --- JSONL --------------------------------------------------------------------------------------------------------


def test_broken_lines_are_told_with_their_number_and_the_rest_goes_through(tmp_path: Path) -> None:
    good = [json.dumps(json_format.MessageToDict(request(n))) for n in range(3)]
    path = tmp_path / "in.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf"
        + "\n".join([good[0], "", '{"seller_id": "acme"', '{"seller_id": "acme", "foo": 1}', "[]", good[1]]).encode()
        + b'\r\n{"seller_id": "\xff"}\n   \n'
        + good[2].encode()  # no line end
    )
    entries = read_all(path)
    assert [e.line for e in entries] == [1, 3, 4, 5, 6, 7, 9]
    assert [e.content for e in entries] == [request(0), None, None, None, request(1), None, request(2)]
    assert entries[1].faults[0][1].startswith("not JSON")
    assert entries[2].faults == [("foo", "unknown field")]
    assert entries[2].identity == {"seller_id": "acme"}
    assert entries[3].faults == [("", "must be an object")]


def test_a_line_too_long_is_passed_over_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billow.cli.sources.LINE_BYTES_MAX", 1_000)
    path = tmp_path / "in.jsonl"
    short = json.dumps({"seller_id": "a"})
    path.write_text(f"{short}\n{'x' * 5_500}\n{short}\n{'y' * 1_000}\n{'z' * 1_001}", encoding="utf-8")
    entries = read_all(path)
    assert [(e.line, e.content is None) for e in entries] == [(1, False), (2, True), (3, False), (4, True), (5, True)]
    assert "longer than 1000 bytes" in entries[1].faults[0][1]
    assert "not JSON" in entries[3].faults[0][1]
    assert "longer than 1000 bytes" in entries[4].faults[0][1]


def test_reading_may_begin_at_a_line(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("broken\n" * 5 + json.dumps({"seller_id": "a"}) + "\n", encoding="utf-8")
    assert [e.line for e in read_all(path, first_line=5)] == [5, 6]


# --- tables -------------------------------------------------------------------------------------------------------


def table_rows(requests: list[IssueInvoiceRequest]) -> list[dict[str, Any]]:
    rows = []
    for item in requests:
        for index, line in enumerate(item.invoice.lines):
            row: dict[str, Any] = {"seller_id": item.seller_id, "request_id": item.request_id}
            if not index:
                row |= {
                    "kind": "general",
                    "buyer_name": item.invoice.buyer.name,
                    "buyer_tax_id": item.invoice.buyer.tax_id,
                    "prices_include_tax": "true",
                    "remark": item.invoice.remark,
                    "gross_total_minor": item.invoice.gross_total_minor,
                }
            row |= {
                "line_type": "normal",
                "name": line.name,
                "goods_code": line.goods_code,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
                "amount_minor": line.amount_minor,
                "tax_rate_bp": line.tax_rate_bp,
                "zero_rate_reason": "exempt",
            }
            rows.append(row)
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)


@pytest.mark.parametrize(("name", "write"), [("in.csv", write_csv), ("in.parquet", write_parquet)])
def test_rows_of_one_request_make_one_invoice(
    tmp_path: Path, name: str, write: Callable[[Path, list[dict[str, Any]]], None]
) -> None:
    requests = [request(n, lines=1 + n % 4) for n in range(20)]
    rows = table_rows(requests)
    names = dict.fromkeys(key for row in rows for key in row)
    rows = [{key: row.get(key) for key in names} for row in rows]
    for row in rows:
        if name.endswith("parquet"):
            row["quantity"] = Decimal(row["quantity"])
            row["prices_include_tax"] = True if row["prices_include_tax"] else None
    write(tmp_path / name, rows)
    entries = read_all(tmp_path / name)
    assert [e.faults for e in entries if e.faults] == []
    assert [e.content for e in entries] == requests
    last = entries[-2]
    again = read_all(tmp_path / name, first_line=last.line)
    assert [e.content for e in again] == requests[-2:]


def test_nested_parquet_is_read_as_json_is(tmp_path: Path) -> None:
    requests = [request(n) for n in range(5)]
    rows = [json_format.MessageToDict(r, preserving_proto_field_name=True) for r in requests]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    assert [e.content for e in read_all(tmp_path / "in.parquet")] == requests


def test_rows_that_contradict_each_other_are_told_with_their_line(tmp_path: Path) -> None:
    rows = table_rows([request(1, lines=3), request(2)])
    rows[2]["buyer_name"] = "somebody else"
    rows[0]["remark"] = "plain"
    rows[3]["remark"] = "plain"
    write_csv(tmp_path / "in.csv", rows)
    entries = read_all(tmp_path / "in.csv")
    assert outcome(entries[:1]) == [(2, ["buyer_name: row 4: differs from a row of the same invoice before it"])]
    assert entries[0].identity == {"seller_id": "acme", "request_id": "r-1"}
    assert entries[1].content is not None


def test_a_row_that_cannot_be_read_spoils_the_invoices_around_it_and_no_other(tmp_path: Path) -> None:
    head = "seller_id,request_id,name,amount_minor"
    rows = ["a,1,x,1", "a,2,x,1", 'a,2,"x"y,1', "a,3,x,1", "a,4,x,1", "a,5,x,1,,,", "a,5,x,1"]
    (tmp_path / "in.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    entries = read_all(tmp_path / "in.csv")
    assert [(e.line, e.content is None) for e in entries] == [(2, False), (3, True), (5, True), (6, True), (8, True)]
    assert "row 4" in entries[1].faults[0][1]
    assert "row 4" in entries[2].faults[0][1]
    assert "row 7" in entries[4].faults[0][1]


def test_a_quote_that_never_ends_does_not_swallow_the_file(tmp_path: Path) -> None:
    lines = ["seller_id,request_id,name", 'a,1,"never ends', *(f"a,{n},x" for n in range(50_000))]
    (tmp_path / "in.csv").write_text("\n".join(lines), encoding="utf-8")
    entries = read_all(tmp_path / "in.csv")
    assert entries[0].content is None
    assert len(entries) > 1_000


def test_bytes_that_are_not_utf8_are_the_fault_of_their_row(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"seller_id,request_id,name\na,1,\xff\xfe\na,2,fine\n")
    entries = read_all(tmp_path / "in.csv")
    assert entries[0].faults == [("invoice.lines[0].name", "is not UTF-8")]
    assert entries[1].content is not None


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("in.csv", b"seller_id,colour\n", "unknown columns colour"),
        ("in.csv", b"seller_id,seller_id\n", "twice"),
        ("in.csv", b"", "no header"),
        ("in.parquet", b"PAR1 no", "in.parquet"),
        ("in.txt", b"", "say --format"),
    ],
)
def test_files_that_cannot_be_used_are_refused_as_a_whole(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableFile, match=text):
        open_source(tmp_path / name, kind=None, columns=COLUMNS)


# --- checks -------------------------------------------------------------------------------------------------------


def test_checks_are_read_from_objects_tables_and_results(tmp_path: Path) -> None:
    check = billow.InvoiceCheck(number="2" * 20, issue_date=20260131, gross_total_minor=113)
    results = tmp_path / "a.jsonl"
    told: list[dict[str, object]] = [
        {"line": 1, "seller_id": "s", "request_id": "r", "number": "2" * 20, "issue_date": 20260131}
        | {"net_total_minor": 100, "tax_total_minor": 13, "gross_total_minor": 113},
        {"line": 2, "error": {"reason": "UNREADABLE"}},
        {"number": "2" * 20, "issueDate": 20260131, "grossTotalMinor": "113"},
        {"number": 5},
    ]
    results.write_text("\n".join(map(json.dumps, told)), encoding="utf-8")
    table = tmp_path / "a.csv"
    table.write_text(f"number,issue_date,gross_total_minor\n{'2' * 20},20260131,113\n", encoding="utf-8")
    found = [list(check_entries(open_source(p, kind=None, columns=CHECK_COLUMNS))) for p in (results, table)]
    with_net = billow.InvoiceCheck(net_total_minor=100)
    with_net.MergeFrom(check)
    assert outcome(found[0]) == [(1, with_net), (3, check), (4, ["number: must be text, not a number"])]
    assert outcome(found[1]) == [(2, check)]

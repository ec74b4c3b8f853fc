"""What comes back from where others may have written: Redis, the object store, blocks, links, results files."""

from __future__ import annotations

import atexit
import json
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from billow import InvoiceCheck, IssueInvoiceRequest
from billow.cli.check_rows import COLUMNS, check_entries
from billow.cli.json_messages import FAULTS_MAX, UnreadableMessage, reader_of
from billow.cli.results import _read_back
from billow.cli.sources import UnusableFile, open_source
from core import limits
from core.domain.download_link import DownloadLink, LinkKey, LinkRefused, sign, verify
from core.storage import block, segments
from core.storage.block import BlockCorrupt, Run
from core.storage.ports import Issued, VerificationEntry
from core.storage.redis import values
from core.storage.segments import Columns, SegmentCorrupt
from tests.fuzz.decoder import Decoder

NUMBER = "26110000000000000042"
NOW_S = 1_795_000_000
KEY = LinkKey("2026-01", b"a" * 32)
LINK = DownloadLink(
    number=NUMBER, format_name="pdf", version=3, sha256=bytes(range(32)), size_bytes=4_321, expires_s=NOW_S + 60
)
BLOCK_TIMES_MAX = 70_000  # what zstd makes of a byte at most, by its format, rounded up


def cached(data: bytes) -> None:
    """Values of Redis: what is read writes back the same, else it counts as absent."""
    answer = values.unpack_answer(7, "r", data)
    assert answer is None or values.pack_answer(answer) == data
    entry = values.unpack_entry(NUMBER, data)
    assert entry is None or values.pack_entry(entry) == data


def link(data: bytes) -> None:
    """A download link is the one that was signed, or refused."""
    token = data.decode("latin-1")
    try:
        found = verify(token, [KEY], now_s=NOW_S)
    except LinkRefused:
        return
    assert (found, token) == (LINK, sign(LINK, KEY))


def packed(data: bytes) -> None:
    """Blocks and runs of batches."""
    try:
        found = block.unpack(data)
        assert block.unpack(block.pack(found.request_ids, found.bodies)) == found
        assert sum(map(len, found.bodies)) <= min(block.BLOCK_BYTES_MAX, BLOCK_TIMES_MAX * len(data))
    except BlockCorrupt:
        pass
    with suppress(BlockCorrupt):
        assert block.pack_runs(block.unpack_runs(data)) == data


def segment(data: bytes) -> None:
    """A whole archive segment, as the audit reads it."""
    try:
        for _ in segments.rows(data):
            pass
    except SegmentCorrupt:
        pass


@cache
def _file() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="billow-fuzz-")
    atexit.register(folder.cleanup)
    return Path(folder.name) / "file"


def results(data: bytes) -> None:
    """The results file of `billow issue`: a prefix that is whole, or no results file."""
    path = _file()
    path.write_bytes(data)
    try:
        done, end = _read_back(path)
    except UnusableFile:
        return
    assert 0 <= end <= len(data)
    assert data[:end].count(b"\n") == done.issued + done.refused
    path.write_bytes(data[:end])
    assert _read_back(path) == (done, end)


def checks(data: bytes) -> None:
    """A file of checks in every format the SDK's command reads."""
    path = _file()
    path.write_bytes(data)
    for kind in ("jsonl", "csv"):
        try:
            for entry in check_entries(open_source(path, kind=kind, columns=COLUMNS)):
                assert entry.content is not None or entry.faults
        except UnusableFile:
            pass


def json_message(data: bytes) -> None:
    """JSON of an invoice to a message: all of it, or its faults; what is read is the same once more."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    for kind in (IssueInvoiceRequest, InvoiceCheck):
        faults = None
        try:
            found = reader_of(kind)(value)
        except UnreadableMessage as unreadable:
            faults = unreadable.faults
        else:
            assert kind.FromString(found.SerializeToString()) == found
        assert faults is None or 0 < len(faults) <= FAULTS_MAX


def _values() -> list[bytes]:
    issued = Issued(NUMBER, 7, "r", bytes(32), 2, 1, NOW_S * 10**6, 10_000, 1_300, 11_300, "9111", bytes(range(32)))
    entry = VerificationEntry(NUMBER, NOW_S * 10**6, 2, 10_000, 11_300, 0, "9111", "9112")
    return [values.pack_answer(issued), values.pack_entry(entry)]


def _blocks() -> list[bytes]:
    return [block.pack(["r-1", "r-2"], [b"body", b"another"]), block.pack_runs([Run(7, 2, NUMBER, 3)])]


def _segments() -> list[bytes]:
    rows = Columns()
    for place, name in enumerate(("a", "b")):
        texts = {"number": NUMBER, "seller_tax_id": "9", "request_id": name, "currency": "CNY"}
        texts |= {"buyer_name": "x", "buyer_tax_id": "9"}
        for column in segments.NAMES:
            value = name.encode() * 32 if column in ("body", "body_sha256") else place
            getattr(rows, column).append(texts.get(column, value))
    return [segments.write(rows)]


def _results() -> list[bytes]:
    lines = [
        {"line": 1, "seller_id": "s", "request_id": "r", "number": NUMBER, "issue_date": 20_261_122},
        {"line": 3, "seller_id": "s", "request_id": "q", "error": {"reason": "INVALID_INVOICE"}},
    ]
    return [b"".join(json.dumps(line).encode() + b"\n" for line in lines)]


def _checks() -> list[bytes]:
    row = {"number": NUMBER, "issue_date": 20_261_122, "gross_total_minor": "11300"}
    return [
        json.dumps(row).encode() + b"\n",
        b"number,issue_date,gross_total_minor\n" + ",".join(map(str, row.values())).encode() + b"\n",
    ]


def _json() -> list[bytes]:
    line = {"name": "a", "quantity": "2", "unitPrice": "50.00", "amountMinor": "10000", "tax_rate_bp": 1300}
    invoice = {
        "kind": "INVOICE_KIND_GENERAL",
        "buyer": {"name": "b"},
        "lines": [line],
        "issueTime": "2026-01-31T08:00Z",
    }
    return [json.dumps({"seller_id": "s", "requestId": "r", "invoice": invoice}).encode()]


DECODERS = (
    Decoder("cached", cached, _values, 4_096),
    Decoder("link", link, lambda: [sign(LINK, KEY).encode()], 2 * limits.DOWNLOAD_TOKEN_CHARS_MAX),
    Decoder("block", packed, _blocks, 4_096),
    Decoder("segment", segment, _segments),
    Decoder("results", results, _results, 4_096),
    Decoder("checks", checks, _checks, 4_096),
    Decoder("json_message", json_message, _json, 16 * 1024),
)

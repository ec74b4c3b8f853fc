"""The archive's format: a segment is one Parquet file, one row an invoice, in the order of its batches.

DuckDB, Spark and pandas read it as a table as it lies. The canonical body of every invoice is in it with its SHA-256;
the other columns say in searchable form what the body says. The same rows make the same bytes, so that packing the
same batches again after a crash gives the same object key. Row groups are small, so that one body costs one ranged
read of some 200 KB (core/storage/segment_reader.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

FORMAT: Final = "1"
FORMAT_KEY: Final = "billow.segment.format"
ROW_GROUP_INVOICES: Final = 1_000  # measured: 190 KB and 3 ms a body, 1 % more bytes than 5,000 (970 KB, 11 ms)
ZSTD_LEVEL: Final = 3
US_PER_S: Final = 1_000_000

SCHEMA: Final = pa.schema(
    [
        pa.field("number", pa.string(), nullable=False),
        pa.field("seller_key", pa.int64(), nullable=False),
        pa.field("seller_tax_id", pa.string(), nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("kind", pa.int32(), nullable=False),
        pa.field("color", pa.int32(), nullable=False),
        pa.field("issued_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("net_total_minor", pa.int64(), nullable=False),
        pa.field("tax_total_minor", pa.int64(), nullable=False),
        pa.field("gross_total_minor", pa.int64(), nullable=False),
        pa.field("buyer_name", pa.string(), nullable=False),
        pa.field("buyer_tax_id", pa.string(), nullable=False),
        pa.field("body", pa.binary(), nullable=False),
        pa.field("body_sha256", pa.binary(32), nullable=False),
        pa.field("batch_id", pa.int64(), nullable=False),
        pa.field("batch_position", pa.int32(), nullable=False),
    ]
)
BODY_COLUMN: Final = SCHEMA.get_field_index("body")
REPETITIVE: Final = ["seller_key", "seller_tax_id", "kind", "color", "issued_at", "currency", "batch_id", "buyer_name"]
INCOMPRESSIBLE: Final = "body_sha256"


class SegmentCorrupt(ValueError):
    """A segment cannot be read, or is not of a format known here."""


@dataclass(slots=True)
class Columns:
    """Rows of a segment by column, in SCHEMA's order; amounts in minor units, the time in µs since the epoch."""

    number: list[str] = field(default_factory=list)
    seller_key: list[int] = field(default_factory=list)
    seller_tax_id: list[str] = field(default_factory=list)
    request_id: list[str] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    color: list[int] = field(default_factory=list)
    issued_at: list[int] = field(default_factory=list)
    currency: list[str] = field(default_factory=list)
    net_total_minor: list[int] = field(default_factory=list)
    tax_total_minor: list[int] = field(default_factory=list)
    gross_total_minor: list[int] = field(default_factory=list)
    buyer_name: list[str] = field(default_factory=list)
    buyer_tax_id: list[str] = field(default_factory=list)
    body: list[bytes] = field(default_factory=list)
    body_sha256: list[bytes] = field(default_factory=list)
    batch_id: list[int] = field(default_factory=list)
    batch_position: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.number)

    def extend(self, more: Columns) -> None:
        """Adds rows at the end."""
        for name in NAMES:
            getattr(self, name).extend(getattr(more, name))

    def slice(self, start: int, end: int) -> Columns:
        """Returns the rows from `start` to before `end`."""
        return Columns(*(getattr(self, name)[start:end] for name in NAMES))


NAMES: Final = tuple(item.name for item in fields(Columns))


def write(columns: Columns) -> bytes:
    """Writes a segment; blocks for 5 to 10 µs an invoice, so call it in a thread. Deterministic."""
    arrays = [pa.array(getattr(columns, name), type=SCHEMA.field(name).type) for name in NAMES]
    sink = pa.BufferOutputStream()
    writer = pq.ParquetWriter(
        sink,
        SCHEMA,
        version="2.6",
        data_page_version="1.0",
        use_dictionary=REPETITIVE,
        compression={name: "none" if name == INCOMPRESSIBLE else "zstd" for name in NAMES},
        compression_level={name: ZSTD_LEVEL for name in NAMES if name != INCOMPRESSIBLE},
        write_statistics=[name for name in NAMES if name not in ("body", INCOMPRESSIBLE)],
        write_page_index=True,
        write_page_checksum=True,
        store_schema=False,
    )
    with writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), row_group_size=ROW_GROUP_INVOICES)
        writer.add_key_value_metadata({FORMAT_KEY: FORMAT})
    return bytes(sink.getvalue())


def rows(data: bytes) -> Iterator[Columns]:
    """Reads a whole segment, a row group at a time; blocks. Raises SegmentCorrupt."""
    file = open_parquet(pa.BufferReader(data))
    for group in range(file.metadata.num_row_groups):
        yield _columns(file, group)


def _columns(file: pq.ParquetFile, group: int) -> Columns:
    """Decodes one row group."""
    try:
        table = file.read_row_group(group, use_threads=False)
        issued_at = table.column("issued_at").cast(pa.int64())
        values: dict[str, list[Any]] = {
            name: (issued_at if name == "issued_at" else table.column(name)).to_pylist() for name in NAMES
        }
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise SegmentCorrupt(f"row group {group} cannot be read: {error}") from error
    return Columns(**values)


def open_parquet(source: Any, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """Opens a segment and checks its format; raises SegmentCorrupt."""
    try:
        file = pq.ParquetFile(source, metadata=metadata, pre_buffer=False, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no UTF-8
        raise SegmentCorrupt(f"not a Parquet file: {error}") from error
    check_format(file.metadata)
    return file


def check_format(metadata: pq.FileMetaData) -> None:
    """Raises SegmentCorrupt unless the footer is that of a segment of this format."""
    found = (metadata.metadata or {}).get(FORMAT_KEY.encode(), b"").decode("utf-8", "replace")
    if found != FORMAT:
        raise SegmentCorrupt(f"{FORMAT_KEY} is {found!r}, known is {FORMAT!r}")


def object_key(first_issued_at_us: int, sha256: bytes) -> str:
    """Names a segment after the day (UTC) of its first invoice and its content."""
    return f"segments/{datetime.fromtimestamp(first_issued_at_us // US_PER_S, UTC):%Y/%m/%d}/{sha256.hex()}.parquet"


def retain_until_us(last_issued_at_us: int, retention_days: int) -> int:
    """Returns the end of a segment's retention: midnight (UTC) after the last invoice's full term.

    It depends on the invoices only, so that storing the same segment again asks for the same lock.
    """
    day = datetime.fromtimestamp(last_issued_at_us // US_PER_S, UTC).replace(hour=0, minute=0, second=0)
    return int((day + timedelta(days=retention_days + 1)).timestamp()) * US_PER_S

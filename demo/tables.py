"""The TPC-H tables: generated once by the `tpchgen-cli` wheel, then read in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TABLES: Final = ("customer", "lineitem", "nation", "orders", "part")
ORDER_COLUMNS: Final = ("o_orderkey", "o_custkey", "o_orderdate", "o_clerk")
LINE_COLUMNS: Final = ("l_orderkey", "l_partkey", "l_quantity", "l_extendedprice", "l_discount", "l_tax")
ROWS_AT_ONCE: Final = 8_192
GENERATOR: Final = Path(sys.executable).parent / "tpchgen-cli"


@dataclass(frozen=True, slots=True)
class Customer:
    """A row of `customer`."""

    key: int
    name: str
    address: str
    nation_key: int
    phone: str
    segment: str


@dataclass(frozen=True, slots=True)
class Part:
    """A row of `part`."""

    name: str
    brand: str
    type: str
    size: int
    container: str


@dataclass(frozen=True, slots=True)
class OrderLine:
    """A row of `lineitem`. Discount and tax are in percent, quantity in hundredths."""

    part_key: int
    quantity_hundredths: int
    extended_minor: int
    discount_percent: int
    tax_percent: int


@dataclass(frozen=True, slots=True)
class Order:
    """A row of `orders` with its lines."""

    key: int
    customer_key: int
    date: str  # yyyy-mm-dd
    clerk: str
    lines: list[OrderLine]


def generate(folder: Path, *, scale: Decimal) -> bool:
    """Writes the tables as Parquet into `folder` unless they are there; returns whether it had to.

    The last file written is the marker, so an interrupted run is repeated. Raises CalledProcessError.
    """
    marker = folder / "complete"
    if marker.exists():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    common = ["-s", str(scale), "-o", str(folder), "-T", ",".join(TABLES), "-c", "ZSTD(1)"]
    subprocess.run([GENERATOR, "parquet", *common, "--overwrite", "--quiet"], check=True)
    marker.touch()
    return True


def rows(folder: Path, table: str) -> int:
    """Returns the number of rows of a table without reading it."""
    return int(pq.ParquetFile(folder / f"{table}.parquet").metadata.num_rows)


def nations(folder: Path) -> dict[int, str]:
    """Reads the names of the 25 nations by key."""
    table = _columns(folder, "nation", ("n_nationkey", "n_name"))
    return dict(zip(*table, strict=True))


def customers(folder: Path) -> dict[int, Customer]:
    """Reads all customers by key: about 400 bytes each, 150,000 at scale 1."""
    columns = ("c_custkey", "c_name", "c_address", "c_nationkey", "c_phone", "c_mktsegment")
    return {row[0]: Customer(*row) for row in zip(*_columns(folder, "customer", columns), strict=True)}


def parts(folder: Path) -> dict[int, Part]:
    """Reads all parts by key: about 400 bytes each, 200,000 at scale 1."""
    columns = ("p_partkey", "p_name", "p_brand", "p_type", "p_size", "p_container")
    return {key: Part(*row) for key, *row in zip(*_columns(folder, "part", columns), strict=True)}


def orders(folder: Path) -> Iterator[Order]:
    """Yields all orders with their lines, in the order of their keys; holds a few thousand rows at a time."""
    lines = _lines(folder)
    line_order, line = next(lines, (0, None))
    for key, customer_key, date, clerk in _rows(folder, "orders", ORDER_COLUMNS):
        own: list[OrderLine] = []
        while line is not None and line_order == key:
            own.append(line)
            line_order, line = next(lines, (0, None))
        yield Order(key, customer_key, date.isoformat(), clerk, own)
    if line is not None:
        raise ValueError(f"lineitem has a line of order {line_order}, which is not in orders")


def _lines(folder: Path) -> Iterator[tuple[int, OrderLine]]:
    """Yields (order key, line) in the order of the file, which is that of the orders."""
    for order, part, quantity, extended, discount, tax in _rows(folder, "lineitem", LINE_COLUMNS):
        yield order, OrderLine(part, quantity, extended, discount, tax)


def _columns(folder: Path, table: str, names: tuple[str, ...]) -> list[list[Any]]:
    """Reads columns of a small table."""
    data = pq.read_table(folder / f"{table}.parquet", columns=list(names))
    return [data.column(name).to_pylist() for name in names]


def _rows(folder: Path, table: str, names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Yields the rows of a large table; decimals come as hundredths."""
    file = pq.ParquetFile(folder / f"{table}.parquet")
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=list(names)):
        yield from zip(*(_values(batch.column(name)) for name in names), strict=True)


def _values(column: Any) -> list[Any]:
    """A column as a list; all decimals of TPC-H have two places."""
    if pa.types.is_decimal(column.type):
        column = pc.multiply(column, pa.scalar(100, pa.int32())).cast(pa.int64())
    values: list[Any] = column.to_pylist()
    return values

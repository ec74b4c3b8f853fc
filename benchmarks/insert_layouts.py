"""How the hot insert is written, measured: `python -m benchmarks.insert_layouts` (the figures of ADR 0003 and 0006).

Starts the data stores, then writes the same 500-invoice batches in turn in each layout into tables of the same shape
as `invoices`, each batch a transaction with the real durability (semi-sync, every log flushed):

  parameters   multi-row INSERT, each value escaped by the driver, body in the row
  literals     multi-row INSERT, written by hand with X'…' literals, body in the row
  block        as literals, but the bodies of a batch together, compressed, in one row of their own (what Billow does)

Prints a line of JSON: CPU µs an invoice of this process and of the primary and the replica, milliseconds a commit,
and bytes an invoice on disk, medians over the rounds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiomysql
import psutil

from benchmarks.shapes import invoices
from core.settings import MySQLSettings, load
from core.storage import block
from core.storage.mysql.pool import Node, Primary
from stack import DATA_STORES, Stack, StackOptions

ITEMS = 500
ROUNDS = 9
BATCHES = 10  # of one layout in one round

COLUMNS = (
    "number CHAR(20) CHARACTER SET ascii NOT NULL PRIMARY KEY, seller_key INT UNSIGNED NOT NULL,"
    " request_id VARBINARY(64) NOT NULL, request_sha256 BINARY(32) NOT NULL, issued_at_us BIGINT NOT NULL,"
    " gross_total_minor BIGINT NOT NULL, buyer_tax_id VARCHAR(20) CHARACTER SET ascii, body_sha256 BINARY(32) NOT NULL,"
    " UNIQUE KEY by_request (seller_key, request_id), KEY by_time (seller_key, issued_at_us),"
    " KEY by_buyer (buyer_tax_id, issued_at_us)"
)
TABLES = {
    "parameters": f"CREATE TABLE bench_parameters ({COLUMNS}, body BLOB NOT NULL)",
    "literals": f"CREATE TABLE bench_literals ({COLUMNS}, body BLOB NOT NULL)",
    "block": f"CREATE TABLE bench_block ({COLUMNS})",
    "blocks": "CREATE TABLE bench_blocks (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, block MEDIUMBLOB NOT NULL)",
}
NAMES = "number, seller_key, request_id, request_sha256, issued_at_us, gross_total_minor, buyer_tax_id, body_sha256"

Row = tuple[str, int, str, bytes, int, int, str, bytes]
Write = Callable[[aiomysql.Cursor, list[Row], list[bytes]], Awaitable[None]]


async def by_parameters(cursor: aiomysql.Cursor, rows: list[Row], bodies: list[bytes]) -> None:
    """Lets the driver escape every value."""
    places = ",".join(["(" + ",".join(["%s"] * 9) + ")"] * len(rows))
    values = [value for row, body in zip(rows, bodies, strict=True) for value in (*row, body)]
    await cursor.execute(f"INSERT INTO bench_parameters ({NAMES}, body) VALUES {places}", values)


def literal(row: Row) -> str:
    """Writes a row by hand."""
    number, seller, request, digest, time_us, gross, buyer, body = row
    return (
        f"X'{number.encode().hex()}',{seller},X'{request.encode().hex()}',X'{digest.hex()}',{time_us},{gross},"
        f"X'{buyer.encode().hex()}',X'{body.hex()}'"
    )


async def by_literals(cursor: aiomysql.Cursor, rows: list[Row], bodies: list[bytes]) -> None:
    """Writes everything by hand, the body in its row."""
    values = ",".join(f"({literal(row)},X'{body.hex()}')" for row, body in zip(rows, bodies, strict=True))
    await cursor.execute(f"INSERT INTO bench_literals ({NAMES}, body) VALUES {values}")


async def by_block(cursor: aiomysql.Cursor, rows: list[Row], bodies: list[bytes]) -> None:
    """Writes slim rows by hand and the bodies as one compressed block."""
    packed = block.pack([row[2] for row in rows], bodies)
    await cursor.execute(f"INSERT INTO bench_blocks (block) VALUES (X'{packed.hex()}')")
    values = ",".join(f"({literal(row)})" for row in rows)
    await cursor.execute(f"INSERT INTO bench_block ({NAMES}) VALUES {values}")


LAYOUTS: dict[str, Write] = {"parameters": by_parameters, "literals": by_literals, "block": by_block}


def batch(layout: str, serial: int, bodies: list[bytes]) -> list[Row]:
    """Makes the rows of one batch."""
    start = serial * ITEMS
    digests = [hashlib.sha256(body).digest() for body in bodies]
    return [
        (
            f"26{start + i:018d}",
            1,
            f"{layout}-{start + i}",
            digests[i],
            10**15 + serial,
            11_300,
            f"9144{i:014d}",
            digests[i],
        )
        for i in range(len(bodies))
    ]


async def measure(primary: Primary, processes: dict[str, psutil.Process]) -> dict[str, dict[str, float]]:
    """Writes the rounds and returns the medians."""
    bodies = invoices(3, ITEMS)
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in LAYOUTS}
    async with primary.connection() as connection, connection.cursor() as cursor:
        serial = 0
        for _ in range(ROUNDS):
            for layout, write in LAYOUTS.items():
                before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
                began = time.perf_counter()
                for _ in range(BATCHES):
                    rows = batch(layout, serial, bodies)
                    serial += 1
                    await connection.begin()
                    await write(cursor, rows, bodies)
                    await connection.commit()
                took = time.perf_counter() - began
                await asyncio.sleep(0.3)  # the replica finishes
                for name, process in processes.items():
                    spent = (sum(process.cpu_times()[:2]) - before[name]) / (ITEMS * BATCHES)
                    figures[layout].setdefault(f"{name}_cpu_us", []).append(spent * 1e6)
                figures[layout].setdefault("commit_ms", []).append(took / BATCHES * 1e3)
    return {
        layout: {name: round(statistics.median(values), 1) for name, values in found.items()}
        for layout, found in figures.items()
    }


async def run(stack: Stack) -> dict[str, dict[str, float]]:
    """Creates the tables, measures, and adds the sizes on disk."""
    settings = load(stack.config_path).mysql
    admin = MySQLSettings(
        primary=settings.primary, user=settings.admin_user, password=settings.admin_password, database=settings.database
    )
    primary = Primary(Node(admin, admin.primary))
    for sql in TABLES.values():
        await primary.rows(sql)
    processes = {
        "client": psutil.Process(),
        "primary": psutil.Process(stack.pid("mysql-1")),
        "replica": psutil.Process(stack.pid("mysql-2")),
    }
    figures = await measure(primary, processes)
    for name in TABLES:
        await primary.rows(f"ANALYZE TABLE bench_{name}")
    sizes = dict(
        await primary.rows(
            "SELECT table_name, data_length + index_length FROM information_schema.tables"
            " WHERE table_name LIKE 'bench%%'"
        )
    )
    for layout, found in figures.items():
        size = sizes[f"bench_{layout}"] + (sizes["bench_blocks"] if layout == "block" else 0)
        found["disk_bytes"] = round(size / (ROUNDS * BATCHES * ITEMS))
    primary.node.drop()
    return figures


def main() -> None:
    """Runs the measurement in a stack of its own."""
    options = StackOptions(parts=DATA_STORES)
    with tempfile.TemporaryDirectory(prefix="billow-") as folder, Stack(run_dir=Path(folder), options=options) as stack:
        print(json.dumps(asyncio.run(run(stack))))


if __name__ == "__main__":
    main()

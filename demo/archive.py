"""The archive seen from outside: Parquet objects in a bucket, asked by DuckDB as one table."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import duckdb
import pyarrow.dataset as ds
from pyarrow import fs

from core.settings import ObjectStoreSettings

PREFIX: Final = "segments/"
LOOK_EVERY_S: Final = 1.0


def table(settings: ObjectStoreSettings) -> Any:
    """Opens all segments as one Arrow dataset; None while there is no segment."""
    endpoint = urlsplit(settings.endpoint)
    store = fs.S3FileSystem(
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        endpoint_override=endpoint.netloc,
        scheme=endpoint.scheme,
        region=settings.region,
    )
    try:
        found = ds.dataset(f"{settings.bucket}/{PREFIX}", filesystem=store, format="parquet")
    except FileNotFoundError:
        return None
    return found if found.files else None


def ask(settings: ObjectStoreSettings, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Runs a query over the table `archive`; no rows while there is no segment."""
    archive = table(settings)
    if archive is None:
        return []
    with duckdb.connect() as connection:
        connection.register("archive", archive)
        return list(connection.execute(sql, list(parameters)).fetchall())


def archived(settings: ObjectStoreSettings, request_prefix: str) -> int:
    """Counts the different invoices whose request id starts with a prefix.

    Different ones, because a worker that died may have left a segment that nobody uses.
    """
    rows = ask(settings, "SELECT count(DISTINCT number) FROM archive WHERE starts_with(request_id, ?)", request_prefix)
    return int(rows[0][0]) if rows else 0


def net_total_minor(settings: ObjectStoreSettings, request_prefix: str) -> int:
    """Sums the net totals of the different invoices whose request id starts with a prefix."""
    sql = """
        SELECT coalesce(sum(net_total_minor), 0)
        FROM (SELECT DISTINCT number, net_total_minor FROM archive WHERE starts_with(request_id, ?))
    """
    rows = ask(settings, sql, request_prefix)
    return int(rows[0][0]) if rows else 0


def net_total_of_tables(folder: Path) -> int:
    """Sums what the TPC-H tables say: extended prices less discounts, each rounded half up to fen."""
    sql = """
        SELECT sum(l_extendedprice * 100 - round(l_extendedprice * 100 * l_discount, 0))::BIGINT
        FROM read_parquet(?)
    """
    with duckdb.connect() as connection:
        row = connection.execute(sql, [str(folder / "lineitem.parquet")]).fetchone()
    return int(row[0]) if row else 0


def wait(
    settings: ObjectStoreSettings, request_prefix: str, *, wanted: int, within_s: float, show: Callable[[int], None]
) -> int:
    """Waits until so many invoices are archived, or until none was for `within_s`; returns how many are. Blocks."""
    found, last_news = -1, time.monotonic()
    while True:
        now = archived(settings, request_prefix)
        if now > found:
            found, last_news = now, time.monotonic()
            show(found)
        if found >= wanted or time.monotonic() - last_news > within_s:
            return found
        time.sleep(LOOK_EVERY_S)

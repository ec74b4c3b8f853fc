"""What this machine can do at best, measured in the same run as Billow: the ratios mean something where rates do not.

load_data   rows a second of LOAD DATA LOCAL INFILE over two connections into a table like `invoices`, 5,000 rows a
            transaction, with the same durability (semi-sync, every log flushed)
redis_get   pipelined GETs a second, 1,000 a pipeline, of values as large as a verification entry
object_put  PUTs of 1 MiB a second, two at a time
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pymysql
import redis.asyncio

from core.settings import Settings
from core.storage.objects.s3 import open_s3

CONNECTIONS = 2
ROWS = 5_000  # of one LOAD DATA
FILES = 4  # a connection and round
GETS = 1_000  # of one pipeline
PIPELINES = 40
OBJECTS = 16
OBJECT_BYTES = 1024 * 1024
US_PER_S = 1_000_000

TABLE = "bench_load_data"
LOAD = (
    f"LOAD DATA LOCAL INFILE %s INTO TABLE {TABLE} (number, seller_key, request_id, @request_sha256, kind, color,"
    " issued_at_us, net_total_minor, tax_total_minor, gross_total_minor, buyer_tax_id, @body_sha256, batch_id,"
    " batch_position) SET request_sha256 = UNHEX(@request_sha256), body_sha256 = UNHEX(@body_sha256)"
)


def rows(start: int) -> Iterator[str]:
    """Yields the lines of one file: rows of one of ten sellers in turn, as a batch of ten sellers would have them."""
    now_us = time.time_ns() // 1_000
    for serial in range(start, start + ROWS):
        digest = hashlib.sha256(str(serial).encode()).hexdigest()
        seller = serial % 10
        number = f"26{seller:03d}{serial:015d}"
        yield (
            f"{number}\t{seller}\tload-{serial}\t{digest}\t2\t1\t{now_us}\t10000\t1300\t11300\t9144{serial % 2000:014d}"
            f"\t{digest}\t{serial // 500}\t{serial % 500}\n"
        )


def load_data(settings: Settings, round_number: int) -> float:
    """Returns rows a second over all connections."""
    mysql = settings.mysql

    def connect() -> pymysql.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(
            host=mysql.primary.host,
            port=mysql.primary.port,
            user=mysql.admin_user,
            password=mysql.admin_password,
            database=mysql.database,
            autocommit=True,
            local_infile=True,
        )

    with connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} LIKE invoices")

    def run(paths: list[Path]) -> None:
        with connect() as connection, connection.cursor() as cursor:
            for path in paths:
                cursor.execute(LOAD, (str(path),))

    with tempfile.TemporaryDirectory(prefix="billow-load-") as folder:
        shares: list[list[Path]] = [[] for _ in range(CONNECTIONS)]
        for number in range(CONNECTIONS * FILES):
            path = Path(folder) / f"{number}.tsv"
            path.write_text("".join(rows((round_number * CONNECTIONS * FILES + number) * ROWS)))
            shares[number % CONNECTIONS].append(path)
        began = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            list(threads.map(run, shares))
        return CONNECTIONS * FILES * ROWS / (time.perf_counter() - began)


async def redis_get(settings: Settings) -> float:
    """Returns GETs a second of one client."""
    client = redis.asyncio.Redis.from_url(settings.redis.url)
    names = [f"bench:{number}" for number in range(GETS)]
    async with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.set(name, os.urandom(80), ex=60)
        await pipeline.execute(raise_on_error=True)
    began = time.perf_counter()
    for _ in range(PIPELINES):
        async with client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.get(name)
            await pipeline.execute(raise_on_error=True)
    rate = GETS * PIPELINES / (time.perf_counter() - began)
    await client.aclose()
    return rate


async def object_put(settings: Settings) -> float:
    """Returns PUTs a second."""
    data = [os.urandom(OBJECT_BYTES) for _ in range(OBJECTS)]
    keys = iter([(f"bench/{hashlib.sha256(item).hexdigest()}", item) for item in data])
    until_us = time.time_ns() // 1_000 + 3_600 * US_PER_S
    async with open_s3(settings.object_store) as store:

        async def run() -> None:
            for key, item in keys:
                await store.put(key, item, retain_until_us=until_us)

        began = time.perf_counter()
        await asyncio.gather(run(), run())
        return OBJECTS / (time.perf_counter() - began)

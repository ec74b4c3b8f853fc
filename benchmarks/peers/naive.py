"""The service people write first: one grpc.aio process, one INSERT and COMMIT per invoice.

It answers Billow's own IssueInvoice and StreamIssueInvoices (a message is a loop of single issues), checks and totals
as Billow does, and writes to the same database server with the same durability. A number is taken by SELECT … FOR
UPDATE and UPDATE in the transaction of its invoice; a unique key makes repeated requests one invoice; the body lies in
the row; aiomysql escapes the parameters. No Redis, no batches, no pipelines.

In its favour: no API keys, no Envoy, sellers read once a process, and no BEGIN (autocommit is off): 4 round trips an
invoice. Its tables lie beside Billow's, which neither reads nor audits them, and are made anew by each process.

`python -m benchmarks.peers.naive` serves: settings come as JSON on stdin, the port goes to stdout.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiomysql
import grpc
import pymysql
import uvloop

from benchmarks import loads
from benchmarks.calls import Caller
from benchmarks.shapes import Shape, bodies, single_messages, stream_messages, tax_id
from billow.issuance.v1 import issuance_pb2, issuance_pb2_grpc
from core.domain import body
from core.domain.errors import BillowError
from core.domain.parties import Party
from core.limits import MESSAGE_BYTES_MAX
from core.settings import Address, Settings
from core.storage.mysql.pool import DUPLICATE_KEY
from core.storage.ports import Draft, SellerRecord
from server.convert import issuance

SELLERS: Final = 10
CONNECTIONS: Final = 32
STREAMS: Final = 2
BATCH_ITEMS: Final = 500
WARM_UP_CALLS: Final = 200
START_S: Final = 30.0
ISSUE_ONE: Final = "/billow.issuance.v1.IssuanceService/IssueInvoice"

TABLES: Final = {
    "naive_sellers": """
        seller_id VARCHAR(64) CHARACTER SET ascii NOT NULL PRIMARY KEY,
        seller_key INT UNSIGNED NOT NULL,
        tax_id VARCHAR(20) CHARACTER SET ascii NOT NULL,
        last_number DECIMAL(20, 0) NOT NULL
    """,
    "naive_invoices": """
        number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        seller_key INT UNSIGNED NOT NULL,
        request_id VARBINARY(64) NOT NULL,
        request_sha256 BINARY(32) NOT NULL,
        kind TINYINT UNSIGNED NOT NULL,
        issued_at_us BIGINT UNSIGNED NOT NULL,
        net_total_minor BIGINT NOT NULL,
        tax_total_minor BIGINT NOT NULL,
        gross_total_minor BIGINT NOT NULL,
        buyer_tax_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NULL,
        body_sha256 BINARY(32) NOT NULL,
        body MEDIUMBLOB NOT NULL,
        UNIQUE KEY by_request (seller_key, request_id),
        KEY by_time (seller_key, issued_at_us),
        KEY by_buyer (buyer_tax_id, issued_at_us)
    """,
}
TAKE: Final = "SELECT last_number FROM naive_sellers WHERE seller_id = %s FOR UPDATE"
MOVE: Final = "UPDATE naive_sellers SET last_number = %s WHERE seller_id = %s"
INSERT: Final = (
    "INSERT INTO naive_invoices (number, seller_key, request_id, request_sha256, kind, issued_at_us, net_total_minor,"
    " tax_total_minor, gross_total_minor, buyer_tax_id, body_sha256, body)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
FIRST: Final = (
    "SELECT number, issued_at_us, net_total_minor, tax_total_minor, gross_total_minor, request_sha256, body_sha256"
    " FROM naive_invoices WHERE seller_key = %s AND request_id = %s"
)


class Repeated(Exception):
    """The request id has been used for another invoice."""


class Naive(issuance_pb2_grpc.IssuanceServiceServicer):
    """The service. Each invoice is a transaction of 4 round trips; a repeated request costs 6."""

    def __init__(self, *, pool: aiomysql.Pool, sellers: dict[str, SellerRecord]) -> None:
        self._pool = pool
        self._sellers = sellers

    async def IssueInvoice(  # noqa: N802 (the contract's name)
        self, request: issuance_pb2.IssueInvoiceRequest, context: Any
    ) -> issuance_pb2.IssueInvoiceResponse:
        response = issuance_pb2.IssueInvoiceResponse()
        try:
            await self._issue(request, response.issued)
        except (BillowError, Repeated) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return response

    async def StreamIssueInvoices(  # noqa: N802 (the contract's name)
        self, requests: AsyncIterator[issuance_pb2.StreamIssueInvoicesRequest], context: Any
    ) -> AsyncIterator[issuance_pb2.StreamIssueInvoicesResponse]:
        async for message in requests:
            response = issuance_pb2.StreamIssueInvoicesResponse(sequence=message.sequence)
            for request in message.requests:
                result = response.results.add()
                try:
                    await self._issue(request, result.issued)
                except (BillowError, Repeated) as error:
                    result.error.code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
                    result.error.message = str(error)
            yield response

    async def _issue(self, request: issuance_pb2.IssueInvoiceRequest, issued: Any) -> None:
        """Issues one invoice and writes the answer into `issued`."""
        draft = issuance.draft(request, self._sellers.get(request.seller_id))
        if isinstance(draft, BillowError):
            raise draft
        async with self._pool.acquire() as connection:
            try:
                row = await _transact(connection, request.seller_id, draft)
            except BaseException:
                connection.close()  # nobody knows what it still has under way
                raise
        *row, request_sha256, issued.body_sha256 = row
        if request_sha256 != draft.request_sha256:
            raise Repeated(f"{draft.request_id} has been used for another invoice")
        issued.number, at_us, issued.net_total_minor, issued.tax_total_minor, issued.gross_total_minor = row
        issued.issue_time.FromMicroseconds(at_us)
        issued.seller_id, issued.request_id = request.seller_id, request.request_id


async def _transact(connection: aiomysql.Connection, seller_id: str, draft: Draft) -> Sequence[Any]:
    """Issues the draft, or reads what its request id made first; returns the columns of FIRST."""
    async with connection.cursor() as cursor:
        try:
            row = await _insert(cursor, seller_id, draft)
        except pymysql.err.IntegrityError as error:
            await connection.rollback()
            if error.args[0] != DUPLICATE_KEY:
                raise
            await cursor.execute(FIRST, (draft.seller_key, draft.request_id.encode()))
            row = await cursor.fetchone()
        await connection.commit()
        return row


async def _insert(cursor: aiomysql.Cursor, seller_id: str, draft: Draft) -> Sequence[Any]:
    """Takes the next number and writes the invoice; returns the columns of FIRST. 3 round trips."""
    await cursor.execute(TAKE, (seller_id,))
    number = int((await cursor.fetchone())[0]) + 1
    await cursor.execute(MOVE, (number, seller_id))
    at_us = time.time_ns() // 1_000
    digits = f"{number:020d}"
    whole = draft.prepared + body.suffix(at_us, digits)
    digest = hashlib.sha256(whole).digest()
    totals = (draft.net_total_minor, draft.tax_total_minor, draft.gross_total_minor)
    key = (digits, draft.seller_key, draft.request_id.encode(), draft.request_sha256, draft.kind, at_us)
    await cursor.execute(INSERT, (*key, *totals, draft.buyer_tax_id or None, digest, whole))
    return digits, at_us, *totals, draft.request_sha256, digest


def connecting(settings: Settings) -> dict[str, Any]:
    """How the service reaches the database: as the user that may make tables."""
    mysql = settings.mysql
    return {
        "host": mysql.primary.host,
        "port": mysql.primary.port,
        "user": mysql.admin_user,
        "password": mysql.admin_password,
        "db": mysql.database,
    }


async def make_tables(pool: aiomysql.Pool) -> dict[str, SellerRecord]:
    """Makes the tables anew with SELLERS sellers, called as those of Bench, and returns these."""
    sellers = {}
    async with pool.acquire() as connection, connection.cursor() as cursor:
        for name, columns in TABLES.items():
            await cursor.execute(f"CREATE OR REPLACE TABLE {name} ({columns}) ENGINE=InnoDB")
        for key in range(SELLERS):
            party = Party(name=f"卖方{key}有限公司", tax_id=tax_id(key))
            seller_id = f"seller-{key}"
            sellers[seller_id] = SellerRecord(
                seller_key=key, tenant_key=1, seller_id=seller_id, profile="cn", party=party, created_at_us=0
            )
            await cursor.execute(
                "INSERT INTO naive_sellers (seller_id, seller_key, tax_id, last_number) VALUES (%s, %s, %s, %s)",
                (seller_id, key, party.tax_id, 26 * 10**18 + key * 10**12),
            )
        await connection.commit()
    return sellers


async def serve(database: dict[str, Any]) -> None:
    """Serves until killed; prints the port when it does."""
    pool = await aiomysql.create_pool(**database, minsize=CONNECTIONS, maxsize=CONNECTIONS, charset="utf8mb4")
    sellers = await make_tables(pool)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)])
    naive = Naive(pool=pool, sellers=sellers)  # type: ignore[abstract]  # the other methods answer UNIMPLEMENTED
    issuance_pb2_grpc.add_IssuanceServiceServicer_to_server(naive, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


@asynccontextmanager
async def process(settings: Settings) -> AsyncIterator[Address]:
    """Runs the service with empty tables inside the block; gives its address. The tables go with it."""
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(sys.executable, "-m", __name__, stdin=pipe, stdout=pipe)
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        running.stdin.write(json.dumps(connecting(settings)).encode())
        running.stdin.write_eof()
        async with asyncio.timeout(START_S):
            port = int(await running.stdout.readline())
        yield Address(host="127.0.0.1", port=port)
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()
        await asyncio.to_thread(drop_tables, settings)


def drop_tables(settings: Settings) -> None:
    """Removes the service's tables."""
    with pymysql.connect(**connecting(settings), read_timeout=START_S) as connection, connection.cursor() as cursor:
        for name in TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {name}")


def shape() -> Shape:
    """Three-line invoices of ten sellers in batches of 500, as of Billow's own loads."""
    bodies(3)  # made before any clock runs
    seller_ids = [f"seller-{serial}" for serial in range(SELLERS)]
    return Shape(seller_ids=seller_ids, batch_items=BATCH_ITEMS, run_id=f"{time.time_ns()}")


async def measure(settings: Settings, *, calls: int, under_way: int) -> float:
    """Returns single calls a second, without Envoy; raises RuntimeError when one fails."""
    async with process(settings) as address:
        await _closed(address, count=WARM_UP_CALLS, under_way=under_way)
        return await _closed(address, count=calls, under_way=under_way)


async def _closed(address: Address, *, count: int, under_way: int) -> float:
    caller = Caller(host=address.host, port=address.port, path=ISSUE_ONE, secret="")
    messages: Iterator[bytes] = single_messages(shape())
    load = await caller.closed_loop(messages, under_way=under_way, calls=count)
    if load.refused or load.failed:
        raise RuntimeError(f"of {count} calls {load.refused} were refused and {load.failed} failed: {load.words}")
    return load.rate


async def measure_bulk(settings: Settings, *, batches: int) -> float:
    """Returns invoices a second over two streams, `batches` messages in all; raises RuntimeError when one fails."""
    async with process(settings) as address:
        await _closed(address, count=WARM_UP_CALLS, under_way=64)
        made = shape()
        messages = [stream_messages(made, -(-batches // STREAMS), place) for place in range(STREAMS)]
        outcome = await loads.issue(f"{address.host}:{address.port}", "", messages, keep_issued=False)
    if outcome.failed or outcome.refused:
        raise RuntimeError(f"{outcome.refused} were refused and {outcome.failed} failed: {outcome.words}")
    return outcome.rate


if __name__ == "__main__":
    uvloop.run(serve(json.load(sys.stdin)))

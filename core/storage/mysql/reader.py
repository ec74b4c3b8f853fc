# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""Reading issued invoices from MySQL: one class for the primary, one for the replicas, the same statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from core.domain.errors import BillowError, Reason
from core.storage.block import unpack_runs
from core.storage.mysql.issued_rows import ISSUED_COLUMNS, issued_from
from core.storage.mysql.pool import Primary, Replicas, read, unavailable
from core.storage.ports import BatchRow, InvoiceRow, Issued, ListFilter, Segment, VerificationEntry

_ISSUED_COUNT = ISSUED_COLUMNS.count(",") + 1
_I_ISSUED = ", ".join(f"i.{name.strip()}" for name in ISSUED_COLUMNS.split(","))

# The order of the tables and the indexes are written out: with few sellers, or stale statistics, the optimiser would
# rather read all invoices of a seller than look a thousand up (tests/integration/test_query_plans.py)
_BY_NUMBER = (
    f"SELECT {_I_ISSUED}, i.batch_id, i.batch_position, COALESCE(r.red_total_minor, 0)"
    " FROM invoices i FORCE INDEX (PRIMARY)"
    " LEFT JOIN red_balances r ON r.blue_number = i.number WHERE i.number IN ({places})"
)
_BY_REQUEST = (
    f"SELECT {ISSUED_COLUMNS} FROM invoices FORCE INDEX (by_request)"
    " WHERE seller_key = %s AND request_id IN ({places})"
)
_ENTRIES = (
    "SELECT STRAIGHT_JOIN i.number, i.issued_at_us, i.kind, i.net_total_minor, i.gross_total_minor,"
    " COALESCE(r.red_total_minor, 0), s.tax_id, COALESCE(i.buyer_tax_id, '') FROM invoices i FORCE INDEX (PRIMARY)"
    " JOIN sellers s FORCE INDEX (PRIMARY) ON s.seller_key = i.seller_key"
    " LEFT JOIN red_balances r ON r.blue_number = i.number WHERE i.number IN ({places})"
)
# what a seller issued when, a row for the consecutive numbers of one commit; the tenant is looked at here already
_RUNS = (
    "SELECT STRAIGHT_JOIN i.issued_at_us, i.first_number, i.last_number FROM seller_runs i FORCE INDEX (PRIMARY)"
    " JOIN sellers s FORCE INDEX (PRIMARY) ON s.seller_key = i.seller_key WHERE i.seller_key = %s"
    " AND s.tenant_key = %s AND i.issued_at_us >= %s AND i.issued_at_us < %s"
    " AND (i.issued_at_us > %s OR i.last_number > %s) ORDER BY i.issued_at_us, i.first_number LIMIT %s"
)
_LISTED = f"SELECT {ISSUED_COLUMNS} FROM invoices FORCE INDEX (PRIMARY) WHERE number IN ({{places}})"
_BATCH = "SELECT batch_id, issued_at_us, items, runs, block, segment_id, segment_row FROM batches WHERE batch_id = %s"
_SEGMENT = (
    "SELECT segment_id, object_key, sha256, size_bytes, invoices, created_at_us, retain_until_us"
    " FROM archive_segments WHERE segment_id = %s"
)

Rows = list[tuple[Any, ...]]


class _MySQLReader:
    """The statements; where they run is the subclasses' matter."""

    async def _rows(self, sql: str, values: Sequence[Any]) -> Rows:
        raise NotImplementedError

    async def by_number(self, numbers: Sequence[str]) -> dict[str, InvoiceRow]:
        """Reads invoices by number; see the port."""
        if not numbers:
            return {}
        found = await self._rows(_BY_NUMBER.format(places=_places(numbers)), numbers)
        return {row[0]: InvoiceRow(issued_from(row[:_ISSUED_COUNT]), *row[_ISSUED_COUNT:]) for row in found}

    async def by_request(self, seller_key: int, request_ids: Sequence[str]) -> dict[str, Issued]:
        """Reads invoices by request id; see the port."""
        if not request_ids:
            return {}
        found = await self._rows(
            _BY_REQUEST.format(places=_places(request_ids)),
            (seller_key, *(request_id.encode() for request_id in request_ids)),
        )
        return {issued.request_id: issued for issued in map(issued_from, found)}

    async def verification_entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry]:
        """Reads what checks need; see the port."""
        if not numbers:
            return {}
        found = await self._rows(_ENTRIES.format(places=_places(numbers)), numbers)
        return {row[0]: VerificationEntry(*row) for row in found}

    async def list(self, wanted: ListFilter) -> list[Issued]:
        """Lists invoices; see the port."""
        if wanted.buyer_tax_id is not None:
            sql, values = list_statement(wanted)
            return [issued_from(row) for row in await self._rows(sql, values)]
        after_us, after_number = wanted.after or (0, "")
        from_us = max(wanted.issued_from_us, after_us)
        bounds = (from_us, wanted.issued_before_us, after_us, after_number)
        runs = await self._rows(_RUNS, (wanted.seller_key, wanted.tenant_key, *bounds, wanted.items_max))
        numbers = _numbers(runs, wanted)
        if not numbers:
            return []
        found = [issued_from(row) for row in await self._rows(_LISTED.format(places=_places(numbers)), numbers)]
        return sorted(found, key=lambda issued: (issued.issued_at_us, issued.number))

    async def batch(self, batch_id: int) -> BatchRow | None:
        """Reads one batch; see the port."""
        found = await self._rows(_BATCH, (batch_id,))
        if not found:
            return None
        (_, issued_at_us, items, runs, block, segment_id, segment_row) = found[0]
        return BatchRow(batch_id, issued_at_us, items, unpack_runs(runs), block, segment_id, segment_row)

    async def segment(self, segment_id: int) -> Segment | None:
        """Reads one segment's record; see the port."""
        found = await self._rows(_SEGMENT, (segment_id,))
        return Segment(*found[0]) if found else None


class PrimaryReader(_MySQLReader):
    """The InvoiceReader that knows everything committed. `primary` is asked for the present one before every read."""

    def __init__(self, *, primary: Callable[[], Primary]) -> None:
        self._primary = primary

    async def _rows(self, sql: str, values: Sequence[Any]) -> Rows:
        return await read(self._primary().node, sql, values)


class ReplicaReader(_MySQLReader):
    """The InvoiceReader that may be behind by the lag allowed. `replicas` is asked for fresh ones before every read.

    Raises STORAGE_UNAVAILABLE when none is fresh; a replica that fails is passed over once for the next one.
    """

    def __init__(self, *, replicas: Callable[[], Replicas]) -> None:
        self._replicas = replicas

    async def _rows(self, sql: str, values: Sequence[Any]) -> Rows:
        replicas = self._replicas()
        node = replicas.pick()
        if node is None:
            raise unavailable("no replica is fresh enough")
        try:
            return await read(node, sql, values)
        except BillowError as error:
            other = replicas.pick()
            if error.reason is not Reason.STORAGE_UNAVAILABLE or other is None or other is node:
                raise
            return await read(other, sql, values)


def list_statement(wanted: ListFilter) -> tuple[str, list[Any]]:
    """Builds the statement of a buyer's listing: a range of the index by_buyer, read in its order."""
    values: list[Any] = []
    tests: list[str] = []

    def test(sql: str, *arguments: object) -> None:
        tests.append(sql)
        values.extend(arguments)

    if wanted.seller_key is not None:
        test("i.seller_key = %s", wanted.seller_key)
    if wanted.buyer_tax_id is not None:
        test("i.buyer_tax_id = %s", wanted.buyer_tax_id)
    test("s.tenant_key = %s", wanted.tenant_key)
    from_us = wanted.issued_from_us
    if wanted.after is not None:
        after_us, after_number = wanted.after
        from_us = max(from_us, after_us)
        test("(i.issued_at_us > %s OR i.number > %s)", after_us, after_number)
    test("i.issued_at_us >= %s AND i.issued_at_us < %s", from_us, wanted.issued_before_us)
    values.append(wanted.items_max)
    return (
        f"SELECT STRAIGHT_JOIN {_I_ISSUED} FROM invoices i FORCE INDEX (by_buyer)"
        " JOIN sellers s FORCE INDEX (PRIMARY) ON s.seller_key = i.seller_key"
        f" WHERE {' AND '.join(tests)} ORDER BY i.issued_at_us, i.number LIMIT %s"
    ), values


def _numbers(runs: Rows, wanted: ListFilter) -> list[str]:
    """Returns the first numbers of the runs that the listing has not given yet: a run has no gap (P3)."""
    numbers: list[str] = []
    for issued_at_us, first, last in runs:
        start = int(first)
        if wanted.after is not None and wanted.after[0] == issued_at_us:
            start = max(start, int(wanted.after[1]) + 1)
        end = min(int(last) + 1, start + wanted.items_max - len(numbers))
        numbers += [f"{number:020d}" for number in range(start, end)]
        if len(numbers) == wanted.items_max:
            break
    return numbers


def _places(values: Sequence[Any]) -> str:
    """Returns a placeholder for each value."""
    return ",".join(["%s"] * len(values))

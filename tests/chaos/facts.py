"""What is there in the end: every database node's rows, the number ranges, the archive's rows."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from core import settings
from core.storage import segments
from core.storage.objects.s3 import open_s3
from stack import Stack, StackError
from tests.chaos.faults.fault import LONG_S, Site

CATCH_UP_S: Final = 60
ARCHIVED_S: Final = 180.0
READ_BYTES: Final = 8 * 1024 * 1024

SELLERS: Final = (
    "SELECT s.seller_key, CONCAT(t.tenant_id, '/', s.seller_id) AS seller"
    " FROM billow.sellers s JOIN billow.tenants t USING (tenant_key)"
)
INVOICES: Final = (
    "SELECT number, seller_key, CONVERT(request_id USING latin1) AS request_id, color, gross_total_minor,"
    " LOWER(HEX(body_sha256)) AS digest, COALESCE(blue_number, '') AS blue_number FROM billow.invoices"
    " ORDER BY number"
)
RANGES: Final = "SELECT seller_key, color, first_number, last_number, used FROM billow.number_ranges ORDER BY range_id"
ENTRIES: Final = "SELECT number FROM billow.invoice_entries"
SEGMENTS: Final = "SELECT object_key, size_bytes FROM billow.archive_segments ORDER BY segment_id"
WAITING: Final = "SELECT COUNT(*) AS waiting FROM billow.batches WHERE segment_id IS NULL"


@dataclass(frozen=True, slots=True)
class Stored:
    """An invoice's row."""

    seller: str
    number: str
    request: str
    color: int
    gross: int
    digest: str
    blue: str = ""


@dataclass(frozen=True, slots=True)
class StoredRange:
    """A number range's row."""

    seller: str
    color: int
    first: int
    last: int
    used: int


@dataclass(slots=True)
class Facts:
    """All of it. `nodes` has every node's rows by name; `archived` the digests of a number in all segments."""

    primary: str
    nodes: dict[str, list[Stored]] = field(default_factory=dict)
    ranges: list[StoredRange] = field(default_factory=list)
    archived: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    entered: set[str] = field(default_factory=set)
    waiting_batches: int = 0

    @property
    def rows(self) -> list[Stored]:
        """The primary's rows."""
        return self.nodes[self.primary]


def wait_until_archived(site: Site) -> int:
    """Waits until every batch lies in a segment; returns how many do not after ARCHIVED_S. Blocks."""
    deadline = time.monotonic() + ARCHIVED_S
    while True:
        with site.sql(site.primary, read_s=LONG_S) as cursor:
            waiting = int(_rows(cursor, WAITING)[0]["waiting"])
        if not waiting or time.monotonic() > deadline:
            return waiting
        time.sleep(0.5)


def gather(site: Site) -> Facts:
    """Reads databases and ranges. Blocks. Raises StackError when a replica does not catch up."""
    facts = Facts(primary=site.primary)
    with site.sql(site.primary, read_s=LONG_S) as cursor:
        sellers = {row["seller_key"]: row["seller"] for row in _rows(cursor, SELLERS)}
        facts.ranges = [
            StoredRange(
                seller=sellers[row["seller_key"]],
                color=row["color"],
                first=int(row["first_number"]),
                last=int(row["last_number"]),
                used=row["used"],
            )
            for row in _rows(cursor, RANGES)
        ]
        facts.entered = {row["number"] for row in _rows(cursor, ENTRIES)}
        facts.waiting_batches = int(_rows(cursor, WAITING)[0]["waiting"])
        position = _rows(cursor, "SELECT @@GLOBAL.gtid_binlog_pos AS position")[0]["position"]
    for node in (site.primary, *site.replicas()):
        with site.sql(node, read_s=LONG_S) as cursor:
            if node != site.primary:
                cursor.execute("SELECT MASTER_GTID_WAIT(%s, %s) AS waited", (position, CATCH_UP_S))
                found: Any = cursor.fetchall()
                if found[0]["waited"] != 0:
                    raise StackError(f"{node} has not reached {position} within {CATCH_UP_S} s")
            facts.nodes[node] = [
                Stored(
                    seller=sellers[row["seller_key"]],
                    number=row["number"],
                    request=row["request_id"],
                    color=row["color"],
                    gross=row["gross_total_minor"],
                    digest=row["digest"],
                    blue=row["blue_number"],
                )
                for row in _rows(cursor, INVOICES)
            ]
    return facts


async def gather_archive(stack: Stack, site: Site, facts: Facts) -> None:
    """Reads every recorded segment from the object store into `facts.archived`."""
    with site.sql(site.primary) as cursor:
        recorded = _rows(cursor, SEGMENTS)
    async with open_s3(settings.load(stack.config_path).object_store) as objects:
        for row in recorded:
            data = bytearray()
            while len(data) < row["size_bytes"]:
                data += await objects.read(row["object_key"], start=len(data), length=READ_BYTES)
            for group in segments.rows(bytes(data)):
                for number, digest in zip(group.number, group.body_sha256, strict=True):
                    facts.archived[number].append(digest.hex())


def _rows(cursor: Any, sql: str) -> list[dict[str, Any]]:
    cursor.execute(sql)
    return list(cursor.fetchall())

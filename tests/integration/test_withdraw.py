"""`billow-admin range withdraw`: lost numbers, from lists and from the archive, are never issued again (P3)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stack import Stack
from tests.support.admin_command import billow_admin
from tests.support.archiving import archive, audited
from tests.support.databases import OwnStores, own_stores
from tests.support.issuing import TestSeller

RANGES = "SELECT first_number, size, used, kind FROM number_ranges ORDER BY first_number"
LOST = "26990000000000000007"
GARBAGE = "segments/garbage.parquet"


@pytest.fixture
async def stores(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with own_stores(data_stores, tmp_path, own_bucket=True) as opened:
        yield opened


async def numbers(stores: OwnStores, seller: TestSeller, count: int) -> list[str]:
    """Issues and returns the numbers."""
    return [issued.number for issued in await stores.issuer.issue(seller, count)]


async def test_numbers_of_lists_and_of_forgotten_segments(stores: OwnStores, tmp_path: Path) -> None:
    seller = await stores.issuer.seller()
    (kept,) = await numbers(stores, seller, 1)
    ((first, size, _, kind),) = await stores.primary.rows(RANGES)
    await stores.issuer.issue(seller, 2)
    await archive(stores)
    # as if a restore had gone back to the first invoice: the segment is stored, and nobody knows of it
    for sql in (
        "DELETE FROM archive_segments",
        f"DELETE FROM invoices WHERE number > '{kept}'",
        f"DELETE FROM seller_runs WHERE first_number > '{kept}'",
        "UPDATE number_ranges SET used = 1",
    ):
        await stores.admin.write(sql)
    await stores.objects.put(GARBAGE, b"no segment", retain_until_us=time.time_ns() // 1_000 + 60_000_000)
    listed = tmp_path / "lost.jsonl"
    listed.write_text(json.dumps({"number": LOST, "request_id": "r"}) + f"\n{LOST}\n")

    looked = await billow_admin(stores.config, "range", "withdraw", "--archived", "--dry-run", str(listed), "--json")
    assert looked.code == 0, looked.stderr
    serial = int(first)
    wanted = [{"first": f"{serial + 1:020d}", "last": f"{serial + 2:020d}"}, {"first": LOST, "last": LOST}]
    assert json.loads(looked.stdout) == {"withdrawn": wanted, "unreadable": [GARBAGE]}
    assert len(await stores.primary.rows(RANGES)) == 1
    done = await billow_admin(stores.config, "range", "withdraw", "--archived", str(listed))
    assert (done.code, done.stdout.splitlines()[-1]) == (0, "3 numbers are set aside"), done.stderr
    assert await stores.primary.rows(RANGES) == [
        (first, 1, 1, kind),
        (f"{serial + 1:020d}", 2, 0, 0),
        (f"{serial + 3:020d}", size - 3, 0, kind),
        (LOST, 1, 0, 0),
    ]
    again = await billow_admin(stores.config, "range", "withdraw", "--archived", str(listed))
    assert again.stdout == "0 numbers are set aside\n"
    assert GARBAGE in again.stderr
    assert await numbers(stores, seller, 2) == [f"{serial + 3:020d}", f"{serial + 4:020d}"]
    ranges = next(report for report in (await audited(stores)).reports if report.name == "numbers have no gap")
    assert (ranges.findings, ranges.notes) == (0, ["3 numbers were set aside by a restore and are never issued"])


async def test_a_list_with_something_else_changes_nothing(stores: OwnStores, tmp_path: Path) -> None:
    listed = tmp_path / "lost.txt"
    listed.write_text(f"{LOST}\nnumber\n")
    done = await billow_admin(stores.config, "range", "withdraw", str(listed))
    assert (done.code, "'number' has no number" in done.stderr) == (2, True)
    assert await stores.primary.rows(RANGES) == []

"""The audit finds exactly the damage done to database and archive (P2 to P4, P6)."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from core.domain.red_letter import Taken, pack_sums
from core.storage import block, segments
from core.storage.mysql.reader import PrimaryReader
from core.storage.segments import Columns
from stack import Stack
from tests.support.archiving import audited, told
from tests.support.audit_subject import (
    BALANCE,
    BATCHES,
    BODIES,
    DOCUMENTS,
    FIRST,
    LOCKS,
    NUMBERS,
    REDS,
    REQUESTS,
    RUNS,
    SEGMENTS,
    issue_red,
    number,
    red,
    red_number,
    sound_stores,
)
from tests.support.databases import OwnStores
from tests.support.issuing import TestSeller

USED_FORM = (
    "INSERT INTO red_confirmations VALUES ('{serial}', 1, '{serial}', REPEAT('x', 32), 1, 'S', 'B', '{blue}', '', -1,"
    " 0, {state}, '{red}', 1, 2)"
)
FORMS = ((1, number(1), 4), (2, number(0), 5))
# what is done to the sound data -> the findings it must lead to, each a regular expression
DAMAGES: Mapping[str, tuple[Sequence[str], Mapping[str, Sequence[str]]]] = {
    "a request id used twice": (
        [
            "ALTER TABLE invoices DROP INDEX by_request, ADD KEY by_request (seller_key, request_id)",
            f"UPDATE invoices SET request_id = 'r-16' WHERE number = '{number(16)}'",
        ],
        {
            REQUESTS: ["no unique key", "'r-16' has 2 invoices"],
            BODIES: ["invoice .*016: is stored under request id 'r-17', its row has 'r-16'"],
        },
    ),
    "the unique key is missing": (
        ["ALTER TABLE invoices DROP INDEX by_request"],
        {REQUESTS: ["no unique key"]},
    ),
    "an invoice deleted in the middle": (
        [f"DELETE FROM invoices WHERE number = '{number(17)}'"],
        {NUMBERS: ["20 numbers are used, 19 invoices"], BATCHES: ["batch 4: invoice .*017 of position 2 has no row"]},
    ),
    "an invoice deleted and the range moved back": (
        [
            f"DELETE FROM invoices WHERE number = '{number(17)}'",
            "UPDATE number_ranges SET used = used - 1 WHERE color = 1",
        ],
        {NUMBERS: ["19 invoices are .*000 to .*019: there is a gap"], BATCHES: ["has no row"]},
    ),
    "a number taken and not used": (
        ["UPDATE number_ranges SET used = used + 1 WHERE color = 1"],
        {NUMBERS: ["21 numbers are used, 20 invoices"]},
    ),
    "a range with another size": (
        ["UPDATE number_ranges SET size = size + 1 WHERE color = 1"],
        {NUMBERS: ["20 of 1001 are used"]},
    ),
    "ranges that overlap": (
        [
            f"INSERT INTO number_ranges VALUES (9, 1, 2, '{number(900)}', '{number(1_899)}', 1000, 0, 1, 1, 0)",
        ],
        {NUMBERS: ["range 9: shares numbers with range 1"]},
    ),
    "invoices outside their range": (
        [f"UPDATE number_ranges SET first_number = '{number(5)}', size = size - 5, used = used - 5 WHERE color = 1"],
        {NUMBERS: ["invoices: 21 there are, 16 are in a range"]},
    ),
    "an invoice of another kind": (
        [f"UPDATE invoices SET kind = 1 WHERE number = '{number(15)}'"],
        {NUMBERS: ["1 of its invoices are of another seller, kind or color"], BODIES: ["differ in kind$"]},
    ),
    "a red invoice in a range of blue ones": (
        ["UPDATE number_ranges SET color = 1 WHERE color = 2"],
        {NUMBERS: ["range 2: 1 of its invoices are of another seller, kind or color"]},
    ),
    "blue invoices in a range of red ones": (
        ["UPDATE number_ranges SET color = 2 WHERE range_id = 1"],
        {NUMBERS: ["range 1: 20 of its invoices are of another seller, kind or color"]},
    ),
    "an invoice of another seller": (
        [f"UPDATE invoices SET seller_key = 2 WHERE number = '{number(15)}'"],
        {NUMBERS: ["1 of its invoices are of another seller, kind or color"], BODIES: ["differ in seller$"]},
    ),
    "a changed digest of a waiting invoice": (
        [f"UPDATE invoices SET body_sha256 = REVERSE(body_sha256) WHERE number = '{number(15)}'"],
        {BODIES: ["invoice .*015: the SHA-256"]},
    ),
    "a changed digest of an archived invoice": (
        [f"UPDATE invoices SET body_sha256 = REVERSE(body_sha256) WHERE number = '{FIRST}'"],
        {BODIES: ["invoice .*000: the SHA-256"], SEGMENTS: ["invoice .*000: its body_sha256"]},
    ),
    "changed amounts": (
        [
            f"UPDATE invoices SET net_total_minor = 1, tax_total_minor = 2 WHERE number = '{number(15)}'",
            f"UPDATE invoices SET gross_total_minor = 1 WHERE number = '{number(16)}'",
        ],
        {BODIES: ["differ in net total, tax total$", "differ in gross total$"]},
    ),
    "a changed time and buyer": (
        [
            f"UPDATE invoices SET issued_at_us = issued_at_us + 1 WHERE number = '{number(15)}'",
            f"UPDATE invoices SET buyer_tax_id = NULL WHERE number = '{number(16)}'",
        ],
        {BODIES: ["differ in issue time$", "differ in buyer tax id$"]},
    ),
    "a changed amount of an archived invoice": (
        [f"UPDATE invoices SET gross_total_minor = 33901 WHERE number = '{number(3)}'"],
        {BODIES: ["differ in gross total$"], SEGMENTS: ["invoice .*003: its gross_total_minor"]},
    ),
    "a damaged block": (
        ["UPDATE batches SET block = REVERSE(block) WHERE batch_id = 4"],
        {BODIES: ["batch 4: a block cannot be read"]},
    ),
    "a lost block": (
        ["UPDATE batches SET block = NULL WHERE batch_id = 4"],
        {BODIES: ["batch 4: has neither a block nor a segment"]},
    ),
    "a batch with another count": (
        ["UPDATE batches SET items = 6 WHERE batch_id = 4"],
        {BATCHES: ["batch 4: has 6 items, its runs 5"]},
    ),
    "an invoice of another batch": (
        [f"UPDATE invoices SET batch_id = 5 WHERE number = '{number(15)}'"],
        {BATCHES: ["position 0 says batch 5, position 0", "21 there are, 20 are in their batch"]},
    ),
    "an invoice in another position": (
        [f"UPDATE invoices SET batch_position = 4 WHERE number = '{number(15)}'"],
        {BATCHES: ["position 0 says batch 4, position 4", "21 there are, 20 are in their batch"]},
    ),
    "a lost batch": (
        ["DELETE FROM batches WHERE batch_id = 4"],
        {BATCHES: ["21 there are, 16 are in their batch"], RUNS: ["not those of its batches: 1 too many"]},
    ),
    "a run that no listing finds": (
        [f"DELETE FROM seller_runs WHERE first_number = '{FIRST}'"],
        {RUNS: ["not those of its batches: 1 too few"]},
    ),
    "a run that ends elsewhere": (
        [f"UPDATE seller_runs SET last_number = '{number(3)}' WHERE first_number = '{FIRST}'"],
        {RUNS: ["not those of its batches: others"]},
    ),
    "a segment that was never recorded": (
        ["DELETE FROM archive_segments WHERE segment_id = 2"],
        {
            BATCHES: ["5 there are, 4 wait or lie in a known segment", "21 there are, 16 are in their batch"],
            RUNS: ["not those of its batches: 1 too many"],
            SEGMENTS: ["batch 3: its segment 2 is not recorded"],
        },
    ),
    "a segment with another digest": (
        ["UPDATE archive_segments SET sha256 = REVERSE(sha256) WHERE segment_id = 2"],
        {SEGMENTS: ["segment 2: the object's SHA-256"]},
    ),
    "a segment with another size": (
        ["UPDATE archive_segments SET size_bytes = size_bytes + 1 WHERE segment_id = 2"],
        {SEGMENTS: ["segment 2: object has [0-9]+ bytes, recorded"]},
    ),
    "a segment with another count": (
        ["UPDATE archive_segments SET invoices = 9 WHERE segment_id = 2"],
        {SEGMENTS: ["segment 2: its batches have 5 rows, recorded are 9"]},
    ),
    "a missing object": (
        ["UPDATE archive_segments SET object_key = 'segments/none' WHERE segment_id = 2"],
        {
            BODIES: ["batch 3: segment 2 does not hold its rows"],
            SEGMENTS: ["segment 2: object segments/none is missing"],
        },
    ),
    "batches that overlap in a segment": (
        ["UPDATE batches SET segment_row = 4 WHERE batch_id = 2"],
        {SEGMENTS: ["batch 2 begins at row 4, not 5", "its batches have 9 rows, recorded are 10"]},
    ),
    "a batch that left its segment": (
        ["UPDATE batches SET segment_id = NULL, segment_row = NULL WHERE batch_id = 2"],
        {
            BODIES: ["batch 2: has neither a block nor a segment"],
            SEGMENTS: ["segment 1: its batches have 5 rows, recorded are 10", "segment 1: has more rows"],
        },
    ),
    "a block that should be gone": (
        ["UPDATE batches SET block = 'x' WHERE batch_id = 1"],
        {SEGMENTS: ["batch 1: has a segment and still a block"]},
    ),
    "a lock that ends too early": (
        ["UPDATE archive_segments SET retain_until_us = retain_until_us + 1 WHERE segment_id = 2"],
        {LOCKS: ["segment 2: its retention lock ends too early"]},
    ),
    "a wrong red balance": (
        ["UPDATE red_balances SET red_total_minor = -11299"],
        {REDS: ["its red balance is -11299, its reds sum up to -11300"]},
    ),
    "a missing red balance": (
        ["DELETE FROM red_balances"],
        {REDS: ["it has no red balance, its reds sum up to -11300"]},
    ),
    "a red balance of nothing": (
        [f"INSERT INTO red_balances (blue_number, red_total_minor) VALUES ('{number(1)}', -1)"],
        {REDS: ["its red balance is -1, its reds sum up to 0"]},
    ),
    "lines that do not sum up to the red balance": (
        ["UPDATE red_balances SET line_sums = NULL"],
        {REDS: ["its red balance is -11300, 0 by lines"]},
    ),
    "confirmation forms used wrongly": (
        [USED_FORM.format(serial=serial, blue=blue, state=state, red=red_number(0)) for serial, blue, state in FORMS],
        {REDS: ["form 1: .*not of its blue", "form 2: .*has state 5", "invoice .*000: used 2 confirmation forms"]},
    ),
    "confirmation forms that no worker made void": (
        [
            (
                f"INSERT INTO red_confirmations VALUES ('{serial}', 1, '{serial}', REPEAT('x', 32), 1, 'S', 'B',"
                f" '{number(1)}', '', -1, 0, {state}, NULL, 1, {expires})"
            )
            for serial, state, expires in ((3, 2, 2), (4, 3, 2), (5, 7, 2), (6, 4, 2), (7, 2, 2**62))
        ],
        {REDS: ["form 3: has state 2 more than a day", "form 4: has state 3 more than a day"]},
    ),
    "a red of an invoice that does not exist": (
        [
            f"UPDATE invoices SET blue_number = '{number(500)}' WHERE color = 2",
            f"UPDATE red_balances SET blue_number = '{number(500)}'",
        ],
        {REDS: ["invoice .*500: has red invoices and does not exist"], BODIES: ["differ in blue number$"]},
    ),
}


@pytest.fixture
async def stores(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with sound_stores(data_stores, tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found_and_nothing_else(stores: OwnStores, damage: str) -> None:
    statements, expected = DAMAGES[damage]
    for statement in statements:
        await stores.admin.rows(statement)
    findings = told(await audited(stores))
    assert findings.keys() == expected.keys(), findings
    for check, patterns in expected.items():
        for pattern in patterns:
            assert [text for text in findings[check] if re.search(pattern, text)], (pattern, findings[check])


async def test_reds_that_exceed_their_blue(stores: OwnStores) -> None:
    seller = TestSeller(seller_key=1, tax_id=(await stores.primary.rows("SELECT tax_id FROM sellers"))[0][0])
    await issue_red(stores, red(seller, number(0), lines=3, request_id="too much"), number(0))
    sums = pack_sums({0: Taken(10_000, 1_300), 1: Taken(30_000, 3_900)})
    await stores.admin.rows("UPDATE red_balances SET red_total_minor = -45200, line_sums = %s", (sums,))
    findings = told(await audited(stores))
    assert findings == {REDS: [f"invoice {FIRST}: its reds sum up to -45200, it is of 33900"]}


async def test_reds_that_are_not_negative(stores: OwnStores) -> None:
    # the row alone says so: its body still has the negative total
    sql = "UPDATE invoices SET net_total_minor = -net_total_minor, tax_total_minor = -tax_total_minor,"
    await stores.admin.rows(f"{sql} gross_total_minor = -gross_total_minor WHERE color = 2")
    await stores.admin.rows("UPDATE red_balances SET red_total_minor = 11300")
    findings = told(await audited(stores))
    assert f"invoice {FIRST}: has red invoices that are not negative" in findings.pop(REDS)
    assert findings.keys() == {BODIES}, findings


async def test_a_red_of_another_seller(stores: OwnStores) -> None:
    other = await stores.issuer.seller()
    await issue_red(stores, red(other, number(1)), number(1))
    await stores.admin.rows(BALANCE, (number(1),))
    assert told(await audited(stores)) == {REDS: [f"invoice {number(1)}: has red invoices of another seller"]}


async def test_a_red_to_another_buyer(stores: OwnStores) -> None:
    seller = TestSeller(seller_key=1, tax_id=(await stores.primary.rows("SELECT tax_id FROM sellers"))[0][0])
    await issue_red(stores, red(seller, number(1), request_id="other buyer"), number(1))
    await stores.admin.rows(BALANCE, (number(1),))
    assert told(await audited(stores)) == {REDS: [f"invoice {number(1)}: has red invoices to another buyer"]}


async def test_another_body_in_a_block(stores: OwnStores) -> None:
    batch = await PrimaryReader(primary=lambda: stores.primary).batch(4)
    assert batch is not None
    unpacked = block.unpack(batch.block or b"")
    bodies = [unpacked.bodies[0].replace(b"widget 1", b"widget X"), *unpacked.bodies[1:]]
    await stores.admin.rows(
        "UPDATE batches SET block = %s WHERE batch_id = 4", (block.pack(unpacked.request_ids, bodies),)
    )
    assert told(await audited(stores)) == {
        BODIES: [f"invoice {number(15)}: the SHA-256 of its body is not the one its row remembers"]
    }


async def overwrite(stores: OwnStores, segment_id: int, data: bytes) -> None:
    """Puts other bytes under a segment's key; S3 keeps both versions and gives back the younger."""
    found = await stores.primary.rows("SELECT object_key FROM archive_segments WHERE segment_id = %s", (segment_id,))
    await stores.objects.put(found[0][0], data, retain_until_us=(time.time_ns() // 1_000) + 3 * 86_400_000_000)


async def test_another_body_in_a_segment(stores: OwnStores) -> None:
    columns = await segment_columns(stores, 1)
    columns.body[2] = columns.body[2].replace(b"widget 1", b"widget X")
    await overwrite(stores, 1, segments.write(columns))
    findings = told(await audited(stores))
    assert findings.keys() == {BODIES, SEGMENTS}
    assert findings[BODIES] == [f"invoice {number(2)}: the SHA-256 of its body is not the one its row remembers"]
    assert "segment 1: the object's SHA-256 is not the one recorded" in findings[SEGMENTS]


async def test_rows_missing_from_a_segment(stores: OwnStores) -> None:
    await overwrite(stores, 1, segments.write((await segment_columns(stores, 1)).slice(0, 7)))
    findings = told(await audited(stores))
    assert findings.keys() == {BODIES, SEGMENTS}
    assert findings[BODIES] == ["batch 2: segment 1 does not hold its rows"]


async def test_rows_of_a_segment_in_another_order(stores: OwnStores) -> None:
    columns = await segment_columns(stores, 2)
    for values in (getattr(columns, name) for name in segments.NAMES):
        values.reverse()
    await overwrite(stores, 2, segments.write(columns))
    findings = told(await audited(stores))
    assert findings.keys() == {BODIES, SEGMENTS}
    assert f"invoice {number(10)}: its number in the segment is not that of its row" in findings[SEGMENTS]


async def segment_columns(stores: OwnStores, segment_id: int) -> Columns:
    """Reads a segment's rows."""
    sql = "SELECT object_key, size_bytes FROM archive_segments WHERE segment_id = %s"
    key, size = (await stores.primary.rows(sql, (segment_id,)))[0]
    columns = Columns()
    for group in segments.rows(await stores.objects.read(key, start=0, length=size)):
        columns.extend(group)
    return columns


async def test_a_segment_that_cannot_be_read(stores: OwnStores) -> None:
    await overwrite(stores, 2, b"not a segment")
    findings = told(await audited(stores))
    assert findings.keys() == {BODIES, SEGMENTS}
    assert any("not a Parquet file" in text for text in findings[SEGMENTS])


async def test_an_object_without_a_lock(stores: OwnStores) -> None:
    settings = stores.settings.object_store
    await stores.objects._client.put_object(Bucket=settings.bucket, Key="segments/unlocked", Body=b"x")
    sql = "UPDATE archive_segments SET object_key = 'segments/unlocked' WHERE segment_id = 2"
    await stores.admin.rows(sql)
    assert told(await audited(stores))[LOCKS] == ["segment 2: has no retention lock"]


async def test_documents_that_belong_to_nothing(stores: OwnStores) -> None:
    settings = stores.settings.object_store
    sound, stray, unlocked = (f"documents/pdf/1/{name}.pdf" for name in (number(0), "9" * 20, number(1)))
    wrong = {"documents/notes.txt": "is no document of a format there is"}
    wrong |= {f"documents/pdf/99/{number(2)}.pdf": "is of a version that there is not yet"}
    for key in (sound, stray):
        await stores.objects.put(key, b"x", retain_until_us=time.time_ns() // 1_000 + 60_000_000)
    for key in (unlocked, *wrong):
        await stores.objects._client.put_object(Bucket=settings.bucket, Key=key, Body=b"x")
    wrong |= {stray: "is the document of no invoice", unlocked: "has no retention lock"}
    try:
        found = told(await audited(stores))
    finally:  # the bucket is shared by the tests of a session; this hides the objects
        for key in (sound, *wrong):
            await stores.objects._client.delete_object(Bucket=settings.bucket, Key=key)
    assert {check: sorted(lines) for check, lines in found.items()} == {
        DOCUMENTS: sorted(f"object {key}: {what}" for key, what in wrong.items())
    }

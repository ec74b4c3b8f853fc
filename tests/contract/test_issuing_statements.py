"""What a commit says to the database, statement by statement: credit quotas cost nothing where there are none (P3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiomysql
import pymysql
import pytest

from core.domain.errors import BillowError, Reason
from core.domain.kinds import InvoiceKind
from core.limits import OPEN_RANGES_MAX
from core.settings import load
from core.storage.mysql import issuing_sql
from core.storage.mysql.entries import MySQLBookedInvoices
from core.storage.mysql.issuing import MySQLIssuingStore
from core.storage.mysql.pool import FIRST_EPOCH, Access, Node, Primary, unavailable
from core.storage.mysql.red_letter import MySQLRedStore
from core.storage.ports import Issued
from stack import Stack
from tests.contract.issuing_subjects import MySQLSubject
from tests.support.issuing import LINE_NET

LOCK = ["START TRANSACTION", "SELECT number_ranges"]
WRITE = ["UPDATE number_ranges", "INSERT batches", "INSERT seller_runs", "INSERT invoices", "COMMIT"]
LOCK_QUOTA = "SELECT credit_quotas"
COUNT_QUOTA = "INSERT credit_quota_months"
LOOK_UP = "SELECT invoices"


@pytest.fixture
async def mysql(data_stores: Stack) -> AsyncIterator[MySQLSubject]:
    subject = MySQLSubject(load(data_stores.config_path).mysql)
    yield subject
    await subject.close()


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every round trip of a cursor from now on, as the statements it carries."""
    seen: list[list[str]] = []
    execute = aiomysql.Cursor.execute

    async def noting(cursor: aiomysql.Cursor, sql: str, arguments: Any = None) -> Any:
        seen.append([_short(statement) for statement in sql.split("; ")])
        return await execute(cursor, sql, arguments)

    monkeypatch.setattr(aiomysql.Cursor, "execute", noting)
    return seen


def _short(statement: str) -> str:
    """Shortens a statement to its verb and its table."""
    words = statement.split()
    if words[0] == "SELECT" and "FROM" in words:
        return f"SELECT {words[len(words) - words[::-1].index('FROM')]}"  # the last: before it the epoch is selected
    if words[0] == "INSERT":
        return f"INSERT {words[2]}"
    return " ".join(words[:2])


async def test_without_quotas_a_commit_is_two_round_trips_and_asks_for_none(
    mysql: MySQLSubject, trips: list[list[str]]
) -> None:
    seller, limited = await mysql.seller(), await mysql.seller()
    await mysql.store.commit([seller.draft("a")])
    await mysql.quotas.set(limited.seller_key, 100 * LINE_NET)
    await mysql.store.commit([limited.draft("a")])
    for name in ("b", "c"):  # the process knows of a quota; this seller has none
        trips.clear()
        await mysql.store.commit([seller.draft(name), seller.draft(name + "2")])
        assert trips == [LOCK, WRITE]


async def test_ranges_of_many_sellers_are_found_in_one_look(mysql: MySQLSubject, trips: list[list[str]]) -> None:
    """A process that starts meets a commit of hundreds. Kinds and used-up ranges do not get in between (P3)."""
    plain, tiny, two_kinds, ended = (
        await mysql.seller(),
        await mysql.seller(ranges=(1,) * (OPEN_RANGES_MAX + 4)),
        await mysql.seller(),
        await mysql.seller(ranges=(1, 5)),
    )
    await mysql.add_range(two_kinds, 50, kind=int(InvoiceKind.SPECIAL))
    (first,) = await mysql.store.commit([ended.draft("a")])
    starting = MySQLIssuingStore(primary=lambda: mysql.primary, now_us=lambda: 1, away_wait_ms=0)
    wanted = [
        plain.draft("a"),
        two_kinds.draft("a"),
        replace(two_kinds.draft("b"), kind=int(InvoiceKind.SPECIAL)),
        ended.draft("b"),
    ]
    trips.clear()
    answers = await starting.commit(wanted)
    assert all(isinstance(answer, Issued) for answer in answers)
    assert trips == [["SELECT number_ranges"], LOCK, WRITE]
    assert await starting.commit([*wanted, ended.draft("a")]) == [*answers, first]
    places = range(OPEN_RANGES_MAX + 4)
    many = await starting.commit([*(tiny.draft(f"{place}") for place in places), (await mysql.seller()).draft("a")])
    assert len({answer.number for answer in many if isinstance(answer, Issued)}) == len(places) + 1


async def test_ranges_that_move_as_far_move_in_one_statement(mysql: MySQLSubject, trips: list[list[str]]) -> None:
    """P3, and no statement that compares each range with all: a commit has up to a thousand sellers."""
    sellers = [await mysql.seller(ranges=(100,)) for _ in range(5)]
    await mysql.store.commit([seller.draft("first") for seller in sellers])
    trips.clear()
    counts = [1, 3, 1, 2, 3]
    wanted = [seller.draft(f"{at}") for seller, count in zip(sellers, counts, strict=True) for at in range(count)]
    answers = await mysql.store.commit(wanted)
    assert trips == [LOCK, [WRITE[0]] * 2 + WRITE]
    taken = sum(isinstance(answer, Issued) for answer in answers)
    assert taken == sum(counts)
    for seller, count in zip(sellers, counts, strict=True):
        first, _ = (await mysql.ranges(seller))[0]
        numbers = [
            int(answer.number)
            for answer in answers
            if isinstance(answer, Issued) and answer.seller_key == seller.seller_key
        ]
        assert numbers == [first + 1 + at for at in range(count)]
        ((used,),) = await mysql.primary.rows(
            "SELECT used FROM number_ranges WHERE seller_key = %s", (seller.seller_key,)
        )
        assert used == 1 + count


async def test_a_quota_costs_two_statements_and_no_round_trip(mysql: MySQLSubject, trips: list[list[str]]) -> None:
    seller = await mysql.seller()
    await mysql.store.commit([seller.draft("a", lines=1)])
    await mysql.quotas.set(seller.seller_key, 4 * LINE_NET)
    with_quota = [WRITE[0], COUNT_QUOTA, *WRITE[1:]]
    trips.clear()
    await mysql.store.commit([seller.draft("b", lines=1)])
    assert trips == [LOCK, [LOCK_QUOTA], with_quota], "the first time this process meets it"
    trips.clear()
    await mysql.store.commit([seller.draft("c", lines=1)])
    assert trips == [[*LOCK, LOCK_QUOTA], with_quota]
    trips.clear()
    answers = await mysql.store.commit([seller.draft("too much", lines=2), seller.draft("fits", lines=1)])
    assert trips == [[*LOCK, LOCK_QUOTA], [LOOK_UP], with_quota], "request ids are looked up before one is refused"
    assert [isinstance(answer, Issued) for answer in answers] == [False, True]
    await mysql.quotas.clear(seller.seller_key)
    await mysql.store.commit([seller.draft("d", lines=1)])
    trips.clear()
    await mysql.store.commit([seller.draft("e", lines=1)])
    assert trips == [LOCK, WRITE], "off is as before"


async def test_a_process_of_another_epoch_issues_nothing(mysql: MySQLSubject) -> None:
    seller = await mysql.seller()
    before = await mysql.ranges(seller)
    for epoch in (FIRST_EPOCH - 1, FIRST_EPOCH + 1):
        primary = Primary(mysql.primary.node, epoch=epoch)
        store = MySQLIssuingStore(primary=lambda held=primary: held, now_us=lambda: 1, away_wait_ms=0)  # type: ignore[misc]
        with pytest.raises(BillowError) as refused:
            await store.commit([seller.draft("a")])
        assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
        red = MySQLRedStore(
            primary=lambda held=primary: held,  # type: ignore[misc]
            booked=MySQLBookedInvoices(),
            now_us=lambda: 1,
            away_wait_ms=0,
        )
        with pytest.raises(BillowError) as refused:
            await red.commit([])
        assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
    assert await mysql.ranges(seller) == before
    assert isinstance((await mysql.store.commit([seller.draft("a")]))[0], Issued)


async def test_a_frozen_process_does_not_hold_number_ranges_for_long(mysql: MySQLSubject, data_stores: Stack) -> None:
    seller = await mysql.seller()
    await mysql.store.commit([seller.draft("a")])
    settings = load(data_stores.config_path).mysql
    frozen = Node(settings, settings.primary, access=Access.WRITES)
    ranges = "SELECT range_id FROM number_ranges WHERE seller_key = %s"
    found = [row[0] for row in await Primary(frozen).rows(ranges, (seller.seller_key,))]
    async with frozen.connection() as connection, connection.cursor() as cursor:
        await cursor.execute(issuing_sql.lock_ranges(found))  # and says no more
        while await cursor.nextset():
            pass
        (issued,) = await mysql.store.commit([seller.draft("b")])  # the database ends the other's transaction
        assert isinstance(issued, Issued)
        with pytest.raises((pymysql.err.MySQLError, OSError)):
            await cursor.execute("SELECT 1")
    frozen.drop()


async def test_an_answer_that_was_only_read_is_confirmed_by_a_commit(
    mysql: MySQLSubject, trips: list[list[str]]
) -> None:
    seller = await mysql.seller()
    await mysql.store.commit([seller.draft("a")])
    trips.clear()
    await mysql.store.commit([seller.draft("a")])
    confirmed = ["START TRANSACTION", "SELECT fencing", "UPDATE fencing", "COMMIT"]
    assert trips[-2:] == [[LOOK_UP], confirmed]


async def test_who_sends_again_is_looked_up_first_until_nothing_is_found(
    mysql: MySQLSubject, trips: list[list[str]]
) -> None:
    """P2 at the price of one failed insert, not of one a batch; others pay nothing for it."""
    seller, other = await mysql.seller(), await mysql.seller()
    names = ("a", "b", "c", "d")
    first = [await mysql.store.commit([seller.draft(name)]) for name in names]
    await mysql.store.commit([other.draft("a")])
    trips.clear()
    assert await mysql.store.commit([seller.draft("a")]) == first[0]
    assert trips[:3] == [LOCK, WRITE, [LOOK_UP]], "insert first"
    for name, answer in zip(names[1:3], first[1:], strict=False):
        trips.clear()
        assert await mysql.store.commit([seller.draft(name)]) == answer
        assert trips[0] == [LOOK_UP]
        assert WRITE not in trips
    trips.clear()
    known, *fresh = await mysql.store.commit([seller.draft("d"), seller.draft("e"), other.draft("b")])
    assert [known] == first[3]
    assert all(isinstance(answer, Issued) for answer in fresh)
    assert [trip for trip in trips if trip in (LOCK, WRITE, [LOOK_UP])] == [[LOOK_UP], LOCK, WRITE]
    trips.clear()
    await mysql.store.commit([other.draft("c")])
    assert trips == [LOCK, WRITE]
    await mysql.store.commit([seller.draft("f")])
    assert trips[2:] == [[LOOK_UP], LOCK, WRITE], "nothing found"
    trips.clear()
    await mysql.store.commit([seller.draft("g")])
    assert trips == [LOCK, WRITE]


async def test_who_is_not_looked_up_first_is_still_looked_up_before_a_refusal(mysql: MySQLSubject) -> None:
    """P2: numbers that are used up refuse nobody who has one."""
    again, empty = await mysql.seller(), await mysql.seller(ranges=(1,))
    for _ in range(2):  # the second time it is found
        await mysql.store.commit([again.draft("a")])
    (first,) = await mysql.store.commit([empty.draft("a")])
    answers = await mysql.store.commit([again.draft("b"), empty.draft("a"), empty.draft("b")])
    assert isinstance(answers[0], Issued)
    assert answers[1] == first
    assert isinstance(answers[2], BillowError)
    assert answers[2].reason is Reason.NUMBER_RANGE_EXHAUSTED


async def test_a_commit_waits_for_a_primary_that_is_away(mysql: MySQLSubject) -> None:
    seller = await mysql.seller()
    looks = iter([False, False])

    def primary() -> Primary:
        if next(looks, True):
            return mysql.primary
        raise unavailable("no primary is known")

    store = MySQLIssuingStore(primary=primary, now_us=lambda: 1, away_wait_ms=10_000)
    assert isinstance((await store.commit([seller.draft("a")]))[0], Issued)

# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""Account entry on MySQL.

The mutex of an entry is the row of its invoice, which is there for ever and which nobody changes: locking it costs
issuing nothing. Entries lock the rows of their invoices by ascending number, so two batches cannot deadlock, and read
everything else after that; under READ COMMITTED they then see what whoever held the lock before has committed. What
decides from "is it booked" (red-lettering) locks the same row first and then cannot be overtaken by an entry.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import aiomysql
import pymysql

from core.domain.entry import (
    ENTERED,
    Change,
    Entry,
    EntryState,
    absent,
    answer_known,
    decide,
    invoice_not_found,
)
from core.domain.errors import BillowError
from core.domain.kinds import InvoiceState, state_of
from core.limits import ENTRY_ATTEMPTS_MAX
from core.storage.mysql.pool import DEADLOCK, DUPLICATE_KEY, LOCK_TIMEOUT, Primary, read, rows, unavailable

RETRY_BASE_MS: Final = 5

_ENTRY = "number, state, period, ledger_reference, version, changed_at_us"
_BOOKED = ",".join(str(int(state)) for state in sorted(ENTERED))
_LOCK = (
    "SELECT number, buyer_tax_id, gross_total_minor FROM invoices FORCE INDEX (PRIMARY)"
    " WHERE number IN ({places}) ORDER BY number FOR UPDATE"
)
_VISIBLE = (
    "SELECT 1 FROM invoices i FORCE INDEX (PRIMARY) JOIN tenant_tax_ids t FORCE INDEX (PRIMARY)"
    " ON t.tenant_key = %s AND t.tax_id = i.buyer_tax_id AND t.confirmed_at_us IS NOT NULL WHERE i.number = %s"
)
_PROVEN = (
    "SELECT tax_id FROM tenant_tax_ids WHERE tenant_key = %s AND tax_id IN ({places}) AND confirmed_at_us IS NOT NULL"
)
_PRESENT = f"SELECT {_ENTRY} FROM invoice_entries WHERE number IN ({{places}})"
_REDS = "SELECT blue_number, red_total_minor FROM red_balances WHERE blue_number IN ({places})"
_KNOWN = (
    f"SELECT request_id, request_sha256, {_ENTRY} FROM entry_events FORCE INDEX (by_request)"
    " WHERE tenant_key = %s AND request_id IN ({places})"
)
_ADD_EVENTS = (
    "INSERT INTO entry_events (number, version, state, period, ledger_reference, tenant_key, request_id,"
    " request_sha256, changed_at_us) VALUES "
)
_PUT_ENTRIES = (
    f"INSERT INTO invoice_entries ({_ENTRY}) VALUES {{values}} ON DUPLICATE KEY UPDATE state = VALUES(state),"
    " period = VALUES(period), ledger_reference = VALUES(ledger_reference), version = VALUES(version),"
    " changed_at_us = VALUES(changed_at_us)"
)


class MySQLBookedInvoices:
    """Tells inside other transactions which invoices stand in the books: what red-lettering asks."""

    async def among(self, connection: aiomysql.Connection, numbers: Collection[str]) -> set[str]:
        """Returns which of the numbers stand in the books; 1 round trip.

        In a transaction that has locked the rows of these invoices the answer holds until its end.
        """
        sql = f"SELECT number FROM invoice_entries WHERE number IN ({{places}}) AND state IN ({_BOOKED})"
        return {row[0] for row in await _select(connection, sql, sorted(numbers))}


class MySQLEntryStore:
    """The EntryStore of core/storage/entry_port.py. `primary` is asked for the present primary before every use."""

    def __init__(self, *, primary: Callable[[], Primary], now_us: Callable[[], int]) -> None:
        self._primary = primary
        self._now_us = now_us

    async def booked(self, numbers: Collection[str]) -> set[str]:
        """Tells what stands in the books; see the port."""
        if not numbers:
            return set()
        async with self._primary().connection() as connection:
            return await MySQLBookedInvoices().among(connection, numbers)

    async def history(self, tenant_key: int, number: str) -> list[Entry] | None:
        """Reads all changes; see the port."""
        if not await read(self._primary().node, _VISIBLE, (tenant_key, number)):
            return None
        sql = f"SELECT {_ENTRY} FROM entry_events WHERE number = %s ORDER BY version"
        return [_entry(row) for row in await read(self._primary().node, sql, (number,))]

    async def change(self, tenant_key: int, changes: Sequence[Change]) -> list[Entry | BillowError]:
        """Makes changes; see the port."""
        if not changes:
            return []
        attempt = 0
        while True:
            attempt += 1
            primary = self._primary()
            async with primary.connection() as connection:
                # failures that leave the connection in order are handed out as values, so that it is kept
                outcome = await self._transaction(primary, connection, tenant_key, changes)
            if isinstance(outcome, list):
                return outcome
            if attempt >= ENTRY_ATTEMPTS_MAX:
                raise unavailable(outcome)
            await asyncio.sleep(random.uniform(0, RETRY_BASE_MS * 2**attempt) / 1_000)

    async def _transaction(
        self, primary: Primary, connection: aiomysql.Connection, tenant_key: int, changes: Sequence[Change]
    ) -> list[Entry | BillowError] | Exception:
        """Runs one transaction; returns the error after a rollback where trying again helps."""
        try:
            await primary.begin(connection)
            answers = await self._apply(connection, tenant_key, changes)
            await connection.commit()
        except pymysql.err.IntegrityError as error:
            await connection.rollback()
            if error.args[0] != DUPLICATE_KEY:
                raise
            return error  # somebody used one of the request ids at the same time: the next attempt finds it
        except pymysql.err.OperationalError as error:
            if error.args[0] not in (DEADLOCK, LOCK_TIMEOUT):
                raise
            await connection.rollback()
            return error
        return answers

    async def _apply(
        self, connection: aiomysql.Connection, tenant_key: int, changes: Sequence[Change]
    ) -> list[Entry | BillowError]:
        """Locks, reads, decides and writes."""
        numbers = sorted({change.number for change in changes})
        locked = await _select(connection, _LOCK, numbers)
        buyers = {number: buyer for number, buyer, _ in locked if buyer}
        proven = {row[0] for row in await _select(connection, _PROVEN, sorted({*buyers.values()}), tenant_key)}
        totals = {number: total for number, buyer, total in locked if buyer in proven}
        present = {row[0]: _entry(row) for row in await _select(connection, _PRESENT, sorted(totals))}
        reds = dict(await _select(connection, _REDS, sorted(totals)))
        request_ids = sorted({change.request_id.encode() for change in changes})
        found = await _select(connection, _KNOWN, request_ids, tenant_key)
        known = {row[0].decode(): (bytes(row[1]), _entry(row[2:])) for row in found}
        now_us = self._now_us()
        answers: list[Entry | BillowError] = []
        made: list[tuple[Change, Entry]] = []
        for change in changes:
            number = change.number
            if number not in totals:
                answers.append(invoice_not_found(number))
                continue
            if change.request_id in known:
                answers.append(answer_known(change, *known[change.request_id]))
                continue
            fully_red = state_of(totals[number], int(reds.get(number, 0))) == InvoiceState.FULLY_RED
            outcome = decide(present.get(number, absent(number)), change, fully_red=fully_red, now_us=now_us)
            answers.append(outcome)
            if isinstance(outcome, Entry):
                present[number] = outcome
                known[change.request_id] = change.sha256(), outcome
                made.append((change, outcome))
        if made:
            await _write(connection, tenant_key, made)
        return answers


async def _write(connection: aiomysql.Connection, tenant_key: int, made: Sequence[tuple[Change, Entry]]) -> None:
    """Adds the events and puts the last entry of each invoice in its place; 2 round trips."""
    values: list[Any] = []
    last: dict[str, Entry] = {}
    for change, entry in made:
        values += [entry.number, entry.version, int(entry.state), entry.period, entry.ledger_reference]
        values += [tenant_key, change.request_id.encode(), change.sha256(), entry.changed_at_us]
        last[entry.number] = entry
    await rows(connection, _ADD_EVENTS + ",".join([f"({_places(9)})"] * len(made)), values)
    values = []
    for number in sorted(last):
        entry = last[number]
        values += [number, int(entry.state), entry.period, entry.ledger_reference, entry.version, entry.changed_at_us]
    await rows(connection, _PUT_ENTRIES.format(values=",".join([f"({_places(6)})"] * len(last))), values)


async def _select(
    connection: aiomysql.Connection, sql: str, keys: Sequence[Any], *before: Any
) -> list[tuple[Any, ...]]:
    """Runs a statement with `{places}` for the keys; no round trip without keys."""
    if not keys:
        return []
    return await rows(connection, sql.format(places=_places(len(keys))), (*before, *keys))


def _places(count: int) -> str:
    """Returns so many placeholders."""
    return ",".join(["%s"] * count)


def _entry(row: Sequence[Any]) -> Entry:
    """Builds an entry from the columns _ENTRY."""
    number, state, period, ledger_reference, version, changed_at_us = row
    return Entry(number, EntryState(state), period, ledger_reference, version, changed_at_us)

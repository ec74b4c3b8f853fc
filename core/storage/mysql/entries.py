# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""Account entry on MySQL.

The mutex of an entry is the row of its invoice, which is there for ever and which nobody changes: locking it costs
issuing nothing. Entries lock the rows of their invoices by ascending number, so two batches cannot deadlock, and read
everything else after that; under READ COMMITTED they then see what whoever held the lock before has committed. What
decides from "is it booked" (red-lettering) locks the same row first and then cannot be overtaken by an entry. Imports
are locked before invoices (entry_locks.py); their entries stand in the same tables, under core.domain.entry_subject's
key in place of the number.
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
from core.domain.entry_subject import Found
from core.domain.errors import BillowError
from core.limits import ENTRY_ATTEMPTS_MAX
from core.storage.mysql import entry_locks
from core.storage.mysql.entry_locks import places, select
from core.storage.mysql.pool import DEADLOCK, DUPLICATE_KEY, LOCK_TIMEOUT, Primary, read, rows, unavailable

RETRY_BASE_MS: Final = 5

_ENTRY = "number, state, period, ledger_reference, version, changed_at_us"
_BOOKED = ",".join(str(int(state)) for state in sorted(ENTERED))
_FOUND = (
    "SELECT 1, i.buyer_tax_id, t.tax_id IS NOT NULL FROM invoices i FORCE INDEX (PRIMARY)"
    " LEFT JOIN tenant_tax_ids t FORCE INDEX (PRIMARY)"
    " ON t.tenant_key = %s AND t.tax_id = i.buyer_tax_id AND t.confirmed_at_us IS NOT NULL WHERE i.number = %s"
    " UNION ALL SELECT 0, m.buyer_tax_id, t.tax_id IS NOT NULL FROM imported_invoices m FORCE INDEX (by_number)"
    " LEFT JOIN tenant_tax_ids t FORCE INDEX (PRIMARY)"
    " ON t.tenant_key = m.tenant_key AND t.tax_id = m.buyer_tax_id AND t.confirmed_at_us IS NOT NULL"
    " WHERE m.tenant_key = %s AND m.code = %s AND m.number = %s"
)
_PRESENT = f"SELECT {_ENTRY} FROM invoice_entries WHERE number IN ({{places}})"
_HISTORY = f"SELECT {_ENTRY} FROM entry_events WHERE number IN ({{places}}) ORDER BY number, version"
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
        return {row[0] for row in await select(connection, sql, sorted(numbers))}


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

    async def history(
        self, tenant_key: int, number: str, code: str = "", *, imported: bool = True
    ) -> list[Entry] | None:
        """Reads all changes; see the port."""
        values = (tenant_key, number, tenant_key, code, number)
        buyers = {bool(row[0]): row[1] if row[2] else "" for row in await read(self._primary().node, _FOUND, values)}
        found = Found(
            code=code,
            number=number,
            issued=True in buyers,
            issued_to=buyers.get(True, ""),
            imported_to=buyers.get(False, "") if imported else "",
        )
        keys = found.book_keys()
        if not keys:
            return None
        changes: dict[str, list[Entry]] = {}
        for row in await read(self._primary().node, _HISTORY.format(places=places(len(keys))), keys):
            changes.setdefault(row[0], []).append(_entry(row, number, code))
        subject = found.subject(lambda key: key in changes and changes[key][-1].state in ENTERED)
        return None if subject is None else changes.get(subject, [])

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
        invoices = await entry_locks.lock(connection, tenant_key, {(change.code, change.number) for change in changes})
        names = {key: name for name, invoice in invoices.items() for key in invoice.found.book_keys()}
        present = {key: absent(number, code) for key, (code, number) in names.items()}
        for row in await select(connection, _PRESENT, sorted(names)):
            code, number = names[row[0]]
            present[row[0]] = _entry(row, number, code)
        await entry_locks.read_reds(connection, invoices)
        request_ids = sorted({change.request_id.encode() for change in changes})
        found = await select(connection, _KNOWN, request_ids, tenant_key)
        known = {row[0].decode(): (bytes(row[1]), row[2:]) for row in found}
        now_us = self._now_us()
        answers: list[Entry | BillowError] = []
        made: list[tuple[str, Change, Entry]] = []
        done: dict[str, tuple[bytes, Entry]] = {}
        for change in changes:
            invoice = invoices[change.code, change.number]
            key = invoice.found.subject(lambda key: present[key].state in ENTERED)
            if key is None:
                answers.append(invoice_not_found(change.number))
                continue
            if change.request_id in known:
                sha256, row = known[change.request_id]
                answers.append(answer_known(change, sha256, _entry(row, change.number, change.code)))
                continue
            if change.request_id in done:
                answers.append(answer_known(change, *done[change.request_id]))
                continue
            outcome = decide(present[key], change, fully_red=invoice.is_fully_red(key), now_us=now_us)
            answers.append(outcome)
            if isinstance(outcome, Entry):
                present[key] = outcome
                done[change.request_id] = change.sha256(), outcome
                made.append((key, change, outcome))
        if made:
            await _write(connection, tenant_key, made)
        return answers


async def _write(connection: aiomysql.Connection, tenant_key: int, made: Sequence[tuple[str, Change, Entry]]) -> None:
    """Adds the events and puts the last entry of each invoice in its place; 2 round trips."""
    values: list[Any] = []
    last: dict[str, Entry] = {}
    for key, change, entry in made:
        values += [key, entry.version, int(entry.state), entry.period, entry.ledger_reference]
        values += [tenant_key, change.request_id.encode(), change.sha256(), entry.changed_at_us]
        last[key] = entry
    await rows(connection, _ADD_EVENTS + ",".join([f"({places(9)})"] * len(made)), values)
    values = []
    for key in sorted(last):
        entry = last[key]
        values += [key, int(entry.state), entry.period, entry.ledger_reference, entry.version, entry.changed_at_us]
    await rows(connection, _PUT_ENTRIES.format(values=",".join([f"({places(6)})"] * len(last))), values)


def _entry(row: Sequence[Any], number: str, code: str) -> Entry:
    """Builds the entry of an invoice from the columns _ENTRY, the first of which is its key in the books."""
    _, state, period, ledger_reference, version, changed_at_us = row
    return Entry(number, EntryState(state), period, ledger_reference, version, changed_at_us, code)

"""An entry that finds an invoice issued waits for one that holds its import, and then sees what that did (P8)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from core.domain.entry import Change, EntryState, absent, decide
from core.domain.entry_subject import import_key
from core.domain.errors import BillowError, Reason
from core.storage.mysql import entries, entry_locks
from core.storage.mysql.entries import MySQLEntryStore
from core.storage.mysql.tax_ids import MySQLTaxIdStore
from stack import Stack
from stack.mariadb import root
from tests.integration.test_audit_import_entries import BOOKKEEPER, TENANT, bring
from tests.support.databases import own_stores

POLL_S = 0.25  # InnoDB renews that table only when nobody has read it for 0.1 s
WAITING = "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"


def is_waiting(stack: Stack) -> bool:
    """Tells whether a transaction waits for another's lock."""
    with root(stack.folder, stack.state, stack.state.primary) as cursor:
        return cursor.execute(WAITING) > 0


async def test_the_issued_door_waits_for_the_imported_one(data_stores: Stack, tmp_path: Path) -> None:
    """The import was entered by a transaction that began before its number was issued here and ends after."""
    async with own_stores(data_stores, tmp_path) as stores:
        (issued,) = await stores.issuer.issue(await stores.issuer.seller(), 1)
        number, buyer = issued.number, issued.buyer_tax_id
        tax_ids = MySQLTaxIdStore(primary=lambda: stores.primary)
        for tenant in (TENANT, BOOKKEEPER):
            await tax_ids.claim(tenant, buyer, now_us=1)
            await tax_ids.confirm(tenant, buyer, now_us=2)
        await bring(stores, TENANT, number, issued)
        store = MySQLEntryStore(primary=lambda: stores.primary, now_us=lambda: time.time_ns() // 1_000)
        change = Change("early", number, EntryState.DEDUCTIBLE, 202611, "")
        async with stores.primary.connection() as connection:
            await stores.primary.begin(connection)
            await entry_locks.select(connection, entry_locks.LOCK_IMPORTS, [number])
            late = asyncio.create_task(store.change(BOOKKEEPER, [Change("late", number, change.state, 202612, "")]))
            while not late.done() and not await asyncio.to_thread(is_waiting, data_stores):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(POLL_S)
            entry = decide(absent(number), change, fully_red=False, now_us=3)
            assert not isinstance(entry, BillowError)
            await entries._write(connection, TENANT, [(import_key(buyer, "", number), change, entry)])
            await connection.commit()
        (refused,) = await late
        assert isinstance(refused, BillowError)
        assert refused.reason is Reason.ALREADY_ENTERED
        assert refused.metadata["period"] == "202611"

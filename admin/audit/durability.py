"""P1: the primary acknowledges nothing that is not on its disk and received by a replica; replicas have everything."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

from admin.audit.check import Check, Sources
from core.domain.errors import BillowError
from core.storage.mysql.pool import Node, rows

TIMEOUT_MIN_MS: Final = 24 * 60 * 60 * 1_000  # semi-sync that gives up sooner turns asynchronous in one bad night
CATCH_UP_S: Final = 30
EXACT: Final = {
    "log_bin": "ON",
    "innodb_flush_log_at_trx_commit": "1",
    "sync_binlog": "1",
    "semi_sync_enabled": "ON",
    "semi_sync_wait_point": "AFTER_SYNC",
    "semi_sync_status": "ON",
}
VARIABLES: Final = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'innodb_flush_log_at_trx_commit', 'sync_binlog')"
    " OR Variable_name LIKE 'rpl_semi_sync%'"
)
SEMI_SYNC: Final = re.compile(r"^rpl_semi_sync_(?:master|source)_")
STATUS: Final = "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync%'"
COUNT: Final = (
    "SELECT COUNT(*), COALESCE(BIT_XOR(CRC32(CONCAT(number, HEX(body_sha256)))), 0) FROM invoices"
    " WHERE number BETWEEN %s AND %s"
)


class DurabilityCheck(Check):
    """The settings and the state of the primary's log and of semi-synchronous replication are the lossless ones."""

    name = "commits are durable"
    promise = "P1"

    async def start(self, sources: Sources) -> None:
        """Asks the primary, before the long part, so that a bad setting is found at once."""
        found = {**await self._ask(sources, VARIABLES), **await self._ask(sources, STATUS)}
        for name, wanted in EXACT.items():
            self.report.examined += 1
            if found.get(name) != wanted:
                self.report.add("primary", f"{name} is {found.get(name, 'not there')}, must be {wanted}")
        self.report.examined += 2
        timeout_ms = int(found.get("semi_sync_timeout", 0))
        if timeout_ms < TIMEOUT_MIN_MS:
            self.report.add("primary", f"semi_sync_timeout is {timeout_ms} ms: commits then stop waiting for a replica")
        if int(found.get("semi_sync_clients", 0)) < 1:
            self.report.add("primary", "no replica receives its commits")

    @staticmethod
    async def _ask(sources: Sources, sql: str) -> dict[str, str]:
        """Returns variables by name; those of semi-sync under one name for MariaDB and MySQL."""
        found = {}
        for name, value in await sources.primary.rows(sql):
            plain = (
                name.lower()
                .replace("rpl_semi_sync_source_", "semi_sync_")
                .replace("rpl_semi_sync_master_", "semi_sync_")
            )
            found[plain] = value
        return found


class ReplicasCheck(Check):
    """Every replica has received and applied all there was at the start, and holds the same invoices."""

    name = "replicas have everything"
    promise = "P1"

    def __init__(self) -> None:
        super().__init__()
        self._position = ""
        self._wait = ""

    async def start(self, sources: Sources) -> None:
        """Notes how far the primary is: at least as far as the snapshot."""
        version = str((await sources.primary.rows("SELECT VERSION()"))[0][0]).lower()
        position = "@@GLOBAL.gtid_binlog_pos" if "mariadb" in version else "@@GLOBAL.gtid_executed"
        self._wait = "SELECT MASTER_GTID_WAIT(%s, %s)"
        if "mariadb" not in version:
            self._wait = "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)"
        self._position = str((await sources.primary.rows(f"SELECT {position}"))[0][0])

    async def finish(self, sources: Sources) -> None:
        """Asks every replica."""
        if not sources.replicas:
            self.report.add("settings", "no replica is named (mysql.replicas)")
        for node in sources.replicas:
            await self._look(sources, node)

    async def _look(self, sources: Sources, node: Node) -> None:
        """Waits until a replica is as far as the primary was, then compares counts and digests range by range."""
        subject = f"replica {node.address.host}:{node.address.port}"
        try:
            async with node.connection() as connection:
                waited = await rows(connection, self._wait, (self._position, CATCH_UP_S))
                if waited[0][0] != 0:
                    self.report.add(subject, f"has not reached {self._position} within {CATCH_UP_S} s")
                    return
                async for first, last in self._used(sources):
                    ours = (await sources.snapshot.rows(COUNT, (first, last)))[0]
                    theirs = (await rows(connection, COUNT, (first, last)))[0]
                    self.report.examined += int(ours[0])
                    if ours != theirs:
                        counts = f"{theirs[0]} invoices of {ours[0]}" if ours[0] != theirs[0] else "other digests"
                        self.report.add(subject, f"has {counts} from {first} to {last}")
        except BillowError as error:
            self.report.add(subject, error.message)

    @staticmethod
    async def _used(sources: Sources) -> AsyncIterator[tuple[str, str]]:
        """Walks the used parts of all ranges: what the snapshot has, and what cannot change any more."""
        async for item in sources.snapshot.ranges():
            if item.used:
                yield item.first_number, f"{int(item.first_number) + item.used - 1:020d}"

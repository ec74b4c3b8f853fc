"""`billow-admin status`: what there is, how far the archive is behind, how replication stands."""

from __future__ import annotations

import time
from typing import Any, Final

import click

from admin.command import json_option, print_json, print_table, run, settings_option
from admin.nodes import open_nodes
from core.domain.errors import BillowError
from core.settings import Settings
from core.storage.mysql.outbox import MySQLOutboxStore
from core.storage.mysql.pool import Node, read

# numbers used are invoices issued: counting the rows of a large table would take seconds
COUNTS: Final = (
    "SELECT (SELECT COUNT(*) FROM tenants), (SELECT COUNT(*) FROM sellers),"
    " (SELECT COALESCE(SUM(used), 0) FROM number_ranges),"
    " (SELECT COALESCE(SUM(size - used), 0) FROM number_ranges WHERE kind <> 0),"
    " (SELECT COUNT(*) FROM archive_segments), (SELECT COALESCE(SUM(invoices), 0) FROM archive_segments),"
    " (SELECT COALESCE(SUM(size_bytes), 0) FROM archive_segments)"
)
COUNT_NAMES: Final = (
    "tenants",
    "sellers",
    "invoices",
    "numbers_left",
    "segments",
    "archived_invoices",
    "archived_bytes",
)


@click.command()
@settings_option
@json_option
def status(*, settings: Settings, as_json: bool) -> None:
    """Show counts, the archive's backlog and lag, and the replicas."""
    found = run(_status(settings))
    if as_json:
        print_json(found)
    else:
        print_table("billow", ("what", "value"), list(found.items()))


async def _status(settings: Settings) -> dict[str, Any]:
    """Asks the primary and every replica; a replica that does not answer is shown as away."""
    async with open_nodes(settings) as nodes:
        counts = (await nodes.primary.rows(COUNTS))[0]
        batches, oldest_us = await MySQLOutboxStore(primary=lambda: nodes.primary).backlog()
        lag_s = (time.time_ns() // 1_000 - oldest_us) / 1_000_000 if batches else 0.0
        found: dict[str, Any] = {
            **{name: int(value) for name, value in zip(COUNT_NAMES, counts, strict=True)},
            "waiting_batches": batches,
            "archive_lag_s": round(max(0.0, lag_s), 1),
            "primary": f"{nodes.primary.node.address.host}:{nodes.primary.node.address.port}",
        }
        for node in nodes.replicas:
            found[f"replica_{node.address.host}:{node.address.port}"] = await _replica(node)
        return found


async def _replica(node: Node) -> str:
    """Tells how many invoices a replica has numbers of, or that it is away."""
    try:
        used = (await read(node, "SELECT COALESCE(SUM(used), 0) FROM number_ranges"))[0][0]
    except BillowError as error:
        return f"away: {error.message}"
    return f"{int(used):,} invoices"

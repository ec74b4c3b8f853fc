"""`billow-admin range withdraw`: after a restore, numbers that may be out in the world are never issued again."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

import click

from admin.command import fail, json_option, print_json, run, settings_option
from admin.nodes import open_nodes
from core.settings import Settings
from core.storage import segments, withdrawal
from core.storage.mysql.pool import Primary, rows
from core.storage.objects.s3 import open_s3
from core.storage.ports import ObjectStore
from core.storage.segments import SegmentCorrupt
from core.storage.spans import Numbers

NUMBER: Final = re.compile(r"\d{20}")
RECORDED: Final = "SELECT object_key FROM archive_segments"


@click.command("withdraw")
@click.argument("lists", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[FILE]...")
@click.option("--archived", is_flag=True, help="Look for lost invoices in the archive, too.")
@click.option("--margin", type=click.IntRange(min=0), default=0, show_default=True, help="Numbers more of every range.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be set aside.")
@settings_option
@json_option
def withdraw(
    *, settings: Settings, as_json: bool, lists: tuple[Path, ...], archived: bool, margin: int, dry_run: bool
) -> None:
    """Set aside the numbers of invoices that a restore has lost (docs/backup.md).

    FILE has one in each line, as JSON with a `number` or as 20 digits. What the database has an invoice of is left
    alone; behind the rest of each range issuing goes on. Segments that cannot be read are named: their numbers must
    come from a list.
    """
    lost = Numbers(int(number) for path in lists for number in read_numbers(path))
    unreadable: list[str] = []
    done = run(_withdraw(settings, lost, unreadable, archived=archived, margin=margin, dry_run=dry_run))
    if as_json:
        withdrawn = [{"first": f"{first:020d}", "last": f"{last:020d}"} for first, last in done]
        print_json({"withdrawn": withdrawn, "unreadable": unreadable})
        return
    for key in unreadable:
        click.echo(f"cannot be read, its numbers are unknown: {key}", err=True)
    for first, last in done:
        click.echo(f"{first:020d} to {last:020d}: {last - first + 1} numbers")
    total = sum(last - first + 1 for first, last in done)
    click.echo(f"{total} numbers {'would be' if dry_run else 'are'} set aside")


def read_numbers(path: Path) -> Iterable[str]:
    """Yields the numbers of a list; ends the tool at a line without one."""
    with path.open() as lines:
        for line in lines:
            try:
                text = json.loads(line)["number"] if line.startswith("{") else line.strip()
            except (ValueError, KeyError):
                text = ""
            if not NUMBER.fullmatch(str(text)):
                fail(f"{path}: {line.rstrip()[:80]!r} has no number")
            yield str(text)


async def _withdraw(
    settings: Settings, lost: Numbers, unreadable: list[str], *, archived: bool, margin: int, dry_run: bool
) -> list[tuple[int, int]]:
    """Sets aside in one transaction; returns the first and last of each run of numbers."""
    async with open_nodes(settings) as nodes:
        if archived:
            async with open_s3(settings.object_store) as objects:
                async for number in _strays(nodes.primary, objects, unreadable):
                    lost.add(number)
        async with nodes.primary.connection() as connection:
            await nodes.primary.begin(connection)
            found = [withdrawal.range_row(*row) for row in await rows(connection, withdrawal.LOCK)]
            made = list(withdrawal.withdrawals(found, lost.spans(), margin, now_us=time.time_ns() // 1_000))
            for sql, values in (statement for item in made for statement in item.statements):
                await rows(connection, sql, values)
            if dry_run:
                await connection.rollback()
            else:
                await connection.commit()
    return [(item.first, item.last) for item in made]


async def _strays(primary: Primary, objects: ObjectStore, unreadable: list[str]) -> AsyncIterator[int]:
    """Yields the numbers in segments that no row knows of; one segment is in memory at a time.

    The keys of those that are no segments are added to `unreadable`.
    """
    recorded = {row[0] for row in await primary.rows(RECORDED)}
    async for key in objects.keys("segments/"):
        size = None if key in recorded else await objects.size(key)
        if not size:
            continue
        data = await objects.read(key, start=0, length=size)
        try:
            numbers = await asyncio.to_thread(_numbers, data)
        except SegmentCorrupt:
            unreadable.append(key)
            continue
        for number in numbers:
            yield number


def _numbers(data: bytes) -> list[int]:
    """The numbers in a segment."""
    return [int(number) for columns in segments.rows(data) for number in columns.number]

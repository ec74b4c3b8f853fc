"""What people and programs see: tables, JSON, errors, progress."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Self

import orjson
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from billow import BillowError

TABLE_COLUMNS = 1_000
"""Widest table; wider than any terminal, so that nothing is cut or folded."""


def say(text: str) -> None:
    """One line to the terminal's error side: never mixed with answers."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def print_json(value: dict[str, Any]) -> None:
    """One line of JSON as an answer."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")


def print_message(message: Message) -> None:
    """A message as one line of protobuf's JSON."""
    sys.stdout.write(MessageToJson(message, indent=None, ensure_ascii=False) + "\n")


def show_error(error: BillowError, *, as_json: bool) -> None:
    """Tells of an error, every faulty field on a line of its own."""
    if as_json:
        told = {
            "reason": error.reason,
            "code": error.code.name,
            "message": error.message,
            "request_id": error.request_id,
            "retryable": error.retryable,
            "metadata": dict(error.metadata),
            "violations": [{"field": v.field, "rule": v.rule, "description": v.description} for v in error.violations],
        }
        say(orjson.dumps({"error": told}).decode())
        return
    say(f"billow: {error.reason or error.code.name}: {error.message}")
    for fault in error.violations:
        say(f"  {fault.field}: {fault.description} [{fault.rule}]")
    if error.request_id:
        say(f"  request {error.request_id}")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[str] = frozenset()) -> None:
    """A table; ``right``: columns of numbers."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    Console(width=TABLE_COLUMNS).print(table, crop=False)  # a number cut in two is of no use: the terminal may wrap


def amount(minor: int) -> str:
    """An amount of minor units (hundredths) with two decimals."""
    whole, cents = divmod(abs(minor), 100)
    return f"{'-' if minor < 0 else ''}{whole:,}.{cents:02}"


def moment(stamp: Timestamp) -> str:
    """A time in the zone of this machine, to the second; empty when unset."""
    if not stamp.seconds:
        return ""
    return datetime.fromtimestamp(stamp.seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['items']:,} · {task.fields['rate']:,.0f}/s", style="cyan")


class ItemProgress:
    """A bar with what is done, the rate and the remaining time; nothing unless a person watches the error side."""

    def __init__(self, label: str, *, total: int, shown: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            _Rate(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            disable=not (shown and sys.stderr.isatty()),
            transient=True,
        )
        self._task = self._progress.add_task(label, total=total, items=0, rate=0.0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def moved(self, *, position: int, items: int, rate: float) -> None:
        """``position`` of the total is reached, ``items`` are done at ``rate`` a second."""
        self._progress.update(self._task, completed=position, items=items, rate=rate)

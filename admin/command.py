"""What every command shares: where the settings are, how to print, and which exit code a failure has."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click
from rich.console import Console
from rich.table import Table

from core.domain.errors import BillowError
from core.settings import Settings, SettingsError, load

CONFIG_DEFAULT: Final = "run/billow.toml"
EXIT_FAILED: Final = 2  # the command could not do its work

Result = TypeVar("Result")
Command = TypeVar("Command", bound=Callable[..., Any])


def settings_option(function: Command) -> Command:
    """Adds --config; the command gets parsed Settings as its argument `settings`."""
    return click.option(
        "--config",
        "settings",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="BILLOW_CONFIG",
        default=CONFIG_DEFAULT,
        show_default=True,
        callback=_load,
        help="Settings file. [env: BILLOW_CONFIG]",
    )(function)


def json_option(function: Command) -> Command:
    """Adds --json; the command gets it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of text.")(function)


def _load(_context: click.Context, _parameter: click.Parameter, value: Path) -> Settings:
    """Parses the settings file or ends the tool with EXIT_FAILED."""
    try:
        return load(value)
    except (SettingsError, OSError) as error:
        fail(f"settings: {error}")


def fail(message: str) -> NoReturn:
    """Prints a message to stderr and ends the tool with EXIT_FAILED."""
    click.echo(f"billow-admin: {message}", err=True)
    sys.exit(EXIT_FAILED)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs a command's coroutine; a BillowError ends the tool with EXIT_FAILED and its message."""
    try:
        return asyncio.run(work)
    except BillowError as error:
        details = "; ".join(f"{item.field}: {item.description}" for item in error.violations)
        fail(f"{error.reason}: {error.message}" + (f" ({details})" if details else ""))


def print_json(value: Mapping[str, Any]) -> None:
    """Prints one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table for people; columns whose values are all numbers are right-aligned."""
    table = Table(title=title, title_justify="left")
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in row))
    Console().print(table)

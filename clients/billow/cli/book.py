"""`billow book`: which received and imported invoices stand in the books."""

import re
import sys
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from billow import (
    BATCH_ITEMS_MAX,
    ENTRY_STATE_DEDUCTIBLE,
    ENTRY_STATE_NOT_DEDUCTIBLE,
    EnterInvoiceRequest,
    Entry,
    EntryResult,
    EntryState,
    WithdrawEntryRequest,
    error_of,
)

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .show import ItemProgress, moment, print_message, print_table, say, show_error
from .sources import UnusableFile

NUMBER_CHARS = 20
REQUEST_ID_CHARS_MAX = 64
REQUEST_PREFIX_CHARS_MAX = 43  # with "/" and the 20 digits of a number; 42 with the code and number of an older invoice
COLUMNS = ("number", "state", "period", "reference", "change", "at")

_NUMBER = re.compile(r"(?:([0-9]{12})/)?([0-9]{8}|[0-9]{20})")
Wanted = TypeVar("Wanted")
Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(short_help="Enter received and imported invoices into the books.")
def book() -> None:
    """Account entry: each invoice stands in the books at most once, be it received or imported.

    A number means the invoice issued here, else the one you imported. An older invoice is named CODE/NUMBER.

    Needs an API key with the scope "book" (for `show`: "read") of a tenant that has proved the buyer's taxpayer id.
    """


def _batch_options(function: Command) -> Command:
    """What entering and withdrawing have in common."""
    options = (
        click.argument("numbers", nargs=-1, metavar="[NUMBER]..."),
        click.option(
            "--file",
            "path",
            type=click.Path(dir_okay=False, path_type=Path),
            help="File with one number a line, or `-` for standard input; besides those named.",
        ),
        click.option("--reference", "ledger_reference", default="", help="Reference into your ledger."),
        click.option(
            "--request-id",
            "prefix",
            metavar="PREFIX",
            help="Makes a repeat harmless: the same one with the same numbers changes nothing. Default: a new one.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@book.command("enter", epilog=EXIT_CODES_HELP)
@_batch_options
@click.option("--period", type=int, required=True, metavar="YYYYMM", help="Accounting period.")
@click.option("--deductible/--not-deductible", required=True, help="State 02 or 03.")
@connected
async def enter(
    connection: Connection,
    *,
    numbers: tuple[str, ...],
    path: Path | None,
    ledger_reference: str,
    prefix: str | None,
    period: int,
    deductible: bool,
) -> Exit:
    """Enter invoices; exits 1 when any was refused, such as one that stands in the books already."""
    state = ENTRY_STATE_DEDUCTIBLE if deductible else ENTRY_STATE_NOT_DEDUCTIBLE
    ids = _request_ids(prefix)
    wanted = [
        EnterInvoiceRequest(
            request_id=ids(name),
            code=code,
            number=number,
            state=state,
            period=period,
            ledger_reference=ledger_reference,
        )
        for name, code, number in _numbers(numbers, path)
    ]
    async with connection.client() as client:
        return await _run(connection, "entering", wanted, client.entries.enter)


@book.command("withdraw", epilog=EXIT_CODES_HELP)
@_batch_options
@connected
async def withdraw(
    connection: Connection, *, numbers: tuple[str, ...], path: Path | None, ledger_reference: str, prefix: str | None
) -> Exit:
    """Take invoices out of the books; they may be entered again."""
    ids = _request_ids(prefix)
    wanted = [
        WithdrawEntryRequest(request_id=ids(name), code=code, number=number, ledger_reference=ledger_reference)
        for name, code, number in _numbers(numbers, path)
    ]
    async with connection.client() as client:
        return await _run(connection, "withdrawing", wanted, client.entries.withdraw)


@book.command("show", epilog=EXIT_CODES_HELP)
@click.argument("number")
@connected
async def show(connection: Connection, *, number: str) -> Exit:
    """Show where an invoice stands, and every change."""
    _, code, digits = _named(number)
    async with connection.client() as client:
        found = await client.entries.get(digits, code=code)
    if connection.as_json:
        print_message(found)
    else:
        print_table(COLUMNS, [_row(entry) for entry in found.history or [found.entry]])
    return Exit.OK


async def _run(
    connection: Connection,
    label: str,
    wanted: Sequence[Wanted],
    change: Callable[[Sequence[Wanted]], Coroutine[Any, Any, Sequence[EntryResult]]],
) -> Exit:
    """Sends batch after batch, shows the results, and tells the refusals."""
    entries: list[Entry] = []
    refused = 0
    with ItemProgress(label, total=len(wanted), shown=not connection.as_json) as progress:
        for start in range(0, len(wanted), BATCH_ITEMS_MAX):
            batch = wanted[start : start + BATCH_ITEMS_MAX]
            for result in await change(batch):
                error = error_of(result)
                if connection.as_json:
                    print_message(result)
                elif error is None:
                    entries.append(result.entry)
                else:
                    show_error(error, as_json=False)
                refused += error is not None
            progress.moved(position=start + len(batch), items=start + len(batch), rate=0.0)
    if not connection.as_json:
        print_table(COLUMNS, [_row(entry) for entry in entries])
        say(f"{len(entries):,} done, {refused:,} refused")
    return Exit.REFUSED if refused else Exit.OK


def _request_ids(prefix: str | None) -> Callable[[str], str]:
    """Makes the request id of each number."""
    if prefix is not None and not 1 <= len(prefix) <= REQUEST_PREFIX_CHARS_MAX:
        raise click.UsageError(f"--request-id must be 1 to {REQUEST_PREFIX_CHARS_MAX} characters")
    run = prefix or uuid.uuid4().hex

    def request_id(name: str) -> str:
        made = f"{run}/{name}"
        if len(made) > REQUEST_ID_CHARS_MAX:
            raise click.UsageError(f"--request-id must be 1 to {REQUEST_PREFIX_CHARS_MAX - 1} characters with {name}")
        return made

    return request_id


def _numbers(named: Sequence[str], path: Path | None) -> list[tuple[str, str, str]]:
    """Collects the invoices named and those of the file, each once: as named, the code, the number."""
    found = list(dict.fromkeys([*named, *_lines(path)]))
    if not found:
        raise click.UsageError("no invoice number is given")
    return [_named(name) for name in found]


def _named(name: str) -> tuple[str, str, str]:
    """Reads how an invoice is named: as named, the code, the number."""
    match = _NUMBER.fullmatch(name)
    if match is None or (match[1] is None) != (len(match[2]) == NUMBER_CHARS):
        raise UnusableFile(f"{name[:40]!r} is not an invoice number of 20 digits, or CODE/NUMBER of 12 and 8")
    return name, match[1] or "", match[2]


def _lines(path: Path | None) -> Iterator[str]:
    """The lines of the file that are not empty."""
    if path is None:
        return
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableFile(f"{path}: {error}") from error
    for line in text.splitlines():
        if line.strip():
            yield line.strip()


def _row(entry: Entry) -> tuple[str, ...]:
    state = EntryState.Name(entry.state).removeprefix("ENTRY_STATE_").lower().replace("_", " ")
    return (
        f"{entry.code}/{entry.number}" if entry.code else entry.number,
        f"{entry.state:02d} {state}",
        str(entry.period or ""),
        entry.ledger_reference,
        str(entry.version or ""),
        moment(entry.change_time),
    )

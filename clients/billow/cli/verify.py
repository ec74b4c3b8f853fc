"""`billow verify FILE|NUMBER`: tells whether invoices are real."""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, nullcontext
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, Any

import click
import orjson

from billow import (
    VERIFICATION_OUTCOME_MATCH,
    InvoiceCheck,
    InvoiceState,
    VerificationOutcome,
    VerificationResult,
)

from .check_rows import COLUMNS, COLUMNS_HELP, check_entries
from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .show import ItemProgress, amount, print_json, say
from .sources import Entry, Source, open_source

BATCH_ITEMS = 500
IN_FLIGHT = 8
TOLD_MAX = 20  # checks without a match told while running
UNREADABLE = "unreadable"

_NUMBER = re.compile(r"\d{20}")


@click.command(
    "verify",
    short_help="Tell whether invoices are real.",
    epilog=f"{COLUMNS_HELP}\n\n{EXIT_CODES_HELP}",
)
@click.argument("subject", metavar="FILE|NUMBER")
@click.option("--date", metavar="YYYY-MM-DD", help="Of NUMBER: the issue date.")
@click.option("--total", metavar="AMOUNT", help="Of NUMBER: the total with tax as it stands on it, such as 1130.00.")
@click.option("--format", "kind", type=click.Choice(["jsonl", "csv", "parquet"]), help="Default: by the file's name.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Write one JSON line a check.")
@click.option("--streams", type=click.IntRange(1, 16), default=2, show_default=True, help="Streams side by side.")
@connected
async def verify(
    connection: Connection,
    *,
    subject: str,
    date: str | None,
    total: str | None,
    kind: str | None,
    results: Path | None,
    streams: int,
) -> Exit:
    """Verify one invoice by NUMBER, --date and --total (no API key needed), or all checks of FILE (with a key).

    Exit code 0 only when every check is a match.
    """
    if _is_number(subject):
        return await _verify_one(connection, subject, date, total)
    if date is not None or total is not None:
        raise click.UsageError("--date and --total go with a number of 20 digits")
    source = open_source(Path(subject), kind=kind, columns=COLUMNS)
    return await _verify_file(connection, source, results, streams)


def _is_number(subject: str) -> bool:
    return _NUMBER.fullmatch(subject) is not None and not Path(subject).exists()


async def _verify_one(connection: Connection, number: str, date: str | None, total: str | None) -> Exit:
    if date is None or total is None:
        raise click.UsageError("--date and --total are needed with a number")
    check = InvoiceCheck(number=number, issue_date=parse_date(date), gross_total_minor=parse_amount(total))
    async with connection.client() as client:
        result = await client.verify(check)
    if connection.as_json:
        print_json({"number": number, **result_fields(result)})
    else:
        click.echo(f"{number}: {describe(result)}")
    return Exit.OK if result.outcome == VERIFICATION_OUTCOME_MATCH else Exit.REFUSED


async def _verify_file(connection: Connection, source: Source, results: Path | None, streams: int) -> Exit:
    counts: Counter[str] = Counter()
    opened: deque[tuple[list[Entry[InvoiceCheck]], int]] = deque()

    async def batches() -> AsyncIterator[list[InvoiceCheck]]:
        for chunk in _chunks(check_entries(source)):
            opened.append((chunk, source.position()))
            yield [entry.content for entry in chunk if entry.content is not None]
            await asyncio.sleep(0)  # reading never waits: let the answers in

    started_at = time.monotonic()
    with (
        results.open("wb") if results else nullcontext() as out,
        ItemProgress("verifying", total=source.size, shown=not connection.as_json) as progress,
    ):
        async with (
            connection.client() as client,
            aclosing(client.verify_batches(batches(), in_flight=IN_FLIGHT, streams=streams)) as answers,
        ):
            async for answer in answers:
                chunk, position = opened.popleft()
                _note(chunk, iter(answer), counts, out, quiet=connection.as_json)
                rate = counts.total() / max(time.monotonic() - started_at, 0.001)
                progress.moved(position=position, items=counts.total(), rate=rate)
    seconds = time.monotonic() - started_at
    summary = {"checked": counts.total(), "seconds": round(seconds, 3), "outcomes": dict(counts)}
    if connection.as_json:
        print_json(summary | {"per_s": round(counts.total() / max(seconds, 0.001), 1)})
    else:
        found = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.most_common()) or "nothing to check"
        say(f"{found}; {seconds:.1f} s, {counts.total() / max(seconds, 0.001):,.0f}/s")
    return Exit.OK if counts.total() == counts[_name(VERIFICATION_OUTCOME_MATCH)] else Exit.REFUSED


def _note(
    chunk: list[Entry[InvoiceCheck]],
    answer: Iterator[VerificationResult],
    counts: Counter[str],
    out: IO[bytes] | None,
    *,
    quiet: bool,
) -> None:
    match = _name(VERIFICATION_OUTCOME_MATCH)
    for entry in chunk:
        if entry.content is None:
            why = "; ".join(f"{path or 'line'}: {text}" for path, text in entry.faults)
            record: dict[str, Any] = {**entry.identity, "outcome": UNREADABLE, "message": why}
        else:
            record = {"number": entry.content.number, **result_fields(next(answer))}
        outcome = record["outcome"]
        counts[outcome] += 1
        if out is not None:
            out.write(orjson.dumps({"line": entry.line, **record}, option=orjson.OPT_APPEND_NEWLINE))
        if outcome != match and not quiet:
            told = counts.total() - counts[match]
            if told <= TOLD_MAX:
                say(f"line {entry.line}: {record.get('number', '')} {outcome} {record.get('message', '')}".rstrip())
            elif told == TOLD_MAX + 1:
                say("further ones are counted; --results FILE writes them all")


def _chunks(entries: Iterator[Entry[InvoiceCheck]]) -> Iterator[list[Entry[InvoiceCheck]]]:
    chunk: list[Entry[InvoiceCheck]] = []
    for entry in entries:
        chunk.append(entry)
        if len(chunk) == BATCH_ITEMS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _name(outcome: VerificationOutcome.ValueType) -> str:
    return VerificationOutcome.Name(outcome).removeprefix("VERIFICATION_OUTCOME_").lower()


def _state(state: InvoiceState.ValueType) -> str:
    return InvoiceState.Name(state).removeprefix("INVOICE_STATE_").lower()


def result_fields(result: VerificationResult) -> dict[str, Any]:
    """What a program is told of a result."""
    fields: dict[str, Any] = {"outcome": _name(result.outcome)}
    if result.outcome == VERIFICATION_OUTCOME_MATCH:
        fields |= {"state": _state(result.state), "red_total_minor": result.red_total_minor}
    return fields


def describe(result: VerificationResult) -> str:
    """What a person is told of a result."""
    text = _name(result.outcome).replace("_", " ")
    if result.outcome != VERIFICATION_OUTCOME_MATCH:
        return text
    red = f", red {amount(result.red_total_minor)}" if result.red_total_minor else ""
    return f"{text}, {_state(result.state).replace('_', ' ')}{red}"


def parse_date(text: str) -> int:
    """2026-01-31 or 20260131 as 20260131. Raises click.BadParameter."""
    for form in ("%Y-%m-%d", "%Y%m%d"):
        try:
            return int(datetime.strptime(text, form).strftime("%Y%m%d"))  # noqa: DTZ007 - a date, no moment
        except ValueError:
            continue
    raise click.BadParameter("must be a date such as 2026-01-31", param_hint="--date")


def parse_amount(text: str, *, hint: str = "--total") -> int:
    """An amount with at most two decimals ("1,130.00") as minor units. Raises click.BadParameter."""
    try:
        minor = Decimal(text.replace(",", "")).scaleb(2)
        if minor == int(minor) and abs(minor) < 2**63:
            return int(minor)
    except (InvalidOperation, ValueError, OverflowError):
        pass
    raise click.BadParameter("must be an amount with at most two decimals, such as 1130.00", param_hint=hint)

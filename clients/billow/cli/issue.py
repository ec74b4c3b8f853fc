"""`billow issue FILE`: issues every invoice of a file once, however often it is interrupted."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from billow import AsyncClient, BillowError, IssueInvoiceRequest, IssueResult, error_of

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .invoice_rows import COLUMNS, COLUMNS_HELP, invoice_entries
from .results import Done, ResultsFile, issued_record, refused_record, unreadable_record
from .show import ItemProgress, print_json, say
from .sources import Entry, Source, UnusableFile, open_source

BATCH_ITEMS = 500
BATCH_BYTES = 4 * 1024 * 1024
IN_FLIGHT = 8
TOLD_MAX = 10  # refusals told while running; all stand in the results file

Chunk = list[Entry[IssueInvoiceRequest]]


@click.command(
    "issue",
    short_help="Issue every invoice of a file.",
    epilog=f"{COLUMNS_HELP}\n\n{EXIT_CODES_HELP}",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", "kind", type=click.Choice(["jsonl", "csv", "parquet"]), help="Default: by the file's name.")
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    help="One JSON line for every entry: the number, or the error. Default: FILE.results.jsonl",
)
@click.option("--resume", is_flag=True, help="Go on behind the last entry of the results file.")
@click.option("--streams", type=click.IntRange(1, 16), default=2, show_default=True, help="Streams side by side.")
@connected
async def issue(
    connection: Connection, *, file: Path, kind: str | None, results: Path | None, resume: bool, streams: int
) -> Exit:
    """Issue every invoice of FILE: JSONL (one IssueInvoiceRequest a line, as in the contract), CSV or Parquet.

    A line that cannot be read or that Billow refuses is told with its number and does not stop the rest. Invoices are
    issued once per seller_id and request_id: after an interruption, a crash or an error, the same command with
    --resume issues what is missing and nothing twice. A refusal that would pass (overload) is waited out; if it does
    not pass the run stops with exit code 3.
    """
    source = open_source(file, kind=kind, columns=COLUMNS)
    path = results or file.with_name(file.name + ".results.jsonl")
    with ResultsFile(path, resume=resume) as out:
        async with connection.client() as client:
            run = IssueRun(client=client, source=source, out=out, streams=streams, quiet=connection.as_json)
            try:
                await run.finish()
            finally:
                run.tell(as_json=connection.as_json)
    return Exit.REFUSED if out.done.refused else Exit.OK


@dataclass(slots=True)
class _Open:
    """A chunk that was sent, and how far reading had come then."""

    chunk: Chunk
    position: int


class IssueRun:
    """One run over a file, from the first entry that is not in the results."""

    def __init__(
        self, *, client: AsyncClient, source: Source, out: ResultsFile, streams: int, quiet: bool = False
    ) -> None:
        self._client = client
        self._source = source
        self._out = out
        self._streams = streams
        self._quiet = quiet
        self._open: deque[_Open] = deque()
        self._started_at = time.monotonic()
        self._skipped = out.done.issued + out.done.refused
        self._told = 0

    @property
    def _done(self) -> Done:
        return self._out.done

    async def finish(self) -> None:
        """Issues all that is left. Raises BillowError when it cannot go on; the results file is good then, too."""
        entries = self._entries_left()
        total = self._source.size
        with ItemProgress("issuing", total=total, shown=not self._quiet) as progress:
            batches = self._client.issue_batches(self._batches(entries), in_flight=IN_FLIGHT, streams=self._streams)
            async with aclosing(batches) as answers:
                async for answer in answers:
                    sent = self._open.popleft()
                    self._write(sent.chunk, answer)
                    items = self._done.issued + self._done.refused
                    progress.moved(position=sent.position, items=items, rate=self._rate())

    def _entries_left(self) -> Iterator[Entry[IssueInvoiceRequest]]:
        last = self._done.last
        if last is None:
            return invoice_entries(self._source)
        entries = invoice_entries(self._source, first_line=self._done.last_line)
        entry = next(entries, None)
        if entry is None or entry.line != last["line"] or not _same(entry, last):
            raise UnusableFile(f"{self._out.path} is not about this file: line {last['line']} differs")
        return entries

    async def _batches(self, entries: Iterator[Entry[IssueInvoiceRequest]]) -> AsyncIterator[list[IssueInvoiceRequest]]:
        for chunk in _chunks(entries):
            self._open.append(_Open(chunk, self._source.position()))
            yield [entry.content for entry in chunk if entry.content is not None]
            await asyncio.sleep(0)  # reading never waits: let the answers in

    def _write(self, chunk: Chunk, answer: Sequence[IssueResult]) -> None:
        results = iter(answer)
        records: list[dict[str, Any]] = []
        stopped_by: BillowError | None = None
        for entry in chunk:
            request = entry.content
            if request is None:
                records.append(unreadable_record(entry.line, entry.identity, entry.faults))
                self._refused(entry.line, "; ".join(f"{path or 'line'}: {text}" for path, text in entry.faults[:3]))
                continue
            result = next(results)
            error = error_of(result)
            if error is None:
                records.append(issued_record(entry.line, result.issued))
                self._done.issued += 1
            elif error.retryable:
                # no verdict about this invoice: it is left, with all behind it, to the run that resumes
                stopped_by = error
                break
            else:
                records.append(refused_record(entry.line, request.seller_id, request.request_id, error))
                self._refused(entry.line, str(error))
        self._out.append(records)
        if stopped_by is not None:
            raise stopped_by

    def _refused(self, line: int, text: str) -> None:
        self._done.refused += 1
        self._told += 1
        if self._told <= TOLD_MAX:
            say(f"line {line}: {text}")
        elif self._told == TOLD_MAX + 1:
            say(f"further refusals stand in {self._out.path}")

    def _rate(self) -> float:
        items = self._done.issued + self._done.refused - self._skipped
        return items / max(time.monotonic() - self._started_at, 0.001)

    def tell(self, *, as_json: bool) -> None:
        """The summary, whole or partial."""
        seconds = time.monotonic() - self._started_at
        done = self._done
        if as_json:
            print_json(
                {
                    "issued": done.issued,
                    "refused": done.refused,
                    "already_done": self._skipped,
                    "seconds": round(seconds, 3),
                    "per_s": round(self._rate(), 1),
                    "results": str(self._out.path),
                }
            )
            return
        before = f" ({self._skipped:,} of them before)" if self._skipped else ""
        say(
            f"{done.issued:,} issued, {done.refused:,} refused{before}; {seconds:.1f} s, {self._rate():,.0f}/s; "
            f"results in {self._out.path}"
        )


def _chunks(entries: Iterator[Entry[IssueInvoiceRequest]]) -> Iterator[Chunk]:
    chunk: Chunk = []
    size = 0
    for entry in entries:
        if chunk and size + entry.size > BATCH_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += entry.size
        if len(chunk) == BATCH_ITEMS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _same(entry: Entry[IssueInvoiceRequest], record: dict[str, Any]) -> bool:
    request = entry.content
    if request is None:
        return "error" in record
    return (request.seller_id, request.request_id) == (record.get("seller_id"), record.get("request_id"))

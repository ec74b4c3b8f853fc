"""`billow red batch FILE`: red-letters everything a file names once, however often it is interrupted."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from billow import AsyncClient, IssueRedInvoiceRequest, RedResult, error_of

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .red_rows import COLUMNS, COLUMNS_HELP, red_entries
from .results import ResultsFile, issued_record
from .show import ItemProgress
from .sources import Entry, Source, open_source
from .tally import Chunk, Tally, chunks

BATCH_ITEMS = 200
IN_FLIGHT = 4
ATTEMPTS_MAX = 6  # of a batch some of whose items were refused for a passing reason
BACKOFF_S = 0.25  # doubled each time; what the server asks for counts on top


@click.command("batch", short_help="Issue every red invoice of a file.", epilog=f"{COLUMNS_HELP}\n\n{EXIT_CODES_HELP}")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", "kind", type=click.Choice(["jsonl", "csv", "parquet"]), help="Default: by the file's name.")
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    help="One JSON line for every entry: the number, or the error. Default: FILE.results.jsonl",
)
@click.option("--resume", is_flag=True, help="Go on behind the last entry of the results file.")
@connected
async def red_batch(
    connection: Connection, *, file: Path, kind: str | None, results: Path | None, resume: bool
) -> Exit:
    """Issue every red invoice of FILE: JSONL (one IssueRedInvoiceRequest a line, as in the contract), CSV or Parquet.

    What cannot be read or is refused is told with its line and does not stop the rest. Red invoices are issued once per
    seller_id and request_id: after an interruption, a crash or an error, the same command with --resume issues what is
    missing and nothing twice. Several of one blue invoice are issued in the order of the file.
    """
    source = open_source(file, kind=kind, columns=COLUMNS)
    path = results or file.with_name(file.name + ".results.jsonl")
    with ResultsFile(path, resume=resume) as out:
        async with connection.client() as client:
            run = RedRun(client=client, source=source, out=out, quiet=connection.as_json)
            try:
                await run.finish()
            finally:
                run.tally.tell(as_json=connection.as_json)
    return Exit.REFUSED if out.done.refused else Exit.OK


@dataclass(slots=True)
class _Open:
    """A chunk under way. ``blues``: what it is about. ``position``: how far reading had come."""

    chunk: Chunk[IssueRedInvoiceRequest]
    blues: frozenset[str]
    position: int
    task: asyncio.Task[Sequence[RedResult]]


class RedRun:
    """One run over a file, from the first entry that is not in the results."""

    def __init__(self, *, client: AsyncClient, source: Source, out: ResultsFile, quiet: bool = False) -> None:
        self._client = client
        self._source = source
        self._quiet = quiet
        self._open: deque[_Open] = deque()
        self.tally: Tally[IssueRedInvoiceRequest] = Tally(out=out)

    async def finish(self) -> None:
        """Issues all that is left. Raises BillowError when it cannot go on; the results file is good then, too."""
        entries = self.tally.entries_left(lambda line: red_entries(self._source, first_line=line))
        with ItemProgress("red-lettering", total=self._source.size, shown=not self._quiet) as progress:
            try:
                await self._send_all(entries, progress)
            finally:
                for left in self._open:
                    left.task.cancel()
                await asyncio.gather(*(left.task for left in self._open), return_exceptions=True)

    async def _send_all(self, entries: Iterator[Entry[IssueRedInvoiceRequest]], progress: ItemProgress) -> None:
        """Keeps a few chunks under way, but never two about one blue invoice: the file's order counts."""
        for chunk in chunks(entries, items_max=BATCH_ITEMS):
            requests = [entry.content for entry in chunk if entry.content is not None]
            blues = frozenset(request.selection.blue_number for request in requests)
            while len(self._open) == IN_FLIGHT or any(blues & one.blues for one in self._open):
                await self._settle(progress)
            task = asyncio.create_task(self._issue(requests))
            self._open.append(_Open(chunk, blues, self._source.position(), task))
        while self._open:
            await self._settle(progress)

    async def _settle(self, progress: ItemProgress) -> None:
        """Waits for the oldest chunk and writes down what became of it."""
        oldest = self._open[0]
        answer = await oldest.task
        self._open.popleft()
        self.tally.write(oldest.chunk, answer, _record)
        progress.moved(position=oldest.position, items=self.tally.items, rate=self.tally.rate)

    async def _issue(self, requests: Sequence[IssueRedInvoiceRequest]) -> Sequence[RedResult]:
        """Issues a batch; what is refused for a passing reason is sent again, with all that was asked behind it."""
        settled: list[RedResult] = []
        for attempt in range(ATTEMPTS_MAX):
            left = requests[len(settled) :]
            if not left:
                break
            results = await self._client.red_letter.issue_batch(left)
            errors = [error_of(result) for result in results]
            passing = next((place for place, error in enumerate(errors) if error and error.retryable), None)
            if passing is None or attempt == ATTEMPTS_MAX - 1:
                return [*settled, *results]
            settled += results[:passing]
            error = errors[passing]
            asked_ms = error.retry_delay_ms if error else 0
            await asyncio.sleep(BACKOFF_S * 2**attempt + asked_ms / 1_000)
        return settled


def _record(line: int, result: RedResult) -> dict[str, Any]:
    """As of an issued invoice, with the blue one; enough for `billow verify`."""
    return issued_record(line, result.red.issued) | {"blue_number": result.red.blue_number}

"""`billow issue FILE`: issues every invoice of a file once, however often it is interrupted."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from billow import AsyncClient, IssueInvoiceRequest, IssueResult

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .invoice_rows import COLUMNS, COLUMNS_HELP, invoice_entries
from .results import ResultsFile, issued_record
from .show import ItemProgress
from .sources import Entry, Source, open_source
from .tally import Chunk, Tally, chunks

BATCH_ITEMS = 500
IN_FLIGHT = 8


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
                run.tally.tell(as_json=connection.as_json)
    return Exit.REFUSED if out.done.refused else Exit.OK


@dataclass(slots=True)
class _Open:
    """A chunk that was sent, and how far reading had come then."""

    chunk: Chunk[IssueInvoiceRequest]
    position: int


class IssueRun:
    """One run over a file, from the first entry that is not in the results."""

    def __init__(
        self, *, client: AsyncClient, source: Source, out: ResultsFile, streams: int, quiet: bool = False
    ) -> None:
        self._client = client
        self._source = source
        self._streams = streams
        self._quiet = quiet
        self._open: deque[_Open] = deque()
        self.tally: Tally[IssueInvoiceRequest] = Tally(out=out)

    async def finish(self) -> None:
        """Issues all that is left. Raises BillowError when it cannot go on; the results file is good then, too."""
        tally = self.tally
        entries = tally.entries_left(lambda line: invoice_entries(self._source, first_line=line))
        with ItemProgress("issuing", total=self._source.size, shown=not self._quiet) as progress:
            batches = self._client.issue_batches(self._batches(entries), in_flight=IN_FLIGHT, streams=self._streams)
            async with aclosing(batches) as answers:
                async for answer in answers:
                    sent = self._open.popleft()
                    tally.write(sent.chunk, answer, _record)
                    progress.moved(position=sent.position, items=tally.items, rate=tally.rate)

    async def _batches(self, entries: Iterator[Entry[IssueInvoiceRequest]]) -> AsyncIterator[list[IssueInvoiceRequest]]:
        for chunk in chunks(entries, items_max=BATCH_ITEMS):
            self._open.append(_Open(chunk, self._source.position()))
            yield [entry.content for entry in chunk if entry.content is not None]
            await asyncio.sleep(0)  # reading never waits: let the answers in


def _record(line: int, result: IssueResult) -> dict[str, Any]:
    return issued_record(line, result.issued)

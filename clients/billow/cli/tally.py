"""What a run over a file knows of itself: where it goes on, what it has told, how much is done."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from billow import BillowError, IssueResult, RedResult, error_of

from .results import Done, ResultsFile, refused_record, unreadable_record
from .show import print_json, say
from .sources import Entry, UnusableFile

BATCH_BYTES = 4 * 1024 * 1024
TOLD_MAX = 10  # refusals told while running; all stand in the results file


class Request(Protocol):
    """What every request of a file has."""

    @property
    def seller_id(self) -> str:
        """The seller."""

    @property
    def request_id(self) -> str:
        """The caller's own number."""


Asked = TypeVar("Asked", bound=Request)
Answered = TypeVar("Answered", IssueResult, RedResult)
Chunk = list[Entry[Asked]]


class Tally(Generic[Asked]):
    """The results file of a run and what stands in it. ``out``: opened by the caller, who closes it."""

    def __init__(self, *, out: ResultsFile) -> None:
        self._out = out
        self._started_at = time.monotonic()
        self._skipped = self.items
        self._told = 0

    @property
    def done(self) -> Done:
        """What the results file holds."""
        return self._out.done

    @property
    def items(self) -> int:
        """Entries that have a result."""
        return self.done.issued + self.done.refused

    @property
    def rate(self) -> float:
        """Entries a second of this run."""
        return (self.items - self._skipped) / max(time.monotonic() - self._started_at, 0.001)

    def entries_left(self, entries: Callable[[int], Iterator[Entry[Asked]]]) -> Iterator[Entry[Asked]]:
        """The entries without a result; ``entries`` gives those from a line on. Raises UnusableFile."""
        last = self.done.last
        if last is None:
            return entries(1)
        left = entries(self.done.last_line)
        entry = next(left, None)
        if entry is None or entry.line != last["line"] or not _same(entry, last):
            raise UnusableFile(f"{self._out.path} is not about this file: line {last['line']} differs")
        return left

    def write(
        self, chunk: Chunk[Asked], answer: Sequence[Answered], record: Callable[[int, Answered], dict[str, Any]]
    ) -> None:
        """Writes the results of a chunk; ``answer`` has one for each entry that could be read.

        Raises the first BillowError that would pass: it is no verdict, so that entry and all behind it are left to
        the run that resumes.
        """
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
                records.append(record(entry.line, result))
                self.done.issued += 1
            elif error.retryable:
                stopped_by = error
                break
            else:
                records.append(refused_record(entry.line, request.seller_id, request.request_id, error))
                self._refused(entry.line, str(error))
        self._out.append(records)
        if stopped_by is not None:
            raise stopped_by

    def _refused(self, line: int, text: str) -> None:
        self.done.refused += 1
        self._told += 1
        if self._told <= TOLD_MAX:
            say(f"line {line}: {text}")
        elif self._told == TOLD_MAX + 1:
            say(f"further refusals stand in {self._out.path}")

    def tell(self, *, as_json: bool) -> None:
        """The summary, whole or partial."""
        seconds = time.monotonic() - self._started_at
        done = self.done
        if as_json:
            print_json(
                {
                    "issued": done.issued,
                    "refused": done.refused,
                    "already_done": self._skipped,
                    "seconds": round(seconds, 3),
                    "per_s": round(self.rate, 1),
                    "results": str(self._out.path),
                }
            )
            return
        before = f" ({self._skipped:,} of them before)" if self._skipped else ""
        say(
            f"{done.issued:,} issued, {done.refused:,} refused{before}; {seconds:.1f} s, {self.rate:,.0f}/s; "
            f"results in {self._out.path}"
        )


def chunks(entries: Iterator[Entry[Asked]], *, items_max: int) -> Iterator[Chunk[Asked]]:
    """Entries in batches of at most ``items_max`` entries and about BATCH_BYTES of the file."""
    chunk: Chunk[Asked] = []
    size = 0
    for entry in entries:
        if chunk and size + entry.size > BATCH_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += entry.size
        if len(chunk) == items_max:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _same(entry: Entry[Asked], record: dict[str, Any]) -> bool:
    request = entry.content
    if request is None:
        return "error" in record
    return (request.seller_id, request.request_id) == (record.get("seller_id"), record.get("request_id"))

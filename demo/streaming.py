"""Issuing and verifying everything through Envoy, with the SDK, timed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Final

import billow
from demo import records

BATCH_ITEMS: Final = 500
IN_FLIGHT: Final = 8  # batches
STREAMS: Final = 4  # more than server processes, so that all of them get some
ERRORS_SHOWN_MAX: Final = 5
CHINA: Final = timezone(timedelta(hours=8))  # where issue dates are taken

Advance = Callable[[int], None]


@dataclass(slots=True)
class Issuing:
    """What came of issuing. `replayed` of the `issued` had been issued by an earlier run; `elapsed_s` is wall time."""

    issued: int = 0
    replayed: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0


@dataclass(slots=True)
class Verifying:
    """What came of verifying, by outcome; `elapsed_s` is wall time."""

    outcomes: Counter[int] = field(default_factory=Counter)
    elapsed_s: float = 0.0

    @property
    def matched(self) -> int:
        """Invoices that exist and agree in every field."""
        return self.outcomes[billow.VERIFICATION_OUTCOME_MATCH]


async def issue(client: billow.AsyncClient, requests: Path, answers: Path, advance: Advance) -> Issuing:
    """Issues every prepared request and writes the answers to `answers`, in the same order; holds IN_FLIGHT batches.

    The answer of a request that failed is empty. Raises BillowError when no stream can be had.
    """
    done = Issuing()
    source = records.batches(records.read(requests, billow.IssueInvoiceRequest.FromString), BATCH_ITEMS)
    began = time.time()
    began_us = int(began * 1_000_000)
    with records.writing(answers) as write:
        async with aclosing(client.issue_batches(source, in_flight=IN_FLIGHT, streams=STREAMS)) as batches:
            async for results in batches:
                _note(done, results, began_us)
                for result in results:
                    write(result.issued)
                advance(len(results))
    done.elapsed_s = time.time() - began
    return done


def _note(done: Issuing, results: Sequence[billow.IssueResult], began_us: int) -> None:
    """Counts the results of a batch."""
    for result in results:
        if not result.HasField("issued"):
            done.failed += 1
            if len(done.errors) < ERRORS_SHOWN_MAX:
                done.errors.append(str(billow.error_of(result)))
            continue
        done.issued += 1
        stamp = result.issued.issue_time
        done.replayed += stamp.seconds * 1_000_000 + stamp.nanos // 1_000 < began_us


def checks(requests: Path, answers: Path) -> Iterator[billow.InvoiceCheck]:
    """Yields what the holder of each issued invoice would ask: number, date, totals, kind."""
    asked = records.read(requests, billow.IssueInvoiceRequest.FromString)
    answered = records.read(answers, billow.IssuedInvoice.FromString)
    for request, issued in zip(asked, answered, strict=True):
        if issued.number:
            day = datetime.fromtimestamp(issued.issue_time.seconds, UTC).astimezone(CHINA)
            yield billow.InvoiceCheck(
                number=issued.number,
                issue_date=day.year * 10_000 + day.month * 100 + day.day,
                gross_total_minor=issued.gross_total_minor,
                net_total_minor=issued.net_total_minor,
                kind=request.invoice.kind,
            )


async def verify(client: billow.AsyncClient, prepared: Path, advance: Advance) -> Verifying:
    """Verifies every prepared check; holds IN_FLIGHT batches. Raises BillowError when no stream can be had."""
    done = Verifying()
    source = records.batches(records.read(prepared, billow.InvoiceCheck.FromString), BATCH_ITEMS)
    began = time.time()
    async with aclosing(client.verify_batches(source, in_flight=IN_FLIGHT, streams=STREAMS)) as batches:
        async for results in batches:
            done.outcomes.update(result.outcome for result in results)
            advance(len(results))
    done.elapsed_s = time.time() - began
    return done

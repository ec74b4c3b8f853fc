"""One caller of Billow: it notes what it wants, asks through the SDK, and notes what it was told.

Calls go through the published client with its own repeats, for as long as their deadline of 30 s lasts; nothing else
is done to make them succeed. Some clients repeat nothing: what they see is what the edge and the servers make of a
fault. Their streams, which nobody but a client can take up again, and the replays at the end do repeat.
Every method returns when its call has ended and raises nothing but CancelledError.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import billow
from billow.types.v1 import invoice_pb2
from core.domain.verification import date_of
from tests.chaos import orders
from tests.chaos.ledger import CANCELLED, REPLAY, Ledger
from tests.chaos.orders import Order

DEADLINE_S: Final = 30.0
KNOWN_MAX: Final = 20_000  # invoices a client remembers to ask about
# a caller that means to get its answer inside its deadline: pauses of at most a second, no early giving up
PATIENT: Final = billow.RetryPolicy(
    attempts_max=100, stream_attempts_max=200, backoff_max_ms=1_000, budget_tokens=100_000
)
ONCE: Final = billow.RetryPolicy(attempts_max=1)
PATIENT_TIMEOUTS: Final = billow.Timeouts(call_s=DEADLINE_S, batch_s=DEADLINE_S, answer_s=DEADLINE_S)


@dataclass(frozen=True, slots=True)
class Known:
    """An issued invoice, as its caller knows it."""

    number: str
    seller: str
    date: int
    gross: int


@dataclass(slots=True)
class Names:
    """A tenant's sellers, each with the counter of its request ids."""

    tenant: str
    sellers: Sequence[str]
    buyer: str  # the taxpayer id whose books this tenant keeps
    serials: dict[str, int] = field(default_factory=dict)

    def next(self, seller: str) -> str:
        """A new request id."""
        self.serials[seller] = self.serials.get(seller, 0) + 1
        return f"{seller} {self.serials[seller]}"


class Client:
    """A tenant's client with its ledger. Belongs to one event loop. `once`: makes the calls that are not repeated."""

    def __init__(
        self,
        *,
        seed: int,
        names: Names,
        sdk: billow.AsyncClient,
        ledger: Ledger,
        choose: random.Random,
        once: billow.AsyncClient | None = None,
    ) -> None:
        self.names = names
        self.ledger = ledger
        self.known: list[Known] = []
        self.received: list[str] = []  # issued to this tenant's own buyer, and not yet entered
        self._seed = seed
        self._sdk = sdk
        self._once = once
        self._choose = choose

    # --- issuing --------------------------------------------------------------------------------------------------

    def new_order(self, seller: str, *, buyer: str = "") -> Order:
        """The next order of a seller."""
        return self.order(seller, self.names.next(seller), buyer=buyer)

    def order(self, seller: str, request_id: str, *, buyer: str = "", variant: int = 0) -> Order:
        """The order of a request id."""
        return orders.order(self._seed, seller_id=seller, request_id=request_id, buyer=buyer, variant=variant)

    async def issue(
        self, order: Order, *, mode: str = "first", timeout_s: float = DEADLINE_S, keep: bool = True
    ) -> str:
        """Issues one invoice by a single call; returns its number, "" when there was no such answer.

        `keep`: it may be red-lettered later; what is entered into books may not, without the buyer's word.
        """
        seller = order.request.seller_id
        sdk, items = self._intend([order.wish(seller=self._full(seller), mode=mode)])
        issued: list[invoice_pb2.IssuedInvoice] = []

        async def ask() -> list[dict[str, Any]]:
            issued.append(await sdk.issue(order.request, timeout_s=timeout_s))
            return [orders.issued_answer(issued[0], issued[0])]

        await self._noted(items, ask)
        if keep and issued:
            self._remember(seller, issued[0])
        return issued[0].number if issued else ""

    async def issue_many(self, wanted: Sequence[Order], *, mode: str = "bulk", streams: int = 0) -> None:
        """Issues invoices by one batch, or by as many streams."""
        wishes = [order.wish(seller=self._full(order.request.seller_id), mode=mode) for order in wanted]
        sdk, items = self._intend(wishes, streamed=bool(streams))
        requests = [order.request for order in wanted]

        async def ask() -> list[dict[str, Any]]:
            if not streams:
                results = list(await sdk.issue_batch(requests))
            else:
                source = sdk.issue_stream(requests, batch_items=25, streams=streams)
                async with asyncio.timeout(DEADLINE_S), contextlib.aclosing(source) as stream:
                    results = [result async for result in stream]
            for order, result in zip(wanted, results, strict=True):
                if result.HasField("issued"):
                    self._remember(order.request.seller_id, result.issued)
            return [_issue_result(result) for result in results]

        await self._noted(items, ask)

    async def redden(self, known: Known, *, mode: str = "first") -> None:
        """Takes an invoice back in whole."""
        request = orders.red_request(seller_id=known.seller, number=known.number)
        wish = {
            "op": "red",
            "mode": mode,
            "seller": self._full(known.seller),
            "request": request.request_id,
            "gross": -known.gross,
            "number": known.number,
        }
        sdk, items = self._intend([wish])

        async def ask() -> list[dict[str, Any]]:
            answer = await sdk.red_letter.issue(request)
            return [orders.issued_answer(answer.issued, answer)]

        await self._noted(items, ask)

    # --- the buyer ------------------------------------------------------------------------------------------------

    async def enter(self, numbers: Sequence[str], *, mode: str = "first") -> None:
        """Enters invoices issued to this tenant's buyer."""
        wishes = [
            {"op": "enter", "mode": mode, "request": orders.ENTER_PREFIX + number, "number": number}
            for number in numbers
        ]
        sdk, items = self._intend(wishes)
        requests = [orders.entry_request(number=number) for number in numbers]

        async def ask() -> list[dict[str, Any]]:
            return [_entry_result(result) for result in await sdk.entries.enter(requests)]

        await self._noted(items, ask)

    # --- asking ---------------------------------------------------------------------------------------------------

    async def verify(self, asked: Sequence[Known], *, mode: str = "first", off: int = 0) -> None:
        """Checks invoices, one by a single call, several by a batch; `off` is added to every total."""
        wishes = [{"op": "verify", "mode": mode, "number": known.number, "gross": known.gross + off} for known in asked]
        sdk, items = self._intend(wishes)
        checks = [
            billow.InvoiceCheck(number=known.number, issue_date=known.date, gross_total_minor=known.gross + off)
            for known in asked
        ]

        async def ask() -> list[dict[str, Any]]:
            many = len(checks) > 1
            results = await sdk.verify_batch(checks) if many else [await sdk.verify(checks[0])]
            return [
                {"what": "ok", "outcome": result.outcome, "state": result.state, "red": result.red_total_minor}
                for result in results
            ]

        await self._noted(items, ask)

    async def get(self, known: Known) -> None:
        """Reads an invoice."""
        sdk, items = self._intend([{"op": "get", "number": known.number, "gross": known.gross}])

        async def ask() -> list[dict[str, Any]]:
            answer = await sdk.get(known.number)
            found = {
                "what": "ok",
                "number": answer.issued.number,
                "gross": answer.invoice.gross_total_minor,
                "digest": orders.sha(answer.invoice),
                "answer": answer.issued.body_sha256.hex(),
                "state": answer.state,
                "red": answer.red_total_minor,
            }
            return [found]

        await self._noted(items, ask)

    def _intend(
        self, wishes: Sequence[dict[str, Any]], *, streamed: bool = False
    ) -> tuple[billow.AsyncClient, list[int]]:
        """Notes the items of one call; returns who makes it and their numbers."""
        if self._once is None or streamed or wishes[0].get("mode") == REPLAY:
            return self._sdk, self.ledger.intend(wishes)
        return self._once, self.ledger.intend([{**wish, "once": True} for wish in wishes])

    async def _noted(self, items: Sequence[int], ask: Callable[[], Awaitable[list[dict[str, Any]]]]) -> None:
        """Makes a call and notes how each of its items ended, whatever happens."""
        try:
            answers = await ask()
        except billow.BillowError as error:
            answers = [orders.error_answer(error)] * len(items)
        except TimeoutError:
            answers = [{"what": "DEADLINE_EXCEEDED"}] * len(items)
        except asyncio.CancelledError:
            self.ledger.note(items, [{"what": CANCELLED}] * len(items))
            raise
        self.ledger.note(items, answers)

    # --- what it knows --------------------------------------------------------------------------------------------

    def pick(self, count: int = 1) -> list[Known]:
        """Some invoices it knows, the newest more often: those are what caches and replicas get wrong."""
        if not self.known:
            return []
        recent = max(0, len(self.known) - 50)
        picks = [self._choose.randrange(self._choose.choice((0, recent)), len(self.known)) for _ in range(count)]
        return [self.known[place] for place in picks]

    def take_for_red(self) -> Known | None:
        """An invoice to take back, at most once each."""
        if len(self.known) < 20:
            return None
        return self.known[self._choose.randrange(len(self.known))]

    def beyond(self) -> Iterator[Known]:
        """Numbers that are not issued yet, or never will be."""
        for known in self.pick():
            number = int(known.number) + self._choose.choice((1, 2, 50, 10**6))
            yield Known(f"{number:020d}", known.seller, known.date, known.gross)

    def _remember(self, seller: str, issued: invoice_pb2.IssuedInvoice) -> None:
        """Keeps an issued invoice in mind, in place of an old one when there are too many."""
        at_us = issued.issue_time.ToMicroseconds()
        known = Known(issued.number, seller, date_of(at_us), issued.gross_total_minor)
        if len(self.known) < KNOWN_MAX:
            self.known.append(known)
        else:
            self.known[self._choose.randrange(KNOWN_MAX // 2)] = known

    def _full(self, seller: str) -> str:
        return f"{self.names.tenant}/{seller}"


def _issue_result(result: billow.IssueResult) -> dict[str, Any]:
    error = billow.error_of(result)
    return orders.issued_answer(result.issued, result.issued) if error is None else orders.error_answer(error)


def _entry_result(result: billow.EntryResult) -> dict[str, Any]:
    error = billow.error_of(result)
    if error is not None:
        return orders.error_answer(error)
    return {"what": "ok", "number": result.entry.number, "answer": orders.sha(result.entry)}

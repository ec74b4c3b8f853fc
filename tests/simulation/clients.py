"""Clients with ledgers: they issue, repeat, leave, issue twice at once, red-letter, verify; every answer is noted."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from billow.types.v1.invoice_pb2 import Invoice
from core.domain import verification
from core.domain.errors import BillowError, Reason
from core.domain.kinds import InvoiceColor
from core.domain.red_letter import BlueLine, LineWish, RedExtent, Sums, Wish, decide
from core.storage.ports import Answer, Draft, Issued
from core.storage.red_letter_port import RedDraft, RedShape
from tests.simulation.loop import ConnectionLost
from tests.simulation.machines import GaveUp, Server
from tests.simulation.world import KIND, SELLERS, START, Broken, World

NET, TAX = 10_000, 1_300
UNKNOWN = (Reason.STORAGE_UNAVAILABLE, Reason.INTERNAL)  # it may have been done
REFUSED = (Reason.OVERLOADED, Reason.SHUTTING_DOWN, Reason.DEADLINE_EXCEEDED)  # it was not (P9)
TRIES_MAX = 60


@dataclass(slots=True)
class Attempt:
    """One try of a request and what came of it; None: nobody knows."""

    draft: Draft | RedDraft
    answer: Answer | None = None


@dataclass(slots=True)
class Ledger:
    """What all clients know."""

    attempts: dict[tuple[int, str], list[Attempt]] = field(default_factory=dict)
    drafts: list[Draft] = field(default_factory=list)
    reds: list[RedDraft] = field(default_factory=list)
    acked: dict[str, Issued] = field(default_factory=dict)  # by number
    acked_at_s: dict[str, float] = field(default_factory=dict)
    red_acked: dict[str, int] = field(default_factory=dict)  # blue number -> what acknowledged reds took, minor units
    answers: int = 0

    def begin(self, draft: Draft | RedDraft) -> Attempt:
        """Notes that a try begins."""
        attempt = Attempt(draft)
        self.attempts.setdefault((draft.seller_key, draft.request_id), []).append(attempt)
        return attempt

    def settled(self, draft: Draft | RedDraft) -> bool:
        """Whether this very request has an answer that a repetition cannot change."""
        return any(
            attempt.draft.request_sha256 == draft.request_sha256 and final(attempt.answer)
            for attempt in self.attempts[draft.seller_key, draft.request_id]
        )


def final(answer: Answer | None) -> bool:
    """Whether a repetition gets the same answer."""
    return isinstance(answer, Issued) or (answer is not None and answer.reason not in (*UNKNOWN, *REFUSED))


class Client:
    """One client; `servers` are reached through a balancer that picks any."""

    def __init__(self, world: World, name: str, servers: Sequence[Server], ledger: Ledger) -> None:
        self._world = world
        self._name = name
        self._servers = servers
        self._ledger = ledger
        self._serial = 0

    async def work(self, operations: int) -> None:
        """Does so many things, one after another."""
        choice = self._world.choice
        kinds = (self._new, self._crowd, self._batch, self._twice, self._again, self._reused, self._red, self._verify)
        for _ in range(operations):
            await choice.choice(kinds)()
            await asyncio.sleep(choice.uniform(0, 0.05))

    async def finish(self, drafts: Sequence[Draft], reds: Sequence[RedDraft]) -> None:
        """Repeats requests until each has its answer."""
        wanted: list[Draft | RedDraft] = [*drafts, *reds]
        for draft in wanted:
            for _ in range(TRIES_MAX):
                if self._ledger.settled(draft):
                    break
                await (self._issue(draft) if isinstance(draft, Draft) else self._issue_red(draft))
                await asyncio.sleep(0.05)
            else:
                raise Broken("P9", f"{draft.request_id} gets no answer though all works")

    async def verify_all(self) -> None:
        """Verifies everything that was acknowledged, and a number that was not issued."""
        for number in (*self._ledger.acked, f"{START + 999:020d}"):
            await self._check(number)

    # --- what it does ---------------------------------------------------------------------------------------------
    def _draft(self) -> Draft:
        self._serial += 1
        return make_draft(self._world.choice.choice(SELLERS), f"{self._name}-{self._serial}")

    async def _new(self) -> None:
        draft = self._draft()
        self._ledger.drafts.append(draft)
        await self._issue(draft)

    async def _crowd(self) -> None:
        drafts = [self._draft() for _ in range(self._world.choice.randint(2, 6))]
        self._ledger.drafts += drafts
        await asyncio.gather(*map(self._issue, drafts))

    async def _again(self) -> None:
        if self._ledger.drafts:
            await self._issue(self._world.choice.choice(self._ledger.drafts))

    async def _reused(self) -> None:
        if self._ledger.drafts:
            await self._issue(other_body(self._world.choice.choice(self._ledger.drafts)))

    async def _twice(self) -> None:
        draft = self._draft()
        self._ledger.drafts.append(draft)
        second = other_body(draft) if self._world.choice.random() < 0.3 else draft
        await asyncio.gather(self._issue(draft), self._issue(second))

    async def _batch(self) -> None:
        choice, known = self._world.choice, self._ledger.drafts
        drafts = [
            choice.choice(known) if known and choice.random() < 0.3 else self._draft()
            for _ in range(choice.randint(1, 5))
        ]
        known += [draft for draft in drafts if draft not in known]
        attempts = [self._ledger.begin(draft) for draft in drafts]
        server, patience_s = self._way()

        async def work() -> list[Answer]:
            tenant_key, until_s = drafts[0].seller_key, None if patience_s is None else server.now_s() + patience_s / 4
            with server.issuing.room_for_batch(len(drafts), tenant_key=tenant_key, deadline_s=until_s) as place:
                return await server.issuing.issue_batch(drafts, place)

        try:
            answers = await server.call(work, patience_s)
        except (BillowError, TimeoutError, ConnectionLost, GaveUp) as error:
            for attempt in attempts:
                self._note(attempt, error)
            return
        for attempt, answer in zip(attempts, answers, strict=True):
            self._note(attempt, answer)

    async def _red(self) -> None:
        if not self._ledger.acked:
            return
        choice = self._world.choice
        blues = [one for one in self._ledger.acked.values() if one.color == InvoiceColor.BLUE]
        if self._ledger.reds and choice.random() < 0.3:
            draft = choice.choice(self._ledger.reds)
        elif blues:
            self._serial += 1
            gross = choice.choice((1_000, 4_000, 6_000, NET + TAX))
            draft = make_red(choice.choice(blues), f"{self._name}-red-{self._serial}", gross)
            self._ledger.reds.append(draft)
        else:
            return
        await self._issue_red(draft)

    async def _verify(self) -> None:
        choice = self._world.choice
        if self._ledger.acked and choice.random() < 0.7:
            await self._check(choice.choice(list(self._ledger.acked)))
        else:
            place = choice.choice((0, 10**9, 10**6))
            await self._check(f"{START + choice.choice(SELLERS) * 10**12 + place + choice.randrange(30):020d}")

    # --- how it does it -------------------------------------------------------------------------------------------
    def _way(self) -> tuple[Server, float | None]:
        return self._world.choice.choice(self._servers), self._world.faults.patience_s()

    async def _issue(self, draft: Draft) -> None:
        """One single call; its deadline is before its client leaves, so that the answer is seen."""
        attempt = self._ledger.begin(draft)
        server, patience_s = self._way()

        async def work() -> Issued:
            until_s = None if patience_s is None else server.now_s() + patience_s / 4
            with server.issuing.room_for_one(tenant_key=draft.seller_key, deadline_s=until_s) as place:
                return await server.issuing.issue_one(lambda: draft, place, lines=1)

        try:
            self._note(attempt, await server.call(work, patience_s))
        except (BillowError, TimeoutError, ConnectionLost, GaveUp) as error:
            self._note(attempt, error)

    async def _issue_red(self, draft: RedDraft) -> None:
        attempt = self._ledger.begin(draft)
        server, patience_s = self._way()
        try:
            (answer,) = await server.call(lambda: server.reds.issue((draft,)), patience_s)
        except (BillowError, TimeoutError, ConnectionLost, GaveUp) as error:
            self._note(attempt, error)
            return
        known = isinstance(answer, Issued) and answer.number in self._ledger.acked
        self._note(attempt, answer)
        if isinstance(answer, Issued) and not known:
            taken = self._ledger.red_acked.get(draft.blue_number, 0) - answer.gross_total_minor
            self._ledger.red_acked[draft.blue_number] = taken

    def _note(self, attempt: Attempt, answer: Issued | Exception) -> None:
        """Writes an answer into the ledger, and breaks off at once where it cannot be right."""
        draft, ledger = attempt.draft, self._ledger
        ledger.answers += 1
        said = answer.number if isinstance(answer, Issued) else f"{type(answer).__name__} {answer}"
        self._world.note(f"{self._name} {draft.request_id}: {said}")
        if isinstance(answer, TimeoutError):
            raise Broken("P9", f"{draft.request_id} was accepted and nobody answered it")
        if isinstance(answer, BillowError) and answer.reason is Reason.INTERNAL:
            raise Broken("P9", f"{draft.request_id}: an unexpected fault, {answer}")
        attempt.answer = answer if isinstance(answer, Issued | BillowError) else None
        if isinstance(answer, Issued):
            if answer.request_sha256 != draft.request_sha256 or answer.request_id != draft.request_id:
                raise Broken("P2", f"{draft.request_id} was answered with another one's invoice {answer.number}")
            for other in ledger.attempts[draft.seller_key, draft.request_id]:
                if isinstance(other.answer, Issued) and other.answer != answer:
                    raise Broken("P2", f"{draft.request_id}: {other.answer.number}, then {answer.number}")
            ledger.acked.setdefault(answer.number, answer)
            ledger.acked_at_s.setdefault(answer.number, self._world.loop.time())

    async def _check(self, number: str) -> None:
        """Verifies a number, and breaks off when the result is wrong (P7)."""
        world, ledger = self._world, self._ledger
        server = world.choice.choice(self._servers)
        acked, began_s = ledger.acked.get(number), world.loop.time()
        acked_at_s, reds_before = ledger.acked_at_s.get(number), ledger.red_acked.get(number, 0)
        strict = not world.cache_disturbed or not world.faults.on
        gross = acked.gross_total_minor if acked else NET + TAX
        check = Check(number, verification.date_of(acked.issued_at_us) if acked else 20260101, gross)
        try:
            outcome, _, red_total = await server.call(lambda: server.verification.verify(check))
        except (BillowError, ConnectionLost) as error:
            world.note(f"{self._name} verifies {number[-12:]}: {error}")
            return
        world.note(f"{self._name} verifies {number[-12:]}: {verification.Outcome(outcome).name} {red_total}")
        row = world.tables.invoices.get(number)
        if outcome != verification.Outcome.NOT_FOUND and row is None:
            raise Broken("P7", f"{number} was found and does not exist")
        if acked is None:
            return
        if outcome == verification.Outcome.NOT_FOUND:
            assert acked_at_s is not None
            told_s = server.primary.absent.get(number, -9.0)
            if began_s > told_s + 1.0:
                raise Broken(
                    "P7", f"{number} was acknowledged at {acked_at_s:.3f} s and is not found at {began_s:.3f} s"
                )
        elif outcome != verification.Outcome.MATCH:
            raise Broken("P7", f"{number} is as it was issued, and said to be {outcome}")
        elif strict and -red_total < reds_before:
            raise Broken("P7", f"{number}: {reds_before} was red at {began_s:.3f} s, verification knew of {-red_total}")
        elif row is not None and red_total < row.red_total_minor:
            raise Broken("P7", f"{number}: verification knew of {-red_total} red, of {-row.red_total_minor}")


@dataclass(frozen=True, slots=True)
class Check:
    """What is read off an invoice."""

    number: str
    issue_date: int
    gross_total_minor: int
    net_total_minor: int = 0
    seller_tax_id: str = ""
    buyer_tax_id: str = ""
    kind: int = 0

    def HasField(self, name: str, /) -> bool:  # noqa: N802 (protobuf's name)
        """Number, date and total are there."""
        return name == "gross_total_minor"


def make_draft(seller_key: int, request_id: str, remark: str = "") -> Draft:
    """A small invoice of 113.00."""
    prepared = Invoice(kind=KIND, remark=remark or request_id).SerializeToString()  # type: ignore[arg-type]
    return Draft(seller_key, KIND, request_id, hashlib.sha256(prepared).digest(), NET, TAX, NET + TAX, "", prepared)


def other_body(draft: Draft) -> Draft:
    """The same request id with another body."""
    return make_draft(draft.seller_key, draft.request_id, f"another {draft.request_id}")


def make_red(blue: Issued, request_id: str, gross: int) -> RedDraft:
    """A wish for a red invoice of so much of a blue one."""
    wish = Wish(int(RedExtent.LINES), (LineWish(0, gross=gross),))
    line = BlueLine(1, "2", "50.00", NET, TAX)
    sha256 = hashlib.sha256(f"{blue.number} {gross}".encode()).digest()

    def shape(sums: Sums) -> RedShape:
        parts = decide(blue.number, (line,), sums, wish, gross_prices=False)
        net, tax = sum(part.net for part in parts), sum(part.tax for part in parts)
        draft = make_draft(blue.seller_key, request_id)
        red = replace(
            draft, request_sha256=sha256, net_total_minor=-net, tax_total_minor=-tax, gross_total_minor=-net - tax
        )
        return RedShape(parts, red)

    return RedDraft(blue.seller_key, KIND, request_id, sha256, blue.number, "", b"", 1_000, shape)

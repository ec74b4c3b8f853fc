"""Lanes: invoices that arrive while others are being committed are committed together.

A lane has a bounded queue and LANE_COMMITS_MAX committers. A committer takes whatever has gathered, from the tenants
in turn, up to COMMIT_ITEMS_MAX items and COMMIT_BYTES_MAX bytes, and sees it through. A lone invoice goes at once. When
others came meanwhile, the committer rests as long as its last small commit took, and the interactive lane's until as
many wait as it had, so that a crowd goes together: most of what a small commit costs is the commit's (docs/adr/0037).
A single call's draft is made when it is taken, with its crowd's: one after the other they cost 20 µs each, and 35 if
each were made at its arrival (docs/adr/0048).
From the moment an item is taken into a commit it belongs to the lane: a caller that goes away ends its waiting, never
the writing. Before that moment it has no number, and is dropped when nobody waits for it any more. Two lanes,
interactive and bulk, keep a flood of batches from delaying single calls; while single calls come, the bulk lane also
commits less at once, since both need the same number ranges: what COMMIT_BESIDE_MS allow, by how long its last commits
took. What a lane takes on is decided by server/admission.py, before validation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from core import limits
from core.domain.errors import BillowError, Reason
from core.storage.allocation import answer_known
from core.storage.ports import Answer, Draft, IssueCache, Issued, IssuingStore, MakeDraft
from server.admission import Admission, Place, retry_delay_ms
from server.commit_size import CommitSize
from server.fair_queue import FairQueue
from server.overdue import Overdue

LOG = logging.getLogger(__name__)

USED_S = 1.0  # a lane with work within this counts as in use


class LaneMetrics(Protocol):
    """What a lane reports of itself."""

    def committed(self, lane: str, items: int, duration_s: float) -> None:
        """One commit of `items` invoices is done."""

    def queue(self, lane: str, items: Callable[[], int]) -> None:
        """A lane begins; `items` tells how many are waiting or under way."""

    def replayed(self, lane: str, items: int) -> None:
        """So many items were answered with what had been issued before."""


class _Group:
    """The items of one call: its answers gather here until all are there.

    `make`: makes its only draft, of so many `lines`, later.
    """

    __slots__ = ("answers", "deadline_s", "drafts", "lines", "make", "missing", "taken", "tenant_key", "waiter")

    def __init__(
        self,
        drafts: Sequence[Draft],
        waiter: asyncio.Future[list[Answer]],
        place: Place,
        make: MakeDraft | None = None,
        lines: int = 0,
    ) -> None:
        self.drafts = drafts
        self.make = make
        self.lines = lines
        self.tenant_key = place.tenant_key
        self.deadline_s = place.deadline_s
        self.taken = 0  # how many of the drafts are in commits
        self.missing = len(drafts) if make is None else 1
        self.answers: list[Answer] = [_UNANSWERED] * self.missing
        self.waiter = waiter

    def complete(self, make: MakeDraft) -> bool:
        """Makes the draft that is still to be made; False when the call has an error for its answer instead."""
        self.make = None
        try:
            made = make()
        except Exception as error:  # noqa: BLE001 (a fault of ours ends its own call, not its crowd's)
            self.waiter.set_exception(error)
            return False
        if isinstance(made, BillowError):
            self.answer(0, (made,))
            return False
        self.drafts = (made,)
        return True

    def answer(self, start: int, answers: Sequence[Answer]) -> None:
        """Notes the answers of a slice and wakes the waiter after the last."""
        self.answers[start : start + len(answers)] = answers
        self.missing -= len(answers)
        if not self.missing and not self.waiter.done():
            self.waiter.set_result(self.answers)

    def given_up(self, now_s: float) -> bool:
        """Whether nobody waits for its answers any more."""
        return self.waiter.done() or (self.deadline_s is not None and now_s >= self.deadline_s)


_UNANSWERED = BillowError(Reason.INTERNAL, "not answered")


class Lane:
    """A bounded queue of drafts with committers that write them in batches, fair to the tenants.

    `wait_max_ms`: how long an answer is waited for. `remembers`: whether the cache keeps its answers and is asked for
    them first, which is for single calls; a batch that comes again is known to the primary (docs/adr/0049). `beside`:
    the lane during whose use this one commits less at once. `crowds`: whether it waits, after a small commit, for as
    many as that had; the lane of batches does not (docs/adr/0037).
    """

    def __init__(
        self,
        *,
        name: str,
        store: IssuingStore,
        cache: IssueCache,
        seller_tax_ids: Callable[[Sequence[int]], Mapping[int, str]],
        metrics: LaneMetrics,
        wait_max_ms: int,
        remembers: bool = True,
        beside: Lane | None = None,
        crowds: bool = True,
        commits_max: int = limits.LANE_COMMITS_MAX,
        admission: Admission | None = None,
    ) -> None:
        self.name = name
        self._store = store
        self._cache = cache
        self._seller_tax_ids = seller_tax_ids
        self._metrics = metrics
        self._remembers = remembers
        self._beside = beside
        self._size_beside = CommitSize()
        self._crowds = crowds
        self._admission = admission = admission or Admission(lane=name)
        metrics.queue(name, lambda: admission.items)
        self._used_at_s = -USED_S
        self._overdue = Overdue(wait_max_s=wait_max_ms / 1_000)
        self._queue: FairQueue[_Group] = FairQueue(quantum=limits.TURN_ITEMS)
        self._arrived = asyncio.Semaphore(0)
        self._resting: list[tuple[int, asyncio.Future[None]]] = []  # committers, and for how many they wait
        self._closed = False
        self._committers = [asyncio.create_task(self._run(), name=f"{name}-{slot}") for slot in range(commits_max)]

    def admit(self, items: int, *, tenant_key: int = 0, deadline_s: float | None = None) -> Place:
        """Takes room for items of a tenant before they are made; no I/O.

        `deadline_s`: until when their caller waits, on the clock of the admission. Raises OVERLOADED with a retry
        delay and the lane's name when it does not take them (server/admission.py), SHUTTING_DOWN once it is closed.
        """
        self._require_open()
        self._used_at_s = asyncio.get_running_loop().time()
        return self._admission.admit(items, tenant_key=tenant_key, deadline_s=deadline_s)

    def require_room(self, *, tenant_key: int, deadline_s: float | None, count: Callable[[], int]) -> None:
        """Raises what `admit` would raise for a single item, and takes nothing; no I/O.

        `count` is asked when it does: how many items are refused with it.
        """
        self._require_open()
        self._admission.require_room(1, tenant_key=tenant_key, deadline_s=deadline_s, count=count)

    def _require_open(self) -> None:
        if self._closed:
            raise BillowError(Reason.SHUTTING_DOWN, "this server is stopping", retry_delay_ms=retry_delay_ms(0))

    async def issue(self, drafts: Sequence[Draft], place: Place | None = None) -> list[Answer]:
        """Issues the drafts with whatever else is waiting; answers in their order.

        `place`: the room taken for them, which is used up; without it, room is taken now, with the errors of `admit`.
        Cancelling the call leaves going on what is in a commit, and drops the rest, and so does the TimeoutError after
        `wait_max_ms`. What is still queued when the caller's deadline passes is answered DEADLINE_EXCEEDED and has no
        number.
        """
        if not drafts:
            return []
        if place is None:
            place = self.admit(len(drafts))
        else:
            self._require_open()
        place.items -= len(drafts)
        return await self._queued(_Group(drafts, asyncio.get_running_loop().create_future(), place))

    async def issue_one(self, make: MakeDraft, place: Place, *, lines: int) -> Answer:
        """Issues what `make` makes once its commit begins; what is an error then is the answer. See `issue`.

        `make` does no I/O and takes some µs for each of `lines`; when it raises, so does this.
        """
        self._require_open()
        place.items -= 1
        (answer,) = await self._queued(_Group((), asyncio.get_running_loop().create_future(), place, make, lines))
        return answer

    async def _queued(self, group: _Group) -> list[Answer]:
        """Puts a group into the queue and waits for its answers."""
        if not self._queue:
            self._arrived.release()  # one wakes a committer, which takes them all or wakes the next
        self._queue.push(group.tenant_key, group)
        if self._resting:
            self._end_rests()
        return await self._overdue.wait(group.waiter)

    async def close(self) -> None:
        """Refuses new work, finishes what was accepted, and ends the committers."""
        self._closed = True
        self._end_rests()
        for _ in self._committers:
            self._arrived.release()
        await asyncio.gather(*self._committers)
        self._overdue.close()

    async def _run(self) -> None:
        """One committer: takes what has gathered and sees it through, until the lane is closed and empty."""
        while True:
            await self._arrived.acquire()
            slices = self._take()
            if slices:
                began_s = asyncio.get_running_loop().time()
                await self._see_through(slices)
                await self._rest(slices, began_s)
            elif self._queue:
                await asyncio.sleep(0)  # all that was taken came out as errors; others may go in between
            elif self._closed:
                return

    async def _rest(self, slices: Sequence[tuple[_Group, int, int]], began_s: float) -> None:
        """After a small commit, lets more gather: as long as it took, and in a lane of crowds for as many as it had."""
        items = sum(end - start for _, start, end in slices)
        if self._closed or items >= (limits.CROWD_ITEMS_MAX if self._crowds else limits.REST_ITEMS_MAX):
            return
        took_s = min(asyncio.get_running_loop().time() - began_s, limits.REST_MS_MAX / 1_000)
        rest_s = min(limits.REST_TIMES * took_s, limits.REST_MS_MAX / 1_000)
        if self._queue:
            await asyncio.sleep(took_s)
            rest_s -= took_s
        elif items < limits.CROWD_ITEMS_MIN:
            return
        if self._crowds and rest_s > 0 and not self._closed and self._admission.items < items:
            await self._gather(items, rest_s)

    async def _gather(self, items: int, wait_s: float) -> None:
        """Waits until so many items are in the lane, for so long at most."""
        loop = asyncio.get_running_loop()
        resting = (items, loop.create_future())
        timer = loop.call_later(wait_s, _end, resting[1])
        self._resting.append(resting)
        try:
            await resting[1]
        finally:
            timer.cancel()
            self._resting.remove(resting)

    def _end_rests(self) -> None:
        """Ends the rests for which enough have come, and all once the lane is closed."""
        for items, gathered in self._resting:
            if self._closed or self._admission.items >= items:
                _end(gathered)

    def used_lately(self) -> bool:
        """Tells whether anything came within the last USED_S."""
        return asyncio.get_running_loop().time() - self._used_at_s < USED_S

    def _commit_items_max(self) -> int:
        """How many items a commit may take now."""
        if self._beside is not None and self._beside.used_lately():
            return self._size_beside.items()
        return limits.COMMIT_ITEMS_MAX

    def _take(self) -> list[tuple[_Group, int, int]]:
        """Takes the next drafts off the queue, as (group, from, to); a large group may be cut.

        Makes those of single calls, about 20 µs each for three lines, until MADE_LINES_MAX are reached.
        """
        slices: list[tuple[_Group, int, int]] = []
        items_max = self._commit_items_max()
        now_s = self._admission.clock()
        items = lines = size = 0
        while self._queue and items < items_max and lines < limits.MADE_LINES_MAX and size <= limits.COMMIT_BYTES_MAX:
            group = self._queue.first()
            if group.given_up(now_s):
                self._drop(group)
                self._queue.spend(0, done=True)
                continue
            if group.make is not None:
                lines += max(1, group.lines)
                if not group.complete(group.make):
                    self._admission.answered(group.tenant_key, 1)
                    self._queue.spend(1, done=True)
                    continue
            start = end = group.taken
            for draft in group.drafts[start : start + self._queue.allowance(items_max - items)]:
                size += len(draft.prepared)
                if size > limits.COMMIT_BYTES_MAX and (items or end > start):
                    break
                end += 1
            if end > start:
                slices.append((group, start, end))
            items += end - start
            group.taken = end
            self._queue.spend(end - start, done=end == len(group.drafts))
        if self._queue:
            self._arrived.release()
        return slices

    def _drop(self, group: _Group) -> None:
        """Answers what is left of a group for which nobody waits any more: it has no numbers and gets none."""
        left = len(group.answers) - group.taken
        words = "the deadline passed before it was issued"
        group.answer(group.taken, [BillowError(Reason.DEADLINE_EXCEEDED, words)] * left)
        self._admission.answered(group.tenant_key, left)
        self._admission.metrics.dropped(self.name, left)

    async def _see_through(self, slices: Sequence[tuple[_Group, int, int]]) -> None:
        """Commits the slices and answers every one of them, whatever happens."""
        drafts = [draft for group, start, end in slices for draft in group.drafts[start:end]]
        loop = asyncio.get_running_loop()
        began = loop.time()
        fresh: list[Issued] = []
        answers: Sequence[Answer]
        try:
            answers, fresh = await self._commit(drafts)
        except BillowError as error:
            answers = [error] * len(drafts)
        except Exception:
            LOG.exception("a commit failed", extra={"lane": self.name, "items": len(drafts)})
            answers = [BillowError(Reason.INTERNAL, "a fault inside Billow")] * len(drafts)
        position = 0
        for group, start, end in slices:
            group.answer(start, answers[position : position + end - start])
            self._admission.answered(group.tenant_key, end - start)
            position += end - start
        self._admission.committed(len(drafts))
        took_s = loop.time() - began
        self._size_beside.learn(len(drafts), took_s)
        self._metrics.committed(self.name, len(drafts), took_s)
        if fresh:
            tax_ids = self._seller_tax_ids(list({item.seller_key for item in fresh}))
            await self._cache.remember(fresh, tax_ids, answers=self._remembers)

    async def _commit(self, drafts: Sequence[Draft]) -> tuple[list[Answer], list[Issued]]:
        """Answers known requests from the cache and commits the rest; returns all answers and what was committed.

        Round trips: 1 to the cache if it remembers, 2 to the primary when none of the rest is known there.
        """
        known: Mapping[tuple[int, str], Issued] = {}
        rest = drafts
        if self._remembers:
            known = await self._cache.known([(draft.seller_key, draft.request_id) for draft in drafts])
        if known:
            rest = [draft for draft in drafts if (draft.seller_key, draft.request_id) not in known]
        committed = await self._store.commit(rest) if rest else []
        fresh = [answer for answer in committed if isinstance(answer, Issued)]
        again = len(drafts) - len(rest) + sum(item.repeated for item in fresh)
        if again:
            self._metrics.replayed(self.name, again)
        if not known:
            return committed, fresh
        written = iter(committed)
        answers: list[Answer] = []
        for draft in drafts:
            answer = known.get((draft.seller_key, draft.request_id))
            if answer is None:
                answers.append(next(written))
            else:
                answers.append(answer_known(draft, answer.request_sha256) or answer)
        return answers, fresh


def _end(waiting: asyncio.Future[None]) -> None:
    """Wakes who waits, if that has not happened yet."""
    if not waiting.done():
        waiting.set_result(None)

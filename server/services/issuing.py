"""Issuing: which lane an invoice takes, and how long its caller waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from core.domain.errors import BillowError
from core.storage.ports import Answer, Draft, Issued, MakeDraft
from server.admission import Place


class IssuingLane(Protocol):
    """A queue of drafts that are committed together."""

    def admit(self, items: int, *, tenant_key: int, deadline_s: float | None) -> Place:
        """Takes room for items; raises OVERLOADED or SHUTTING_DOWN."""
        ...

    def require_room(self, *, tenant_key: int, deadline_s: float | None, count: Callable[[], int]) -> None:
        """Raises what `admit` would raise for a single item; `count`: how many are refused then."""
        ...

    async def issue(self, drafts: Sequence[Draft], place: Place) -> list[Answer]:
        """Issues the drafts in the room taken; raises SHUTTING_DOWN when none was accepted, or TimeoutError."""
        ...

    async def issue_one(self, make: MakeDraft, place: Place, *, lines: int) -> Answer:
        """Issues the draft that `make` makes when its commit begins, or answers with its error; raises as `issue`."""
        ...


class IssuingService:
    """Issues validated drafts through one of two lanes, so that a flood of batches never delays a single call.

    Room is taken first, then the drafts are made: what is refused costs no validation. Those of single calls are made
    by the lane (docs/adr/0048). `clock` is that of the lanes and of the callers' deadlines.
    """

    def __init__(
        self,
        *,
        interactive: IssuingLane,
        bulk: IssuingLane,
        wait_max_ms: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interactive = interactive
        self._bulk = bulk
        self._wait_max_s = wait_max_ms / 1_000
        self._clock = clock

    def room_for_one(self, *, tenant_key: int, deadline_s: float | None) -> Place:
        """Takes room for a single call's invoice; raises OVERLOADED or SHUTTING_DOWN. No I/O."""
        return self._interactive.admit(1, tenant_key=tenant_key, deadline_s=self._patience(deadline_s))

    def room_for_batch(self, items: int, *, tenant_key: int, deadline_s: float | None) -> Place:
        """Takes room for a batch; raises OVERLOADED or SHUTTING_DOWN. No I/O."""
        return self._bulk.admit(items, tenant_key=tenant_key, deadline_s=self._patience(deadline_s))

    def require_room_for_batch(self, *, tenant_key: int, deadline_s: float | None, count: Callable[[], int]) -> None:
        """Raises what `room_for_batch` would raise for any batch of this tenant. No I/O.

        `count` is asked for the size of the batch when it is refused.
        """
        self._bulk.require_room(tenant_key=tenant_key, deadline_s=self._patience(deadline_s), count=count)

    def _patience(self, deadline_s: float | None) -> float:
        """Until when an answer is waited for: the caller's deadline, or ours when it has none or a later one."""
        ours_s = self._clock() + self._wait_max_s
        return ours_s if deadline_s is None else min(ours_s, deadline_s)

    async def issue_one(self, make: MakeDraft, place: Place, *, lines: int) -> Issued:
        """Issues the draft, of so many lines, that `make` makes, without I/O, once its commit begins.

        Raises the error that it makes or that the draft gets, or TimeoutError when its commit takes too long.
        Round trips of its batch: 1 to the cache, 2 to the primary, then 1 to the cache after the answer.
        """
        answer = await self._interactive.issue_one(make, place, lines=lines)
        if isinstance(answer, BillowError):
            raise answer
        return answer

    async def issue_batch(self, drafts: Sequence[Draft | BillowError], place: Place) -> list[Answer]:
        """Issues the good ones of a batch and answers each, in order.

        Raises SHUTTING_DOWN when none was accepted, TimeoutError when the commit takes too long.
        Round trips for the whole batch: 2 to the primary, then 1 to the cache after the answer.
        """
        good = [draft for draft in drafts if isinstance(draft, Draft)]
        answers = await self._bulk.issue(good, place)
        if len(good) == len(drafts):
            return answers
        written = iter(answers)
        return [next(written) if isinstance(draft, Draft) else draft for draft in drafts]

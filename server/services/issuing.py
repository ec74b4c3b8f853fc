"""Issuing: which lane an invoice takes, and how long its caller waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from core.domain.errors import BillowError
from core.storage.ports import Draft, Issued

Answer = Issued | BillowError


class IssuingLane(Protocol):
    """A queue of drafts that are committed together."""

    async def issue(self, drafts: Sequence[Draft]) -> list[Answer]:
        """Issues the drafts; raises OVERLOADED or SHUTTING_DOWN when none was accepted."""
        ...


class IssuingService:
    """Issues validated drafts through one of two lanes, so that a flood of batches never delays a single call."""

    def __init__(self, *, interactive: IssuingLane, bulk: IssuingLane, wait_max_ms: int) -> None:
        self._interactive = interactive
        self._bulk = bulk
        self._wait_max_s = wait_max_ms / 1_000

    async def issue_one(self, draft: Draft | BillowError) -> Issued:
        """Issues one draft; raises the error it has or gets, or TimeoutError when its commit takes too long.

        Round trips of its batch: 1 to the cache, 2 to the primary, then 1 to the cache after the answer.
        """
        if isinstance(draft, BillowError):
            raise draft
        async with asyncio.timeout(self._wait_max_s):
            (answer,) = await self._interactive.issue((draft,))
        if isinstance(answer, BillowError):
            raise answer
        return answer

    async def issue_batch(self, drafts: Sequence[Draft | BillowError]) -> list[Answer]:
        """Issues the good ones of a batch and answers each, in order.

        Raises OVERLOADED or SHUTTING_DOWN when none was accepted, TimeoutError when the commit takes too long.
        Round trips as `issue_one`, for the whole batch.
        """
        good = [draft for draft in drafts if isinstance(draft, Draft)]
        async with asyncio.timeout(self._wait_max_s):
            answers = await self._bulk.issue(good)
        if len(good) == len(drafts):
            return answers
        written = iter(answers)
        return [next(written) if isinstance(draft, Draft) else draft for draft in drafts]

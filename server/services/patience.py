"""Waiting for a store to come back: calls inside their deadline wait rather than fail (P10)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.domain.errors import BillowError, Reason

RETRY_MS = 200

Result = TypeVar("Result")


class Patience:
    """Makes repeatable calls, each until its store is there, for at most `wait_max_ms`; then STORAGE_UNAVAILABLE.

    A caller's shorter deadline cancels it before.
    """

    __slots__ = ("_wait_max_s",)

    def __init__(self, *, wait_max_ms: int) -> None:
        self._wait_max_s = wait_max_ms / 1_000

    async def __call__(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Makes the call again after each STORAGE_UNAVAILABLE; raises all others."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._wait_max_s
        while True:
            try:
                return await call()
            except BillowError as error:
                if error.reason is not Reason.STORAGE_UNAVAILABLE or loop.time() >= give_up_at:
                    raise
            await asyncio.sleep(random.uniform(0.5, 1) * RETRY_MS / 1_000)

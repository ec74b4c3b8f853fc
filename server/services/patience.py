"""Waiting for a store to come back: calls inside their deadline wait rather than fail (P10)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.domain.errors import BillowError, Reason

RETRY_MS = 200

Result = TypeVar("Result")


async def patiently(call: Callable[[], Awaitable[Result]], *, wait_max_ms: int) -> Result:
    """Makes a repeatable call until its store is there, for at most `wait_max_ms`; then raises STORAGE_UNAVAILABLE.

    A caller's shorter deadline cancels it before.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + wait_max_ms / 1_000
    while True:
        try:
            return await call()
        except BillowError as error:
            if error.reason is not Reason.STORAGE_UNAVAILABLE or loop.time() >= give_up_at:
                raise
        await asyncio.sleep(random.uniform(0.5, 1) * RETRY_MS / 1_000)

"""Streams: bounded work under way, answers in order, errors after the answers before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.handlers.ordered import ordered


async def numbers(count: int, *, fail_at: int = -1) -> AsyncIterator[int]:
    for number in range(count):
        if number == fail_at:
            raise ValueError("bad message")
        yield number


async def test_answers_keep_the_order_of_the_requests() -> None:
    async def answer(number: int) -> int:
        await asyncio.sleep((5 - number % 5) / 1_000)
        return number

    assert [item async for item in ordered(numbers(20), answer, under_way_max=4)] == list(range(20))


async def test_the_work_under_way_is_bounded() -> None:
    under_way = most = 0

    async def answer(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return number

    assert [item async for item in ordered(numbers(50), answer, under_way_max=3)] == list(range(50))
    assert most == 3


async def test_answers_come_while_the_sender_waits_for_them() -> None:
    answered = asyncio.Event()

    async def requests() -> AsyncIterator[int]:
        yield 1
        await answered.wait()
        yield 2

    async def answer(number: int) -> int:
        return number

    got = []
    async for item in ordered(requests(), answer, under_way_max=2):
        got.append(item)
        answered.set()
    assert got == [1, 2]


async def test_an_error_comes_after_the_answers_before_it() -> None:
    async def answer(number: int) -> int:
        return number

    stream = ordered(numbers(9, fail_at=3), answer, under_way_max=2)
    assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="bad message"):
        await anext(stream)


async def test_leaving_early_cancels_what_is_under_way() -> None:
    cancelled = 0

    async def answer(number: int) -> int:
        nonlocal cancelled
        if number == 0:
            return 0
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return number

    stream = ordered(numbers(10), answer, under_way_max=4)
    assert await anext(stream) == 0
    for _ in range(10):
        await asyncio.sleep(0)
    await stream.aclose()  # type: ignore[attr-defined]
    assert cancelled == 3

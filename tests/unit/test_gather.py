"""Lookups that arrive together are read together, and never from a read that began before them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from core.domain.errors import BillowError, Reason
from server.services import gather as module
from server.services.gather import Gather


class Reads:
    """Reads that end when told."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gates: list[asyncio.Future[Mapping[int, str]]] = []

    async def __call__(self, keys: Sequence[int]) -> Mapping[int, str]:
        self.batches.append(list(keys))
        gate: asyncio.Future[Mapping[int, str]] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        return await gate

    def finish(self, number: int) -> None:
        self.gates[number].set_result({key: f"value {key}" for key in self.batches[number] if key % 10})


@pytest.fixture(autouse=True)
def unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads may follow each other at once: what is looked at here is their order."""
    monkeypatch.setattr(module, "PACE_S", 0.0)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def gather(reads: Reads, *, items_max: int = 10, waiting_max: int = 100, reads_max: int = 1) -> Gather[int, str]:
    return Gather[int, str](read=reads, items_max=items_max, waiting_max=waiting_max, reads_max=reads_max)


async def test_what_arrives_in_one_turn_is_one_read() -> None:
    reads = Reads()
    lookups = gather(reads)
    tasks = [asyncio.create_task(lookups.get(key)) for key in (1, 2, 1, 10)]
    await turns()
    assert reads.batches == [[1, 2, 10]]
    reads.finish(0)
    assert await asyncio.gather(*tasks) == ["value 1", "value 2", "value 1", None]


async def test_what_arrives_during_a_read_waits_for_the_next() -> None:
    reads = Reads()
    lookups = gather(reads)
    first = asyncio.create_task(lookups.get(1))
    await turns()
    second = asyncio.create_task(lookups.get(1))
    third = asyncio.create_task(lookups.get(2))
    await turns()
    assert reads.batches == [[1]]
    reads.finish(0)
    await turns()
    assert first.done()
    assert not second.done()
    assert reads.batches == [[1], [1, 2]]
    reads.finish(1)
    assert [await second, await third] == ["value 1", "value 2"]


async def test_batches_and_reads_are_bounded() -> None:
    reads = Reads()
    lookups = gather(reads, items_max=2, reads_max=2)
    found = asyncio.create_task(lookups.get_many([1, 2, 3, 4, 5]))
    await turns()
    assert reads.batches == [[1, 2], [3, 4]]
    reads.finish(1)
    await turns()
    assert reads.batches[2:] == [[5]]
    reads.finish(0)
    reads.finish(2)
    assert (await found).keys() == {1, 2, 3, 4, 5}


async def test_too_many_waiters_are_refused() -> None:
    reads = Reads()
    lookups = gather(reads, waiting_max=2)
    tasks = [asyncio.create_task(lookups.get(key)) for key in (1, 2, 3)]
    await turns()
    with pytest.raises(BillowError) as error:
        await tasks[2]
    assert error.value.reason is Reason.OVERLOADED
    assert error.value.retry_delay_ms is not None
    reads.finish(0)
    assert await tasks[0] == "value 1"
    assert await tasks[1] == "value 2"


async def test_a_failure_reaches_those_who_waited_for_it_only() -> None:
    reads = Reads()
    lookups = gather(reads)
    first = asyncio.create_task(lookups.get(1))
    await turns()
    second = asyncio.create_task(lookups.get(1))
    await turns()
    reads.gates[0].set_exception(LookupError("away"))
    with pytest.raises(LookupError):
        await first
    await turns()
    reads.finish(1)
    assert await second == "value 1"


async def test_one_waiter_that_goes_away_disturbs_nobody() -> None:
    reads = Reads()
    lookups = gather(reads)
    gone, other = asyncio.create_task(lookups.get(1)), asyncio.create_task(lookups.get(1))
    await turns()
    gone.cancel()
    await turns()
    assert gone.cancelled()
    reads.finish(0)
    assert await other == "value 1"


async def test_a_failure_nobody_waits_for_any_more_is_no_complaint() -> None:
    reads = Reads()
    lookups = gather(reads)
    gone = asyncio.create_task(lookups.get(1))
    await turns()
    gone.cancel()
    await turns()
    reads.gates[0].set_exception(LookupError("away"))
    await lookups.close()
    assert lookups.want(2)
    await turns()
    assert reads.batches == [[1], [2]]
    reads.finish(1)
    await lookups.close()


async def test_reads_keep_a_distance_so_that_many_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE_S", 5.0)
    reads = Reads()
    lookups = gather(reads)
    first = asyncio.create_task(lookups.get(1))
    await asyncio.sleep(0.2)  # so long the read takes, and so long nothing is read after it
    reads.finish(0)
    await first
    others = [asyncio.create_task(lookups.get(2))]
    await turns()
    others.append(asyncio.create_task(lookups.get(3)))
    while len(reads.gates) < 2:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.01)
    assert reads.batches == [[1], [2, 3]]
    reads.finish(1)
    await asyncio.gather(*others)


async def test_after_a_read_of_several_the_next_waits_however_fast_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE_S", 0.2)
    reads = Reads()
    lookups = gather(reads)
    tasks = [asyncio.create_task(lookups.get(key)) for key in (1, 2)]
    await turns()
    reads.finish(0)
    await asyncio.gather(*tasks)
    tasks = [asyncio.create_task(lookups.get(3))]
    await turns()
    assert reads.batches == [[1, 2]]
    tasks.append(asyncio.create_task(lookups.get(4)))
    while len(reads.gates) < 2:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.01)
    assert reads.batches == [[1, 2], [3, 4]]
    reads.finish(1)
    await asyncio.gather(*tasks)


async def test_several_lookups_beyond_the_bound_leave_nobody_waiting() -> None:
    reads = Reads()
    lookups = gather(reads, waiting_max=2)
    with pytest.raises(BillowError) as refused:
        await lookups.get_many([1, 2, 3])
    assert refused.value.reason is Reason.OVERLOADED
    await turns()
    reads.finish(0)
    await lookups.close()

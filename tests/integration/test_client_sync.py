"""The sync client over real gRPC, in a thread of its own while the server's loop runs in another."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from grpc import StatusCode

import billow
from billow import RetryPolicy
from tests.support.toy_server import Toy, bare, refuse, serving, silence

FAST = RetryPolicy(backoff_first_ms=1, backoff_max_ms=5)


def request(number: int) -> billow.IssueInvoiceRequest:
    return billow.IssueInvoiceRequest(
        seller_id="s", request_id=f"r-{number}", invoice=billow.Invoice(gross_total_minor=number)
    )


@pytest_asyncio.fixture
async def toy() -> Toy:
    return Toy()


@pytest_asyncio.fixture
async def address(toy: Toy) -> AsyncIterator[str]:
    async with serving(toy) as address:
        yield address


async def test_single_calls_batches_and_listings(toy: Toy, address: str) -> None:
    toy.call_faults = [refuse("STORAGE_UNAVAILABLE")]

    def work() -> tuple[list[str], list[str]]:
        with billow.Client(address, api_key="bk_x", retry=FAST) as client:
            first = client.issue(request(0)).request_id
            batch = [r.issued.request_id for r in client.issue_batch([request(1), request(2)])]
            listed = [s.issued.request_id for s in client.list(seller_id="s", page_size=2)]
            with pytest.raises(billow.InvoiceNotFound):
                client.get("1" * 20)
            return [first, *batch], listed

    issued, listed = await asyncio.to_thread(work)
    assert issued == listed == ["r-0", "r-1", "r-2"]


async def test_streams_survive_a_break_and_keep_order(toy: Toy, address: str) -> None:
    toy.stream_faults = dict.fromkeys((2, 5, 9), bare(StatusCode.UNAVAILABLE, "503"))

    def work() -> tuple[list[str], int]:
        with billow.Client(address, retry=FAST) as client:
            results = list(client.issue_stream((request(n) for n in range(200)), batch_items=10))
            checks = [
                billow.InvoiceCheck(number=r.issued.number, gross_total_minor=r.issued.gross_total_minor)
                for r in results
            ]
            outcomes = [r.outcome for r in client.verify_stream(checks, batch_items=7)]
            return [r.issued.request_id for r in results], outcomes.count(billow.VERIFICATION_OUTCOME_MATCH)

    issued, matches = await asyncio.to_thread(work)
    assert issued == [f"r-{n}" for n in range(200)]
    assert matches == 200
    assert len(toy.issued) == 200


async def test_the_source_is_read_in_the_callers_thread_and_not_far_ahead(toy: Toy, address: str) -> None:
    threads: set[str] = set()
    taken = 0

    def source() -> Iterator[list[billow.IssueInvoiceRequest]]:
        nonlocal taken
        for n in range(100):
            threads.add(threading.current_thread().name)
            taken += 1
            yield [request(n)]

    def work() -> tuple[str, int]:
        with billow.Client(address) as client:
            results = client.issue_batches(source(), in_flight=3)
            next(results)
            ahead = taken
            results.close()  # type: ignore[attr-defined]  # a generator
            return threading.current_thread().name, ahead

    name, ahead = await asyncio.to_thread(work)
    assert threads == {name}
    assert ahead <= 1 + 3 + 1


async def test_an_error_of_the_source_comes_after_the_answers_due(address: str) -> None:
    def source() -> Iterator[list[billow.IssueInvoiceRequest]]:
        yield [request(0)]
        yield [request(1)]
        raise LookupError("torn")

    def work() -> list[str]:
        seen: list[str] = []
        with billow.Client(address) as client, pytest.raises(LookupError, match="torn"):
            seen.extend(batch[0].issued.request_id for batch in client.issue_batches(source()))
        return seen

    def work_one_by_one() -> list[str]:
        seen: list[str] = []
        with billow.Client(address) as client:
            results = client.issue_batches(source())
            seen.append(next(results)[0].issued.request_id)
            seen.append(next(results)[0].issued.request_id)
            with pytest.raises(LookupError, match="torn"):
                next(results)
        return seen

    await asyncio.to_thread(work)
    assert await asyncio.to_thread(work_one_by_one) == ["r-0", "r-1"]


async def test_many_threads_share_one_client(toy: Toy, address: str) -> None:
    with billow.Client(address, retry=FAST) as client:
        numbers = await asyncio.gather(*(asyncio.to_thread(client.issue, request(n)) for n in range(50)))
        await asyncio.to_thread(client.close)
    assert len({issued.number for issued in numbers}) == 50


async def test_the_loop_thread_ends_with_the_last_client(address: str) -> None:
    def names() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name == "billow-client"]

    def work() -> None:
        first, second = billow.Client(address), billow.Client(address)
        assert names() == ["billow-client"]
        first.close()
        first.close()
        assert names() == ["billow-client"]
        second.issue(request(1))
        second.close()
        assert names() == []

    await asyncio.to_thread(work)


async def test_a_deadline_ends_a_sync_call(toy: Toy, address: str) -> None:
    toy.call_faults = [silence]

    def work() -> None:
        with billow.Client(address) as client, pytest.raises(billow.DeadlineExceeded):
            client.issue(request(1), timeout_s=0.2)

    await asyncio.to_thread(work)


async def test_without_budget_nothing_is_made_again_and_the_error_says_so(toy: Toy, address: str) -> None:
    toy.call_faults = [refuse("OVERLOADED") for _ in range(100)]
    policy = RetryPolicy(attempts_max=10, backoff_first_ms=1, backoff_max_ms=2, budget_tokens=4)

    def work() -> list[str]:
        with billow.Client(address, retry=policy) as client:
            said = []
            for number in range(5):
                with pytest.raises(billow.Overloaded) as caught:
                    client.issue(request(number))
                said.append(caught.value.not_retried)
            return said

    assert await asyncio.to_thread(work) == ["budget"] * 5
    assert toy.calls == 6, "two tokens of four: one call was made again"

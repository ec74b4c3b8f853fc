"""Streams over real gRPC: order, bounds, broken streams, refusals that pass, failures that do not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from grpc import StatusCode

import billow
from billow import RetryPolicy, Timeouts
from tests.support.toy_server import Fault, Toy, bare, end_early, refuse, serving, silence, status_of

FAST = RetryPolicy(backoff_first_ms=1, backoff_max_ms=5)


def request(number: int) -> billow.IssueInvoiceRequest:
    return billow.IssueInvoiceRequest(
        seller_id="s", request_id=f"r-{number}", invoice=billow.Invoice(gross_total_minor=number)
    )


async def issue_all(client: billow.AsyncClient, count: int, **how: int) -> list[str]:
    results = client.issue_stream((request(n) for n in range(count)), **how)
    return [r.issued.request_id or str(billow.error_of(r)) async for r in results]


async def collect(results: AsyncIterator[billow.IssueResult], into: list[str]) -> None:
    async for result in results:
        into.append(result.issued.request_id)  # noqa: PERF401 - what came before an error must be kept


def ids(count: int) -> list[str]:
    return [f"r-{n}" for n in range(count)]


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 250])
async def test_every_result_comes_once_and_in_order(count: int, streams: int) -> None:
    toy = Toy()
    async with serving(toy) as address, billow.AsyncClient(address) as client:
        assert await issue_all(client, count, batch_items=10, in_flight=4, streams=streams) == ids(count)
    assert len(toy.issued) == count
    assert toy.streams <= streams


BREAKS = {
    "refused before the work": ("stream_faults", refuse("SHUTTING_DOWN")),
    "no details before the work": ("stream_faults", bare(StatusCode.UNAVAILABLE, "503")),
    "answer lost": ("answer_faults", bare(StatusCode.UNAVAILABLE, "connection reset")),
    "proxy's reset": ("answer_faults", bare(StatusCode.INTERNAL, "Received RST_STREAM with error code 2")),
    "proxy's own answer": ("answer_faults", bare(StatusCode.UNKNOWN, "exceeded request buffer limit")),
    "stream ended by a limit": ("answer_faults", bare(StatusCode.DEADLINE_EXCEEDED, "stream timeout")),
    "cancelled by the other side": ("answer_faults", bare(StatusCode.CANCELLED, "cancelled")),
    "ended as if done": ("answer_faults", end_early),
}


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("name", BREAKS)
async def test_a_broken_stream_is_carried_on_without_loss_and_without_duplicates(name: str, streams: int) -> None:
    where, fault = BREAKS[name]
    faults: dict[int, Fault] = dict.fromkeys((1, 4, 9, 10), fault)
    toy = Toy(**{where: faults})  # type: ignore[arg-type]
    async with serving(toy) as address, billow.AsyncClient(address, retry=FAST) as client:
        assert await issue_all(client, 200, batch_items=10, in_flight=4, streams=streams) == ids(200)
    assert len(toy.issued) == 200
    assert len({i.number for i in toy.issued.values()}) == 200
    assert toy.streams >= 2
    assert not faults


async def test_a_silent_stream_counts_as_broken() -> None:
    toy = Toy(stream_faults={3: silence})
    async with (
        serving(toy) as address,
        billow.AsyncClient(address, retry=FAST, timeouts=Timeouts(answer_s=0.2)) as client,
    ):
        assert await issue_all(client, 60, batch_items=10, streams=1) == ids(60)
    assert toy.streams == 2


async def test_a_server_that_restarts_is_waited_for() -> None:
    first, second = Toy(hold=asyncio.Event()), Toy()
    async with contextlib.AsyncExitStack() as stack:
        async with serving(first) as address:
            client = await stack.enter_async_context(billow.AsyncClient(address))
            running = asyncio.create_task(issue_all(client, 100, batch_items=10))
            await first.reached.wait()
        async with serving(second, port=int(address.rpartition(":")[2])):
            assert await running == ids(100)
    assert len(second.issued) == 100


async def test_refused_messages_and_items_are_sent_again_after_their_wait() -> None:
    toy = Toy(
        message_refusals=[status_of("OVERLOADED", retry_ms=10), status_of("SHUTTING_DOWN")],
        item_refusals={
            "r-3": [status_of("STORAGE_UNAVAILABLE"), status_of("QUOTA_EXCEEDED", retry_ms=5)],
            "r-17": [status_of("OVERLOADED", retry_ms=5)],
        },
    )
    async with serving(toy) as address, billow.AsyncClient(address, retry=FAST) as client:
        assert await issue_all(client, 50, batch_items=10) == ids(50)
    assert toy.seen["r-3"] == 3
    assert toy.seen["r-4"] == 1  # its neighbours are not sent again
    assert len(toy.issued) == 50


async def test_refusals_for_good_are_results_in_their_place() -> None:
    toy = Toy(
        message_refusals=[status_of("BATCH_TOO_LARGE", items="10", items_max="5")],
        item_refusals={"r-15": [status_of("SELLER_NOT_FOUND", seller_id="s")]},
    )
    async with serving(toy) as address, billow.AsyncClient(address, retry=FAST) as client:
        results = [r async for r in client.issue_stream(map(request, range(30)), batch_items=10, streams=1)]
    kinds = [type(billow.error_of(r)) for r in results]
    assert kinds[:10] == [billow.BatchTooLarge] * 10
    assert kinds[15] is billow.SellerNotFound
    assert kinds.count(type(None)) == 19


async def test_passing_refusals_that_do_not_pass_become_results_at_last() -> None:
    policy = RetryPolicy(backoff_first_ms=1, backoff_max_ms=2, stream_attempts_max=3)
    toy = Toy(item_refusals={"r-1": [status_of("OVERLOADED") for _ in range(50)]})
    async with serving(toy) as address, billow.AsyncClient(address, retry=policy) as client:
        results = [r async for r in client.issue_stream(map(request, range(3)))]
    assert isinstance(billow.error_of(results[1]), billow.Overloaded)
    assert toy.seen["r-1"] == 3
    assert [r.issued.request_id for r in results] == ["r-0", "", "r-2"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (refuse("API_KEY_INVALID"), billow.ApiKeyInvalid),
        (refuse("SCOPE_MISSING", scope="issue"), billow.ScopeMissing),
        (bare(StatusCode.UNIMPLEMENTED, "no such method"), billow.InternalError),
        (refuse("INTERNAL", request_id="log-1"), billow.InternalError),
    ],
)
async def test_a_stream_that_fails_for_good_raises_after_what_was_answered(
    fault: Fault, error: type[billow.BillowError]
) -> None:
    toy = Toy(stream_faults={3: fault})
    results: list[str] = []
    async with serving(toy) as address, billow.AsyncClient(address, retry=FAST) as client:
        stream = client.issue_stream(map(request, range(100)), batch_items=10, in_flight=1, streams=1)
        with pytest.raises(error):
            await collect(stream, results)
    assert results == ids(20)
    assert toy.streams == 1


async def test_a_key_that_is_refused_is_told_however_many_writes_were_under_way() -> None:
    toy = Toy(stream_faults=dict.fromkeys(range(1, 200), refuse("API_KEY_INVALID")))
    async with serving(toy) as address, billow.AsyncClient(address, retry=FAST) as client:
        with pytest.raises(billow.ApiKeyInvalid):
            await issue_all(client, 100, batch_items=1, in_flight=16, streams=2)
    assert not toy.issued
    assert toy.streams <= 2


async def test_a_server_that_stays_away_is_given_up_after_the_attempts_allowed() -> None:
    toy = Toy(stream_faults=dict.fromkeys(range(1, 100), bare(StatusCode.UNAVAILABLE, "503")))
    policy = RetryPolicy(backoff_first_ms=1, backoff_max_ms=2, stream_attempts_max=4)
    async with serving(toy) as address, billow.AsyncClient(address, retry=policy) as client:
        with pytest.raises(billow.Unavailable):
            await issue_all(client, 10, streams=1)
    assert toy.streams == 4


async def test_a_slow_consumer_slows_the_source() -> None:
    taken = 0

    def source() -> Iterator[list[billow.IssueInvoiceRequest]]:
        nonlocal taken
        for n in range(100):
            taken += 1
            yield [request(n)]

    toy = Toy()
    async with (
        serving(toy) as address,
        billow.AsyncClient(address) as client,
        contextlib.aclosing(client.issue_batches(source(), in_flight=3)) as batches,
    ):
        await anext(batches)
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert taken <= 1 + 3 + 1  # handed on, in flight, being prepared
    assert toy.open_most <= 3


async def test_no_more_than_in_flight_are_unanswered() -> None:
    toy = Toy(hold=asyncio.Event())
    async with serving(toy) as address, billow.AsyncClient(address) as client:
        running = asyncio.create_task(issue_all(client, 100, batch_items=1, in_flight=4, streams=2))
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert toy.messages <= 4
        assert toy.hold is not None
        toy.hold.set()
        assert await running == ids(100)


async def test_an_error_of_the_source_comes_after_the_answers_to_what_it_gave() -> None:
    async def source() -> AsyncIterator[billow.IssueInvoiceRequest]:
        for n in range(25):
            yield request(n)
        raise LookupError("the file is torn")

    results: list[str] = []
    async with serving(Toy()) as address, billow.AsyncClient(address) as client:
        with pytest.raises(LookupError):
            await collect(client.issue_stream(source(), batch_items=10), results)
    assert results == ids(20)  # the last five were not a batch yet


async def test_closing_the_client_ends_its_streams() -> None:
    toy = Toy(hold=asyncio.Event())
    async with serving(toy) as address:
        client = billow.AsyncClient(address, retry=FAST)
        running = asyncio.create_task(issue_all(client, 10))
        await toy.reached.wait()
        await client.close()
        with pytest.raises(billow.Unavailable):
            await running


async def test_checks_stream_as_invoices_do() -> None:
    toy = Toy()
    async with serving(toy) as address, billow.AsyncClient(address, retry=FAST) as client:
        await client.issue_batch([request(n) for n in range(1, 31)])
        toy.stream_faults = {toy.messages + 2: bare(StatusCode.UNAVAILABLE, "503")}
        checks = [
            billow.InvoiceCheck(number=i.number, gross_total_minor=i.gross_total_minor + (n == 7))
            for n, i in enumerate(toy.issued.values())
        ]
        outcomes = [r.outcome async for r in client.verify_stream(checks, batch_items=5)]
    expected = [billow.VERIFICATION_OUTCOME_MATCH] * 30
    expected[7] = billow.VERIFICATION_OUTCOME_MISMATCH
    assert outcomes == expected


@pytest.mark.parametrize("how", [{"in_flight": 0}, {"in_flight": 65}, {"streams": 0}, {"batch_items": 0}])
async def test_impossible_bounds_are_refused(how: dict[str, int]) -> None:
    async with billow.AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="must be"):
            await issue_all(client, 1, **how)

"""Single calls over real gRPC: what is repeated, what is not, and what every failure looks like."""

import asyncio

import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc_status import rpc_status

import billow
from billow import RetryPolicy, Timeouts
from tests.chaos.faults.network import Forgotten
from tests.chaos.proxy import Loop, Proxy
from tests.support.toy_server import Toy, bare, refuse, serving, silence

FAST = RetryPolicy(backoff_first_ms=1, backoff_max_ms=5)


def request(number: int = 1) -> billow.IssueInvoiceRequest:
    return billow.IssueInvoiceRequest(
        seller_id="s", request_id=f"r-{number}", invoice=billow.Invoice(gross_total_minor=100 + number)
    )


async def test_issuing_is_repeated_with_the_same_request_id_until_it_is_answered() -> None:
    toy = Toy(
        call_faults=[
            refuse("STORAGE_UNAVAILABLE"),
            refuse("OVERLOADED", retry_ms=5),
            bare(StatusCode.UNAVAILABLE, "503"),
        ]
    )
    async with serving(toy) as address, billow.AsyncClient(address, api_key="bk_x", retry=FAST) as client:
        issued = await client.issue(request())
    assert issued.number.endswith("1")
    assert toy.calls == 4
    assert len(toy.issued) == 1
    assert {m["authorization"] for m in toy.metadata} == {"Bearer bk_x"}


async def test_an_answer_lost_on_the_way_does_not_issue_twice() -> None:
    toy = Toy(lost_answers=[bare(StatusCode.UNAVAILABLE, "connection reset")])
    async with serving(toy) as address, billow.AsyncClient(address, retry=FAST) as client:
        issued = await client.issue(request())
    assert toy.seen["r-1"] == 2
    assert [i.number for i in toy.issued.values()] == [issued.number]


async def test_a_refusal_for_good_is_not_repeated() -> None:
    toy = Toy(call_faults=[refuse("REQUEST_ID_REUSED", request_id="r-1")])
    async with serving(toy) as address, billow.AsyncClient(address, retry=FAST) as client:
        with pytest.raises(billow.RequestIdReused) as caught:
            await client.issue(request())
    assert toy.calls == 1
    assert caught.value.code is StatusCode.ALREADY_EXISTS
    assert caught.value.metadata == {"request_id": "r-1"}
    assert caught.value.request_id == ""


async def test_violations_and_the_servers_request_id_arrive() -> None:
    details = [
        error_details_pb2.ErrorInfo(reason="INVALID_INVOICE", domain="billow"),
        error_details_pb2.BadRequest(
            field_violations=[
                {"field": "invoice.lines[2].tax_minor", "reason": "LINE_TAX_TOLERANCE", "description": "off by 7"}
            ]
        ),
        error_details_pb2.RequestInfo(request_id="log-7"),
    ]
    status = status_pb2.Status(code=3, message="1 fault")
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)

    async def fault(context: object) -> None:
        await context.abort_with_status(rpc_status.to_status(status))  # type: ignore[attr-defined]

    toy = Toy(call_faults=[fault])
    async with serving(toy) as address, billow.AsyncClient(address) as client:
        with pytest.raises(billow.InvalidInvoice) as caught:
            await client.issue(request())
    assert caught.value.violations == (
        billow.Violation("invoice.lines[2].tax_minor", "LINE_TAX_TOLERANCE", "off by 7"),
    )
    assert caught.value.request_id == "log-7"
    assert "off by 7" in str(caught.value)


async def test_a_server_that_says_nothing_ends_in_deadline_exceeded_within_the_timeout() -> None:
    toy = Toy(call_faults=[silence])
    async with serving(toy) as address, billow.AsyncClient(address) as client:
        with pytest.raises(billow.DeadlineExceeded) as caught:
            await client.issue(request(), timeout_s=0.2)
    assert not caught.value.retryable


async def test_attempts_are_bounded() -> None:
    toy = Toy(call_faults=[refuse("OVERLOADED") for _ in range(50)])
    policy = RetryPolicy(attempts_max=3, backoff_first_ms=1, backoff_max_ms=2)
    async with serving(toy) as address, billow.AsyncClient(address, retry=policy) as client:
        with pytest.raises(billow.Overloaded) as caught:
            await client.issue(request())
    assert toy.calls == 3
    assert caught.value.not_retried == "attempts"


async def test_the_budget_stops_retries_of_many_failing_calls() -> None:
    toy = Toy(call_faults=[refuse("OVERLOADED") for _ in range(500)])
    policy = RetryPolicy(attempts_max=10, backoff_first_ms=1, backoff_max_ms=2, budget_tokens=20)
    async with serving(toy) as address, billow.AsyncClient(address, retry=policy) as client:
        outcomes = await asyncio.gather(*(client.issue(request(n)) for n in range(30)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, billow.Overloaded)]
    assert len(refused) == 30
    assert {outcome.not_retried for outcome in refused} == {"budget"}
    assert str(refused[0]).endswith("(not retried: the client's retry budget is used up)")
    assert toy.calls < 30 + 10  # half of the tokens, instead of nine retries a call


async def test_a_wait_longer_than_the_deadline_is_not_waited_for() -> None:
    toy = Toy(call_faults=[refuse("OVERLOADED", retry_ms=900)])
    async with serving(toy) as address, billow.AsyncClient(address) as client:
        with pytest.raises(billow.Overloaded) as caught:
            await client.issue(request(), timeout_s=0.5)
    assert caught.value.retry_delay_ms == 900
    assert caught.value.not_retried == "time"
    assert toy.calls == 1


async def test_a_message_too_large_is_told_as_such_and_not_repeated() -> None:
    toy = Toy()
    large = request()
    large.invoice.remark = "x" * 200_000
    async with (
        serving(toy, options=[("grpc.max_receive_message_length", 100_000)]) as address,
        billow.AsyncClient(address, retry=FAST) as client,
    ):
        with pytest.raises(billow.MessageTooLarge):
            await client.issue(large)
    assert toy.calls == 0


async def test_nobody_listening_is_unavailable() -> None:
    toy = Toy()
    async with serving(toy) as address:
        pass
    policy = RetryPolicy(attempts_max=2, backoff_first_ms=1)
    async with billow.AsyncClient(address, retry=policy) as client:
        with pytest.raises(billow.Unavailable) as caught:
            await client.issue(request())
    assert caught.value.reason == ""


async def test_closing_the_client_ends_its_calls_with_unavailable() -> None:
    toy = Toy(call_faults=[silence])
    async with serving(toy) as address:
        client = billow.AsyncClient(address)
        call = asyncio.create_task(client.issue(request()))
        await toy.reached.wait()
        await client.close()
        with pytest.raises(billow.Unavailable):
            await call
        with pytest.raises(billow.Unavailable):
            await client.issue(request())


async def test_cancelling_a_call_stays_a_cancellation() -> None:
    toy = Toy(call_faults=[silence])
    async with serving(toy) as address, billow.AsyncClient(address) as client:
        call = asyncio.create_task(client.issue(request()))
        await toy.reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_batch_answers_item_by_item() -> None:
    toy = Toy(call_faults=[refuse("SHUTTING_DOWN")])
    async with serving(toy) as address, billow.AsyncClient(address, retry=FAST) as client:
        results = await client.issue_batch([request(n) for n in range(3)])
        checks = [
            billow.InvoiceCheck(number=r.issued.number, gross_total_minor=r.issued.gross_total_minor) for r in results
        ]
        checks[1].gross_total_minor += 1
        outcomes = [r.outcome for r in await client.verify_batch(checks)]
        single = await client.verify(checks[0])
    assert [r.issued.request_id for r in results] == ["r-0", "r-1", "r-2"]
    assert [billow.error_of(r) for r in results] == [None] * 3
    match, mismatch = billow.VERIFICATION_OUTCOME_MATCH, billow.VERIFICATION_OUTCOME_MISMATCH
    assert outcomes == [match, mismatch, match]
    assert single.outcome == match


async def test_listing_walks_all_pages() -> None:
    toy = Toy()
    async with serving(toy) as address, billow.AsyncClient(address) as client:
        await client.issue_batch([request(n) for n in range(25)])
        listed = [s.issued.request_id async for s in client.list(seller_id="s", page_size=10)]
    assert listed == [f"r-{n}" for n in range(25)]


async def test_a_missing_invoice_is_not_found() -> None:
    async with serving(Toy()) as address, billow.AsyncClient(address, timeouts=Timeouts(call_s=5)) as client:
        with pytest.raises(billow.InvoiceNotFound) as caught:
            await client.get("2" * 20)
    assert caught.value.metadata["number"] == "2" * 20


async def test_a_call_on_a_connection_that_was_forgotten_on_the_way_is_repeated_on_another() -> None:
    keepalive = billow.Keepalive(interval_ms=1_000, timeout_ms=500)
    toy = Toy()
    with Loop() as loop:
        async with serving(toy) as address:
            proxy = Proxy(target=int(address.rpartition(":")[2]), loop=loop)
            proxy.open()
            there = f"127.0.0.1:{proxy.port}"
            async with billow.AsyncClient(there, retry=FAST, keepalive=keepalive) as client:
                await client.issue(request(1))
                proxy.begin(Forgotten)
                issued = await client.issue(request(2), timeout_s=30)
            proxy.heal()
            proxy.close()
    assert issued.number.endswith("2")

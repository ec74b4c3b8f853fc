"""Issuing through Envoy: exactly once and without gaps, through kills and restarts (P1 to P3, P5, P8, P10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc
import pytest

from billow.issuance.v1 import issuance_pb2
from billow.types.v1.invoice_pb2 import IssuedInvoice
from stack import Stack
from tests.support.invoices import good_invoice
from tests.support.platform import Tenant, new_tenant, request_of

RETRIES_MAX = 60
RETRY_WAIT_S = 0.25
RETRYABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@pytest.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as tenant:
        await tenant.seller()
        yield tenant


async def persist(tenant: Tenant, request: issuance_pb2.IssueInvoiceRequest) -> IssuedInvoice:
    """Issues with the same request id until there is an answer, as any careful caller does."""
    for _ in range(RETRIES_MAX):
        try:
            return await tenant.issue(request)
        except grpc.aio.AioRpcError as error:
            if error.code() not in RETRYABLE:
                raise
            await asyncio.sleep(RETRY_WAIT_S)
    raise AssertionError("no answer after many attempts")


async def listed(tenant: Tenant, seller_id: str = "seller-0") -> list[IssuedInvoice]:
    """Everything the seller has issued, page by page."""
    found: list[IssuedInvoice] = []
    token = ""
    while True:
        request = issuance_pb2.ListInvoicesRequest(seller_id=seller_id, page_size=1_000, page_token=token)
        page = await tenant.issuance.ListInvoices(request, metadata=tenant.metadata)
        found += [item.issued for item in page.invoices]
        token = page.next_page_token
        if not token:
            return found


def assert_consecutive(issued: Sequence[IssuedInvoice]) -> None:
    numbers = sorted(int(item.number) for item in issued)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_simultaneous_repeats_through_both_servers_issue_once(tenant: Tenant) -> None:
    request = request_of("seller-0", "same")
    answers = await asyncio.gather(*(tenant.issue(request) for _ in range(60)))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert len(await listed(tenant)) == 1


async def test_a_stream_of_batches(tenant: Tenant) -> None:
    async def messages() -> AsyncIterator[issuance_pb2.StreamIssueInvoicesRequest]:
        for sequence in range(20):
            requests = [request_of("seller-0", f"{sequence}-{item}") for item in range(100)]
            yield issuance_pb2.StreamIssueInvoicesRequest(sequence=sequence, requests=requests)

    answers = [
        answer async for answer in tenant.issuance.StreamIssueInvoices(messages(), metadata=tenant.metadata, timeout=60)
    ]
    assert [answer.sequence for answer in answers] == list(range(20))
    issued = [result.issued for answer in answers for result in answer.results]
    assert [item.request_id for item in issued] == [f"{batch}-{item}" for batch in range(20) for item in range(100)]
    assert_consecutive(issued)
    assert {item.number for item in await listed(tenant)} == {item.number for item in issued}


async def test_a_caller_that_gives_up_can_come_back(tenant: Tenant) -> None:
    requests = [request_of("seller-0", f"r-{serial}") for serial in range(50)]
    hurried = [tenant.issuance.IssueInvoice(request, metadata=tenant.metadata, timeout=0.004) for request in requests]
    await asyncio.gather(*hurried, return_exceptions=True)
    answers = await asyncio.gather(*(persist(tenant, request) for request in requests))
    assert_consecutive(answers)
    assert len(await listed(tenant)) == 50


@pytest.mark.parametrize("fault", ["kill server-1", "kill redis", "flush redis", "restart server-2", "kill worker-1"])
async def test_a_fault_in_the_middle_loses_and_repeats_nothing(
    running_stack: Stack, tenant: Tenant, fault: str
) -> None:
    what, name = fault.split()
    requests = [request_of("seller-0", f"r-{serial}", good_invoice(1 + serial % 5)) for serial in range(300)]

    async def break_it() -> None:
        await asyncio.sleep(0.05)
        if what == "flush":
            await asyncio.to_thread(running_stack.restart, name)  # without persistence a restart forgets everything
        else:
            await asyncio.to_thread(getattr(running_stack, what), name)

    async def issue_in_turn(mine: Sequence[issuance_pb2.IssueInvoiceRequest]) -> list[IssuedInvoice]:
        return [await persist(tenant, request) for request in mine]

    issuing = asyncio.gather(*(issue_in_turn(requests[task::30]) for task in range(30)))
    _, parts = await asyncio.gather(break_it(), issuing)
    issued = [item for part in parts for item in part]
    assert_consecutive(issued)
    assert {item.number for item in await listed(tenant)} == {item.number for item in issued}
    again = await asyncio.gather(*(persist(tenant, request) for request in requests[:40]))
    by_request = {item.request_id: item for item in issued}
    assert [by_request[item.request_id] for item in again] == again
    await asyncio.to_thread(running_stack.wait_healthy, name)


async def test_a_tenant_sees_its_own_invoices_only(running_stack: Stack, tenant: Tenant) -> None:
    issued = await tenant.issue(request_of("seller-0", "r"))
    async with new_tenant(running_stack) as other:
        await other.seller()
        for number in (issued.number, "9" * 20):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await other.issuance.GetInvoice(issuance_pb2.GetInvoiceRequest(number=number), metadata=other.metadata)
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert await listed(other) == []
        for request in (
            issuance_pb2.ListInvoicesRequest(buyer_tax_id=good_invoice().buyer.tax_id),
            issuance_pb2.ListInvoicesRequest(seller_id="seller-0", request_id="r"),
        ):
            page = await other.issuance.ListInvoices(request, metadata=other.metadata)
            assert list(page.invoices) == []
            page = await tenant.issuance.ListInvoices(request, metadata=tenant.metadata)
            assert issued.number in {item.issued.number for item in page.invoices}

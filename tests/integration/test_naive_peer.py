"""The peer that benchmarks measure Billow against does the same work: invoices without gaps, each request once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from benchmarks.peers import naive
from billow.issuance.v1 import issuance_pb2, issuance_pb2_grpc
from core.settings import load
from stack import Stack
from tests.support.invoices import good_invoice

INVOICES = 20


def request(serial: int) -> issuance_pb2.IssueInvoiceRequest:
    return issuance_pb2.IssueInvoiceRequest(
        seller_id="seller-3", request_id=f"peer-{serial}", invoice=good_invoice(serial=serial)
    )


@pytest.fixture
async def peer(data_stores: Stack) -> AsyncIterator[issuance_pb2_grpc.IssuanceServiceAsyncStub]:
    async with (
        naive.process(load(data_stores.config_path)) as address,
        grpc.aio.insecure_channel(f"{address.host}:{address.port}") as channel,
    ):
        yield issuance_pb2_grpc.IssuanceServiceStub(channel)


async def test_numbers_have_no_gaps_and_a_request_makes_one_invoice(
    peer: issuance_pb2_grpc.IssuanceServiceAsyncStub,
) -> None:
    first = (await peer.IssueInvoice(request(0))).issued
    again = (await peer.IssueInvoice(request(0))).issued
    message = issuance_pb2.StreamIssueInvoicesRequest(sequence=7, requests=map(request, range(INVOICES)))
    call = peer.StreamIssueInvoices(iter([message]))
    answers = [answer async for answer in call]
    issued = [result.issued for result in answers[0].results]
    assert again == first == issued[0]
    assert first.gross_total_minor == 3 * 11_300
    assert [answer.sequence for answer in answers] == [7]
    assert [int(item.number) for item in issued] == list(range(int(first.number), int(first.number) + INVOICES))


async def test_a_request_id_is_not_used_for_another_invoice(peer: issuance_pb2_grpc.IssuanceServiceAsyncStub) -> None:
    await peer.IssueInvoice(request(1))
    other = request(1)
    other.invoice.remark = "another order"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await peer.IssueInvoice(other)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_it_refuses_what_billow_refuses(peer: issuance_pb2_grpc.IssuanceServiceAsyncStub) -> None:
    empty = issuance_pb2.IssueInvoiceRequest(seller_id="seller-3", request_id="empty")
    with pytest.raises(grpc.aio.AioRpcError, match="breaks"):
        await peer.IssueInvoice(empty)


async def test_its_rates_can_be_measured(data_stores: Stack) -> None:
    settings = load(data_stores.config_path)
    assert await naive.measure(settings, calls=50, under_way=8) > 0
    assert await naive.measure_bulk(settings, batches=2) > 0

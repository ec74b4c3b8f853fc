"""The SDK against the whole stack, through Envoy: what is issued is there once, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

import billow
from stack import Stack
from tests.support.invoices import good_invoice
from tests.support.platform import Tenant, new_tenant

NASTY = "'; DROP TABLE invoices; -- \"\\\\ \u0000 😀 𠮷 مرحبا \r\n\t\u200e"


@pytest_asyncio.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as tenant:
        yield tenant


@pytest_asyncio.fixture
async def client(running_stack: Stack, tenant: Tenant) -> AsyncIterator[billow.AsyncClient]:
    address = f"{running_stack.envoy.host}:{running_stack.envoy.port}"
    async with billow.AsyncClient(address, api_key=tenant.secret) as client:
        yield client


def request(seller_id: str, number: int) -> billow.IssueInvoiceRequest:
    return billow.IssueInvoiceRequest(seller_id=seller_id, request_id=f"r-{number}", invoice=good_invoice())


def check_of(issued: billow.IssuedInvoice) -> billow.InvoiceCheck:
    from billow.cli.results import issue_date

    return billow.InvoiceCheck(
        number=issued.number,
        issue_date=issue_date(issued.issue_time.seconds),
        gross_total_minor=issued.gross_total_minor,
    )


async def listed(client: billow.AsyncClient, seller_id: str) -> dict[str, str]:
    found = [(s.issued.request_id, s.issued.number) async for s in client.list(seller_id=seller_id)]
    assert len(found) == len(dict(found)), "a request id stands twice in the listing"
    return dict(found)


async def test_one_invoice_is_issued_read_back_and_verified(client: billow.AsyncClient, tenant: Tenant) -> None:
    seller = await tenant.seller()
    wanted = request(seller, 1)
    wanted.invoice.remark = NASTY
    issued = await client.issue(wanted)
    assert await client.issue(wanted) == issued
    got = await client.get(issued.number)
    assert got.invoice.remark == NASTY
    assert got.issued == issued
    assert (await client.verify(check_of(issued))).outcome == billow.VERIFICATION_OUTCOME_MATCH
    wanted.invoice.drawer = "别人"
    with pytest.raises(billow.RequestIdReused):
        await client.issue(wanted)


async def test_faults_are_typed_and_name_their_fields(client: billow.AsyncClient, tenant: Tenant) -> None:
    seller = await tenant.seller()
    bad = request(seller, 1)
    bad.invoice.lines[1].tax_minor += 7
    bad.invoice.buyer.name = ""
    with pytest.raises(billow.InvalidInvoice) as caught:
        await client.issue(bad)
    assert {v.field for v in caught.value.violations} >= {"invoice.lines[1].tax_minor", "invoice.buyer.name"}
    with pytest.raises(billow.SellerNotFound):
        await client.issue(request("nobody", 1))
    with pytest.raises(billow.InvoiceNotFound):
        await client.get("9" * 20)
    with pytest.raises(billow.BatchTooLarge):
        await client.issue_batch([request(seller, n) for n in range(1_001)])
    assert await listed(client, seller) == {}


async def test_a_stream_is_issued_listed_and_verified(client: billow.AsyncClient, tenant: Tenant) -> None:
    seller = await tenant.seller()
    results = [r.issued async for r in client.issue_stream(request(seller, n) for n in range(3_000))]
    assert [i.request_id for i in results] == [f"r-{n}" for n in range(3_000)]
    assert await listed(client, seller) == {i.request_id: i.number for i in results}
    outcomes = [r.outcome async for r in client.verify_stream(map(check_of, results))]
    assert outcomes == [billow.VERIFICATION_OUTCOME_MATCH] * 3_000


@pytest.mark.parametrize("victim", ["server-1", "envoy"])
async def test_a_process_killed_under_a_stream_costs_no_invoice_and_doubles_none(
    running_stack: Stack, client: billow.AsyncClient, tenant: Tenant, victim: str
) -> None:
    seller = await tenant.seller()
    count = 6_000
    numbers: dict[str, str] = {}
    killed = False
    async for result in client.issue_stream((request(seller, n) for n in range(count)), batch_items=100):
        assert billow.error_of(result) is None
        numbers[result.issued.request_id] = result.issued.number
        if len(numbers) >= 1_000 and not killed:
            killed = True
            await asyncio.to_thread(running_stack.kill, victim)
    await asyncio.to_thread(running_stack.wait_healthy, victim)
    assert list(numbers) == [f"r-{n}" for n in range(count)]
    assert await listed(client, seller) == numbers
    (used,) = [r.used async for r in client.registry.list_number_ranges(seller)]
    assert used == count  # no gap: as many numbers are used as invoices are there


async def test_the_registry_is_kept(client: billow.AsyncClient, tenant: Tenant) -> None:
    seller = await tenant.seller(ranges=(10, 20))
    with pytest.raises(billow.SellerExists):
        await client.registry.create_seller(seller, billow.Party(name="x", tax_id="91110000000000005X"))
    assert seller in [s.seller_id async for s in client.registry.list_sellers()]
    assert (await client.registry.get_seller(seller)).seller_id == seller
    assert [r.used async for r in client.registry.list_number_ranges(seller)] == [0, 0]
    created = await client.registry.create_api_key(["read"], display_name="reader")
    assert created.secret.startswith("bk_")
    revoked = await client.registry.revoke_api_key(created.api_key.key_id)
    assert revoked.HasField("revoke_time")
    with pytest.raises(billow.ScopeMissing):
        await client.registry.create_tenant("nope")

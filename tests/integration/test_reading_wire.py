"""The registry, reading back and verifying, through Envoy and two servers (P7, P8, P11)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from billow.issuance.v1 import issuance_pb2, issuance_pb2_grpc
from billow.registry.v1 import registry_pb2
from billow.types.v1 import invoice_pb2
from billow.verification.v1 import verification_pb2
from core import limits
from core.domain.verification import date_of
from stack import Stack
from tests.support.invoices import tax_id
from tests.support.platform import Tenant, new_tenant, request_of
from tests.support.wire import error_of

MATCH, MISMATCH, INVALID = 1, 2, 5


@pytest.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as made:
        yield made


async def issue(tenant: Tenant, seller_id: str, count: int) -> list[invoice_pb2.IssuedInvoice]:
    requests = [request_of(seller_id, f"r{position}") for position in range(count)]
    batch = issuance_pb2.BatchIssueInvoicesRequest(requests=requests)
    response = await tenant.issuance.BatchIssueInvoices(batch, metadata=tenant.metadata)
    return [result.issued for result in response.results]


def check(issued: invoice_pb2.IssuedInvoice) -> verification_pb2.InvoiceCheck:
    at_us = issued.issue_time.seconds * 1_000_000 + issued.issue_time.nanos // 1_000
    return verification_pb2.InvoiceCheck(
        number=issued.number,
        issue_date=date_of(at_us),
        gross_total_minor=issued.gross_total_minor,
        net_total_minor=issued.net_total_minor,
        buyer_tax_id=tax_id(1),
        kind=invoice_pb2.INVOICE_KIND_GENERAL,
    )


async def test_streamed_checks_are_answered_in_order(tenant: Tenant) -> None:
    issued = await issue(tenant, await tenant.seller(), 100)
    wrong = check(issued[0])
    wrong.gross_total_minor += 1

    async def messages() -> AsyncIterator[verification_pb2.StreamVerifyInvoicesRequest]:
        for sequence in range(20):
            checks = [check(item) for item in issued[: sequence + 1]] + [wrong, verification_pb2.InvoiceCheck()]
            yield verification_pb2.StreamVerifyInvoicesRequest(sequence=sequence, checks=checks)

    answers = [
        answer async for answer in tenant.verification.StreamVerifyInvoices(messages(), metadata=tenant.metadata)
    ]
    assert [answer.sequence for answer in answers] == list(range(20))
    for answer in answers:
        outcomes = [result.outcome for result in answer.results]
        assert outcomes == [MATCH] * (answer.sequence + 1) + [MISMATCH, INVALID]


async def test_a_batch_of_checks_is_bounded(tenant: Tenant) -> None:
    for checks, reason in (
        ([verification_pb2.InvoiceCheck()] * (limits.BATCH_ITEMS_MAX + 1), "BATCH_TOO_LARGE"),
        ([], "INVALID_REQUEST"),
    ):
        request = verification_pb2.BatchVerifyInvoicesRequest(checks=checks)
        error = await error_of(tenant.verification.BatchVerifyInvoices(request, metadata=tenant.metadata))
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)
    empty = verification_pb2.VerifyInvoiceRequest()
    error = await error_of(tenant.verification.VerifyInvoice(empty, metadata=tenant.metadata))
    assert (error.reason, error.violations) == ("INVALID_REQUEST", (("check", "REQUIRED"),))


async def test_an_invoice_reads_back_as_it_was_answered(tenant: Tenant) -> None:
    seller_id = await tenant.seller()
    for issued in await issue(tenant, seller_id, 3):
        request = issuance_pb2.GetInvoiceRequest(number=issued.number)
        found = await tenant.issuance.GetInvoice(request, metadata=tenant.metadata)
        assert found.issued == issued
        assert (found.state, found.red_total_minor) == (invoice_pb2.INVOICE_STATE_NORMAL, 0)
        assert (found.invoice.number, found.invoice.issue_time) == (issued.number, issued.issue_time)
        assert found.invoice.gross_total_minor == issued.gross_total_minor
        assert found.invoice.seller.tax_id == tax_id(tenant.serial)


async def list_all(
    stub: issuance_pb2_grpc.IssuanceServiceAsyncStub, tenant: Tenant, request: issuance_pb2.ListInvoicesRequest
) -> list[issuance_pb2.InvoiceSummary]:
    found: list[issuance_pb2.InvoiceSummary] = []
    while True:
        page = await stub.ListInvoices(request, metadata=tenant.metadata)
        found += page.invoices
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def test_listings_by_seller_buyer_request_and_time(tenant: Tenant, running_stack: Stack) -> None:
    seller_id, other_id = await tenant.seller(), await tenant.seller()
    first = await issue(tenant, seller_id, 7)
    second = await issue(tenant, other_id, 2)
    stub = tenant.issuance
    by_seller = await list_all(stub, tenant, issuance_pb2.ListInvoicesRequest(seller_id=seller_id, page_size=3))
    assert [item.issued for item in by_seller] == first
    assert {(item.kind, item.color, item.buyer_tax_id) for item in by_seller} == {(2, 1, tax_id(1))}
    by_buyer = await list_all(stub, tenant, issuance_pb2.ListInvoicesRequest(buyer_tax_id=tax_id(1), page_size=4))
    assert [item.issued for item in by_buyer] == first + second
    request = issuance_pb2.ListInvoicesRequest(seller_id=other_id, request_id="r1")
    assert [item.issued for item in await list_all(stub, tenant, request)] == [second[1]]
    issued_at = first[-1].issue_time
    after = Timestamp(seconds=issued_at.seconds, nanos=issued_at.nanos + 1)
    request = issuance_pb2.ListInvoicesRequest(buyer_tax_id=tax_id(1), issued_from=after)
    assert [item.issued for item in await list_all(stub, tenant, request)] == second
    request = issuance_pb2.ListInvoicesRequest(buyer_tax_id=tax_id(1), issued_before=after)
    assert [item.issued for item in await list_all(stub, tenant, request)] == first
    async with new_tenant(running_stack) as stranger:
        foreign = await list_all(stranger.issuance, stranger, issuance_pb2.ListInvoicesRequest(buyer_tax_id=tax_id(1)))
        assert foreign == []
        for call in (
            stranger.issuance.ListInvoices(
                issuance_pb2.ListInvoicesRequest(seller_id="seller-9"), metadata=stranger.metadata
            ),
            stranger.issuance.GetInvoice(
                issuance_pb2.GetInvoiceRequest(number=first[0].number), metadata=stranger.metadata
            ),
        ):
            assert (await error_of(call)).code == "NOT_FOUND"


async def test_a_revoked_key_is_refused_by_every_server_within_a_second(tenant: Tenant) -> None:
    created = await tenant.registry.CreateApiKey(
        registry_pb2.CreateApiKeyRequest(scopes=["registry"]), metadata=tenant.metadata
    )
    theirs = (("authorization", f"Bearer {created.secret}"),)
    for _ in range(20):  # so that both servers know it
        await tenant.registry.ListSellers(registry_pb2.ListSellersRequest(), metadata=theirs)
    revoked = await tenant.registry.RevokeApiKey(
        registry_pb2.RevokeApiKeyRequest(key_id=created.api_key.key_id), metadata=tenant.metadata
    )
    await asyncio.sleep(limits.API_KEY_TTL_MS / 1_000)
    assert revoked.api_key.HasField("revoke_time")
    for _ in range(20):
        error = await error_of(tenant.registry.ListSellers(registry_pb2.ListSellersRequest(), metadata=theirs))
        assert (error.code, error.reason) == ("UNAUTHENTICATED", "API_KEY_INVALID")
    listed = await tenant.registry.ListApiKeys(registry_pb2.ListApiKeysRequest(), metadata=tenant.metadata)
    assert revoked.api_key in listed.api_keys


async def test_scopes_are_asked_for(running_stack: Stack) -> None:
    async with new_tenant(running_stack, scopes=["verify"]) as verifier:
        calls: list[tuple[str, Awaitable[object]]] = [
            ("registry", verifier.registry.ListSellers(registry_pb2.ListSellersRequest(), metadata=verifier.metadata)),
            ("platform", verifier.registry.ListTenants(registry_pb2.ListTenantsRequest(), metadata=verifier.metadata)),
            ("read", verifier.issuance.GetInvoice(issuance_pb2.GetInvoiceRequest(), metadata=verifier.metadata)),
        ]
        for scope, call in calls:
            error = await error_of(call)
            assert (error.code, error.reason) == ("PERMISSION_DENIED", "SCOPE_MISSING")
            assert error.metadata == (("scope", scope),)

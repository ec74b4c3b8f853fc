"""Credit quotas through Envoy: by gRPC, JSON, SDK and command; refused items change nothing (P3, P8, P11)."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest

from billow import AsyncClient, CreditQuotaExceeded
from billow.issuance.v1 import issuance_pb2
from billow.registry.v1 import registry_pb2
from stack import Stack
from tests.support.command import environment, run
from tests.support.invoices import good_invoice
from tests.support.issuing import LINE_NET
from tests.support.platform import Tenant, new_tenant, request_of
from tests.support.wire import WireError, error_of, read_status

QUOTA = 5 * LINE_NET


@pytest.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as tenant:
        await tenant.seller()
        yield tenant


def set_request(quota_minor: int | None = QUOTA, seller_id: str = "seller-0") -> registry_pb2.SetCreditQuotaRequest:
    return registry_pb2.SetCreditQuotaRequest(seller_id=seller_id, quota_minor=quota_minor)


def call(stack: Stack, tenant: Tenant, method: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    """Calls the quota of seller-0 as JSON."""
    request = urllib.request.Request(
        f"http://{stack.envoy.host}:{stack.envoy.port}/v1/sellers/seller-0/creditQuota",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {tenant.secret}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


async def test_beyond_the_quota_nothing_is_issued(tenant: Tenant) -> None:
    await tenant.issue(request_of("seller-0", "before", good_invoice(1)))
    answer = await tenant.registry.SetCreditQuota(set_request(), metadata=tenant.metadata)
    quota = answer.credit_quota
    assert (quota.quota_minor, quota.used_minor, quota.left_minor) == (QUOTA, LINE_NET, QUOTA - LINE_NET)
    lines = (3, 2, 1)
    requests = [request_of("seller-0", f"r-{count}", good_invoice(count)) for count in lines]
    batch = issuance_pb2.BatchIssueInvoicesRequest(requests=requests)
    results = (await tenant.issuance.BatchIssueInvoices(batch, metadata=tenant.metadata)).results
    assert [result.WhichOneof("result") for result in results] == ["issued", "error", "issued"]
    error = read_status(results[1].error)
    told = dict(error.metadata)
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "CREDIT_QUOTA_EXCEEDED")
    assert told == {
        "seller_id": "seller-0",
        "month": quota.month,
        "quota_minor": str(QUOTA),
        "used_minor": str(4 * LINE_NET),
        "left_minor": str(LINE_NET),
    }
    assert int(results[2].issued.number) == int(results[0].issued.number) + 1
    assert (await error_of(tenant.issue(requests[1]))).reason == "CREDIT_QUOTA_EXCEEDED"
    assert await tenant.issue(requests[0]) == results[0].issued
    get = registry_pb2.GetCreditQuotaRequest(seller_id="seller-0")
    found = (await tenant.registry.GetCreditQuota(get, metadata=tenant.metadata)).credit_quota
    assert (found.used_minor, found.left_minor) == (QUOTA, 0)


@pytest.mark.parametrize(
    ("request_made", "field", "rule"),
    [
        (set_request(None), "quota_minor", "REQUIRED"),
        (set_request(-1), "quota_minor", "AMOUNT_RANGE"),
        (set_request(10**17), "quota_minor", "AMOUNT_RANGE"),
        (set_request(1, "No"), "seller_id", "ID_FORM"),
    ],
)
async def test_a_bad_quota(
    tenant: Tenant, request_made: registry_pb2.SetCreditQuotaRequest, field: str, rule: str
) -> None:
    error = await error_of(tenant.registry.SetCreditQuota(request_made, metadata=tenant.metadata))
    assert error == WireError("INVALID_ARGUMENT", "INVALID_REQUEST", ((field, rule),))


async def test_another_tenants_seller_has_none(running_stack: Stack, tenant: Tenant) -> None:
    async with new_tenant(running_stack) as stranger:
        error = await error_of(stranger.registry.SetCreditQuota(set_request(0), metadata=stranger.metadata))
        assert error.reason == "SELLER_NOT_FOUND"
    await tenant.issue(request_of("seller-0", "r"))


async def test_as_json(running_stack: Stack, tenant: Tenant) -> None:
    status, made = await asyncio.to_thread(call, running_stack, tenant, "PUT", {"quotaMinor": "150000"})
    assert (status, made["creditQuota"]["quotaMinor"]) == (200, "150000")
    assert await asyncio.to_thread(call, running_stack, tenant, "GET") == (200, made)
    status, cleared = await asyncio.to_thread(call, running_stack, tenant, "DELETE")
    assert (status, cleared["creditQuota"].get("quotaMinor")) == (200, None)
    status, _ = await asyncio.to_thread(call, running_stack, tenant, "PUT", {})
    assert status == 400


async def test_the_command(running_stack: Stack, tenant: Tenant) -> None:
    address = f"{running_stack.envoy.host}:{running_stack.envoy.port}"
    env = environment(BILLOW_TARGET=address, BILLOW_API_KEY=tenant.secret)
    none = await run("seller", "quota", "get", "seller-0", env=env)
    assert none.out.strip() == "seller-0 has no credit quota"
    made = await run("seller", "quota", "set", "seller-0", "1,000.50", "--json", env=env)
    assert made.code == 0, made.err
    assert made.json["quotaMinor"] == "100050"
    shown = await run("seller", "quota", "get", "seller-0", env=env)
    assert "1,000.50" in shown.out
    cleared = await run("seller", "quota", "clear", "seller-0", env=env)
    assert (cleared.code, cleared.out.strip()) == (0, "seller-0 has no credit quota")


async def test_the_sdk(running_stack: Stack, tenant: Tenant) -> None:
    address = f"{running_stack.envoy.host}:{running_stack.envoy.port}"
    async with AsyncClient(address, api_key=tenant.secret) as client:
        made = await client.registry.set_credit_quota("seller-0", LINE_NET)
        assert await client.registry.get_credit_quota("seller-0") == made
        with pytest.raises(CreditQuotaExceeded) as told:
            await client.issue(request_of("seller-0", "r", good_invoice(2)))
        assert (told.value.retryable, told.value.metadata["left_minor"]) == (False, str(LINE_NET))
        assert not (await client.registry.clear_credit_quota("seller-0")).HasField("quota_minor")
        await client.issue(request_of("seller-0", "r", good_invoice(2)))

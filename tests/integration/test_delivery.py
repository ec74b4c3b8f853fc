"""Delivery on the whole stack: by RPC, JSON and command, from an endpoint to its receiver (P8, P11)."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from standardwebhooks.webhooks import Webhook

from billow import (
    DELIVERY_STATE_DELIVERED,
    ENDPOINT_KIND_EMAIL,
    ENDPOINT_KIND_PULL,
    ENDPOINT_KIND_WEBHOOK,
    AsyncClient,
    DeliveryNotFound,
    EndpointNotFound,
    GetDeliveryResponse,
    InvalidRequest,
)
from stack import Stack
from tests.support.command import environment, run
from tests.support.platform import Tenant, new_tenant, request_of
from tests.support.receivers import receiver, takes

DONE_S = 30.0


@pytest_asyncio.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as made:
        yield made


@pytest_asyncio.fixture
async def client(running_stack: Stack, tenant: Tenant) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address(running_stack), api_key=tenant.secret) as made:
        yield made


def address(stack: Stack) -> str:
    return f"{stack.envoy.host}:{stack.envoy.port}"


def post(stack: Stack, tenant: Tenant, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        f"http://{address(stack)}{path}",
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {tenant.secret}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


async def delivered(client: AsyncClient, seller: str, number: str) -> GetDeliveryResponse:
    give_up_at = time.monotonic() + DONE_S
    while time.monotonic() < give_up_at:
        async for found in client.deliveries.list_deliveries(seller, number=number, state=DELIVERY_STATE_DELIVERED):
            return await client.deliveries.get(found.delivery_id)
        await asyncio.sleep(0.1)
    raise AssertionError("it was not delivered")


async def test_an_invoice_reaches_its_webhook_signed_and_again_when_asked(tenant: Tenant, client: AsyncClient) -> None:
    seller = await tenant.seller()
    async with receiver(takes) as there:
        made = await client.deliveries.create_endpoint(
            seller, kind=ENDPOINT_KIND_WEBHOOK, target=there.url, every_invoice=True
        )
        issued = await tenant.issue(request_of(seller, "r-1"))
        found = await delivered(client, seller, issued.number)
        assert [(one.attempt, one.delivered, one.code) for one in found.attempts] == [(1, True, 204)]
        (first,) = there.received
        assert first.headers["webhook-id"] == found.delivery.delivery_id
        told = Webhook(made.secret).verify(first.body, first.headers)
        assert (told["data"]["number"], told["data"]["request_id"]) == (issued.number, "r-1")

        rotated = await client.deliveries.rotate_secret(made.endpoint.endpoint_id)
        assert rotated.secret != made.secret
        await client.deliveries.redeliver(found.delivery.delivery_id)
        again = await there.nth(2)
        assert again.headers["webhook-id"] == first.headers["webhook-id"]
        for secret in (made.secret, rotated.secret):
            Webhook(secret).verify(again.body, again.headers)


async def test_a_pull_queue_by_json_is_claimed_acknowledged_and_empty(running_stack: Stack, tenant: Tenant) -> None:
    seller = await tenant.seller()
    status, made = await asyncio.to_thread(
        post, running_stack, tenant, f"/v1/sellers/{seller}/endpoints", {"kind": "ENDPOINT_KIND_PULL"}
    )
    assert (status, made["secret"]) == (200, "")
    path = f"/v1/endpoints/{made['endpoint']['endpointId']}"
    number = (await tenant.issue(request_of(seller, "r-1"))).number
    order = {"endpointId": made["endpoint"]["endpointId"]}
    ids = set()
    for _ in range(2):
        status, ordered = await asyncio.to_thread(post, running_stack, tenant, f"/v1/invoices/{number}:deliver", order)
        assert status == 200, ordered
        ids.add(ordered["delivery"]["deliveryId"])
    (delivery_id,) = ids
    status, claimed = await asyncio.to_thread(post, running_stack, tenant, f"{path}:claim", {"maxItems": 10})
    assert [(item["deliveryId"], item["invoice"]["number"]) for item in claimed["deliveries"]] == [
        (delivery_id, number)
    ]
    status, claimed = await asyncio.to_thread(post, running_stack, tenant, f"{path}:claim", {})
    assert (status, claimed["deliveries"]) == (200, [])
    for _ in range(2):
        status, done = await asyncio.to_thread(
            post, running_stack, tenant, f"{path}:acknowledge", {"deliveryIds": [delivery_id]}
        )
        assert (status, done) == (200, {"deliveryIds": [delivery_id]})


async def test_the_command_adds_shows_and_delivers_again(running_stack: Stack, tenant: Tenant) -> None:
    env = environment(BILLOW_TARGET=address(running_stack), BILLOW_API_KEY=tenant.secret)
    seller = await tenant.seller()
    ended = await run("deliver", "add", seller, "pull", "--json", env=env)
    assert ended.code == 0, ended.err
    endpoint_id = ended.json["endpoint"]["endpointId"]
    number = (await tenant.issue(request_of(seller, "r-1"))).number
    ended = await run("deliver", "invoice", number, endpoint_id, "--json", env=env)
    delivery_id = ended.json["deliveryId"]
    ended = await run("deliver", "claim", endpoint_id, env=env)
    assert delivery_id in ended.out
    assert number in ended.out
    ended = await run("deliver", "ack", endpoint_id, delivery_id, env=env)
    assert (ended.code, ended.err.strip()) == (0, "1 of 1 acknowledged")
    ended = await run("deliver", "show", delivery_id, "--json", env=env)
    assert ended.json["delivery"]["state"] == "DELIVERY_STATE_DELIVERED"
    assert len(ended.json["attempts"]) == 1
    ended = await run("deliver", "again", delivery_id, "--json", env=env)
    assert ended.json["state"] == "DELIVERY_STATE_PENDING"


async def test_another_tenant_sees_and_touches_nothing_of_it(
    running_stack: Stack, tenant: Tenant, client: AsyncClient
) -> None:
    seller = await tenant.seller()
    made = await client.deliveries.create_endpoint(seller, kind=ENDPOINT_KIND_PULL)
    number = (await tenant.issue(request_of(seller, "r-1"))).number
    ordered = await client.deliveries.deliver(number, made.endpoint.endpoint_id)
    endpoint_id, delivery_id = made.endpoint.endpoint_id, ordered.delivery_id
    async with (
        new_tenant(running_stack) as other,
        AsyncClient(address(running_stack), api_key=other.secret) as stranger,
    ):
        theirs = stranger.deliveries
        for call in (
            theirs.disable_endpoint(endpoint_id),
            theirs.enable_endpoint(endpoint_id),
            theirs.rotate_secret(endpoint_id),
            theirs.deliver(number, endpoint_id),
            theirs.claim(endpoint_id),
            theirs.acknowledge(endpoint_id, [delivery_id]),
        ):
            with pytest.raises(EndpointNotFound):
                await call
        for asked in (theirs.get(delivery_id), theirs.redeliver(delivery_id)):
            with pytest.raises(DeliveryNotFound):
                await asked
    assert (await client.deliveries.get(delivery_id)).delivery == ordered


async def test_bad_targets_are_named_and_change_nothing(tenant: Tenant, client: AsyncClient) -> None:
    seller = await tenant.seller()
    for kind, target in (
        (ENDPOINT_KIND_WEBHOOK, "https://169.254.169.254/latest/meta-data"),
        (ENDPOINT_KIND_WEBHOOK, "https://[::1]/"),
        (ENDPOINT_KIND_WEBHOOK, "gopher://example.com/"),
        (ENDPOINT_KIND_WEBHOOK, ""),
        (ENDPOINT_KIND_PULL, "https://example.com/"),
        (ENDPOINT_KIND_EMAIL, "a@b\nBcc: c@d"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            await client.deliveries.create_endpoint(seller, kind=kind, target=target)
        assert [(fault.field, fault.rule) for fault in caught.value.violations] == [("target", "TARGET_FORM")]
    assert [item async for item in client.deliveries.list_endpoints(seller)] == []
    webhook = await client.deliveries.create_endpoint(seller, kind=ENDPOINT_KIND_WEBHOOK, target="https://example.com/")
    with pytest.raises(InvalidRequest) as caught:
        await client.deliveries.claim(webhook.endpoint.endpoint_id)
    assert caught.value.violations[0].rule == "ENDPOINT_KIND"
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT

"""The sender of webhooks alone: connections are kept, and endpoints of one host are not in each other's way."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from core.domain.destinations import Guard
from core.limits import ENDPOINT_SENDS_MAX
from core.storage.delivery_port import Due, Facts
from tests.contract.delivery_subjects import endpoint_of, now_us
from tests.support.issuing import TestSeller
from tests.support.receivers import Behaviour, Receiver, hangs, receiver, takes
from workers.webhook_sender import WebhookSender

LOCAL = Guard([ipaddress.ip_network("127.0.0.0/8")])


@pytest.fixture
async def sender() -> AsyncIterator[WebhookSender]:
    made = WebhookSender(guard=LOCAL, allow_http=True, timeout_ms=20_000, now_us=now_us)
    yield made
    await made.close()


def due_for(url: str, delivery_id: int) -> Due:
    facts = Facts(
        number="26110000000000000001",
        seller_id="s",
        seller_name="卖方",
        request_id="r",
        kind=2,
        color=1,
        issued_at_us=1,
        net_total_minor=1,
        tax_total_minor=1,
        gross_total_minor=2,
        buyer_tax_id="",
        body_sha256=bytes(32),
    )
    endpoint = endpoint_of(TestSeller(seller_key=1, tax_id=""), target=url)
    return Due(delivery_id=delivery_id, endpoint=endpoint, attempts=0, tries=0, facts=facts)


def hangs_first(times: int) -> Behaviour:
    """Leaves so many requests without an answer and takes the rest."""

    async def behave(there: Receiver) -> web.Response:
        return await (hangs if len(there.received) <= times else takes)(there)

    return behave


async def test_a_host_that_hangs_for_one_endpoint_answers_another(sender: WebhookSender) -> None:
    async with receiver(hangs_first(ENDPOINT_SENDS_MAX)) as there:
        slow = [asyncio.create_task(sender.send(due_for(there.url, place))) for place in range(ENDPOINT_SENDS_MAX)]
        await there.nth(ENDPOINT_SENDS_MAX)
        answer = await sender.send(due_for(f"{there.url}/other", 99))
        assert (answer.delivered, answer.code) == (True, 204)
        assert not any(task.done() for task in slow)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_one_connection_serves_many_attempts(sender: WebhookSender) -> None:
    async with receiver(takes) as there:
        for place in range(5):
            assert (await sender.send(due_for(there.url, place))).delivered
        connector = sender._session.connector
        assert connector is not None
        assert sum(len(kept) for kept in connector._conns.values()) == 1
        assert len(there.received) == 5

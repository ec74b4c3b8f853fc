"""Text messages over HTTP to a real gateway of every mood."""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import json
import socket

import pytest
from aiohttp import web

from core.domain.destinations import Guard
from core.limits import SMS_CHARS_MAX
from core.settings import DeliverySettings, SettingsError
from core.storage.delivery_port import Due, EndpointKind, Facts
from tests.contract.delivery_subjects import endpoint_of
from tests.support.issuing import TestSeller
from tests.support.receivers import Behaviour, Receiver, hangs, receiver, redirects, takes
from workers.attempts import Answer
from workers.sms_sender import HttpSmsGateway, SmsSender

LOCAL = Guard([ipaddress.ip_network("127.0.0.0/8")])
PHONE = "+8613800000000"


def due_for(number: str = PHONE, *, seller: str = "示例卖方有限公司") -> Due:
    facts = Facts(
        number="26110000000000000001",
        seller_id="s",
        seller_name=seller,
        request_id="r",
        kind=2,
        color=1,
        issued_at_us=1_750_000_000_000_000,
        net_total_minor=30_000,
        tax_total_minor=3_900,
        gross_total_minor=33_900,
        buyer_tax_id="",
        body_sha256=bytes(32),
    )
    endpoint = endpoint_of(TestSeller(seller_key=1, tax_id=""), kind=EndpointKind.SMS, target=number)
    return Due(delivery_id=7, endpoint=endpoint, attempts=0, tries=0, facts=facts)


async def send(url: str, *, due: Due | None = None, guard: Guard = LOCAL, allow_http: bool = True) -> Answer:
    """Makes one attempt."""
    settings = DeliverySettings(sms_url=url, sms_token="t0ken", allow_http=True, timeout_ms=500)
    if not allow_http:
        object.__setattr__(settings, "allow_http", False)  # as if it had been switched off since
    gateway = HttpSmsGateway(settings=settings, guard=guard)
    try:
        return await SmsSender(gateway=gateway, link=lambda facts: "https://b.example/x").send(due or due_for())
    finally:
        await gateway.close()


def answers(status: int, **headers: str) -> Behaviour:
    """Answers with a status."""

    async def behave(_: Receiver) -> web.Response:
        return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return behave


async def test_the_gateway_gets_number_text_and_a_stable_id() -> None:
    async with receiver(takes) as gateway:
        for _ in range(2):
            answer = await send(gateway.url)
            assert (answer.delivered, answer.code) == (True, 204)
        first, again = gateway.received
    assert json.loads(first.body) == {
        "to": PHONE,
        "text": "【示例卖方有限公司】发票 Invoice 26110000000000000001，价税合计 Total 339.00 https://b.example/x",
        "id": "dlv_7",
    }
    assert first.body == again.body
    assert first.headers["authorization"] == "Bearer t0ken"
    assert first.headers["content-type"] == "application/json"


async def test_a_long_name_is_cut_and_the_rest_is_not() -> None:
    async with receiver(takes) as gateway:
        await send(gateway.url, due=due_for(seller="名" * 1_000))
        text = json.loads(gateway.received[0].body)["text"]
    assert len(text) == SMS_CHARS_MAX
    assert text.endswith("339.00 https://b.example/x")


@pytest.mark.parametrize(
    ("behaviour", "code", "final", "throttled", "postponed"),
    [
        (answers(429, retry_after="7"), 429, False, True, False),
        (answers(503), 503, False, False, False),
        (answers(400), 400, True, False, False),
        (answers(401), 401, False, False, True),
        (redirects("http://127.0.0.1:9/"), 302, True, False, False),
        (hangs, 0, False, False, False),
    ],
    ids=["throttled", "away", "refused", "token", "moved", "hangs"],
)
async def test_what_the_gateway_answers_decides(
    behaviour: Behaviour, code: int, final: bool, throttled: bool, postponed: bool
) -> None:
    async with receiver(behaviour) as gateway:
        answer = await send(gateway.url)
        assert len(gateway.received) == 1
    assert (answer.delivered, answer.code, answer.final) == (False, code, final)
    assert (answer.throttled, answer.postponed) == (throttled, postponed)
    assert answer.retry_after_ms == (7_000 if throttled else 0)


async def test_a_gateway_inside_is_called_only_when_allowed_and_never_without_tls_by_mistake() -> None:
    async with receiver(takes) as gateway:
        named = f"http://localhost:{gateway.port}/"
        answer = await send(named, guard=Guard())
        assert (answer.delivered, answer.final) == (False, False)
        assert answer.detail == "the gateway: localhost leads to no address that may be called"
        answer = await send(gateway.url, allow_http=False)
        assert answer.postponed
        assert gateway.received == []
    with pytest.raises(SettingsError, match=r"delivery\.sms_url must begin with https"):
        DeliverySettings(sms_url=gateway.url, sms_token="t")
    with pytest.raises(SettingsError, match=r"delivery\.sms_url must stand with delivery\.sms_token"):
        DeliverySettings(sms_url="https://example.com/")


async def test_a_gateway_that_is_away_is_tried_again_and_a_bad_number_is_not() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        answer = await send(f"http://127.0.0.1:{closed.getsockname()[1]}/")
    assert (answer.delivered, answer.final, answer.postponed) == (False, False, False)
    due = due_for()
    bad = dataclasses.replace(due, endpoint=dataclasses.replace(due.endpoint, target="13800000000"))
    async with receiver(takes) as gateway:
        answer = await send(gateway.url, due=bad)
        assert answer.final
        await asyncio.sleep(0)
        assert gateway.received == []

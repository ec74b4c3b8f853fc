"""E-mail in a real SMTP dialogue with a server that takes, defers and refuses."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from core.settings import DeliverySettings
from core.storage.delivery_port import Due, EndpointKind, Facts
from tests.contract.delivery_subjects import endpoint_of, now_us
from tests.support.issuing import TestSeller
from workers.email_sender import EmailSender


class Relay:
    """What the server does with a message."""

    def __init__(self) -> None:
        self.taken: list[tuple[list[str], EmailMessage]] = []

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
        self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("unknown"):
            return "550 5.1.1 no such user"
        if address.startswith("busy"):
            return "451 4.3.0 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802 -- aiosmtpd's name
        assert isinstance(envelope.content, bytes)
        message = BytesParser(_class=EmailMessage, policy=policy.default).parsebytes(envelope.content)
        self.taken.append((envelope.rcpt_tos, message))
        return "250 OK"


@pytest.fixture
def relay() -> Iterator[tuple[Relay, DeliverySettings]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    handler = Relay()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    yield (
        handler,
        DeliverySettings(
            smtp_host="127.0.0.1", smtp_port=port, smtp_sender="invoices@billow.example", timeout_ms=5_000
        ),
    )
    controller.stop()


def due_for(address: str) -> Due:
    facts = Facts(
        number="26110000000000000001",
        seller_id="s",
        seller_name="示例卖方有限公司",
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
    endpoint = endpoint_of(TestSeller(seller_key=1, tax_id=""), kind=EndpointKind.EMAIL, target=address)
    return Due(delivery_id=7, endpoint=endpoint, attempts=0, tries=0, facts=facts)


async def test_a_message_arrives_with_the_facts_and_a_stable_id(relay: tuple[Relay, DeliverySettings]) -> None:
    server, settings = relay
    sender = EmailSender(settings=settings, now_us=now_us)
    for _ in range(2):
        answer = await sender.send(due_for("buyer@example.com"))
        assert (answer.delivered, answer.code) == (True, 250)
    (recipients, message), (_, again) = server.taken
    assert recipients == ["buyer@example.com"]
    assert message["Subject"] == "发票 Invoice 26110000000000000001"
    assert message["Message-ID"] == again["Message-ID"] == "<dlv_7@billow.example>"
    text = message.get_content()
    assert "价税合计 Gross: 339.00" in text
    assert "示例卖方有限公司" in text


@pytest.mark.parametrize(("user", "code", "final"), [("busy", 451, False), ("unknown", 550, True)])
async def test_a_deferral_is_tried_again_and_a_refusal_is_final(
    relay: tuple[Relay, DeliverySettings], user: str, code: int, final: bool
) -> None:
    server, settings = relay
    answer = await EmailSender(settings=settings, now_us=now_us).send(due_for(f"{user}@example.com"))
    assert (answer.delivered, answer.code, answer.final) == (False, code, final)
    assert server.taken == []


async def test_a_relay_that_is_away_is_tried_again(relay: tuple[Relay, DeliverySettings]) -> None:
    _, settings = relay
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = dataclasses.replace(settings, smtp_port=closed.getsockname()[1])
        answer = await EmailSender(settings=away, now_us=now_us).send(due_for("a@example.com"))
    assert (answer.delivered, answer.final) == (False, False)

"""E-mail in a real SMTP dialogue with relays that take, defer, refuse, hang up, and know TLS badly or not at all."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope

from core.domain.errors import BillowError, Reason
from core.settings import DeliverySettings
from core.storage.delivery_port import Due, EndpointKind, Facts
from tests.contract.delivery_subjects import endpoint_of
from tests.support.issuing import TestSeller
from workers.attachments import Attached, Attachment
from workers.attempts import Answer
from workers.email_sender import EmailSender

NUMBER = "26110000000000000001"
PDF = Attachment(
    format_name="pdf",
    file_name=f"发票_{NUMBER}.pdf",
    media_type="application/pdf",
    content=b"%PDF\r\n.\r\n" + bytes(range(256)),
)
XML = Attachment(
    format_name="xml", file_name=f"发票_{NUMBER}.xml", media_type="application/xml", content="<票/>".encode()
)
BOTH = Attached((PDF, XML))
RELAY_BYTES_MAX = 10_000


class Relay:
    """What the server does with a message."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.recipients: list[list[str]] = []
        self.announces_tls = False

    async def handle_EHLO(  # noqa: N802 -- aiosmtpd's name
        self, server: SMTP, session: Any, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], "250-STARTTLS", responses[-1]] if self.announces_tls else responses

    async def handle_MAIL(  # noqa: N802 -- aiosmtpd's name
        self, server: SMTP, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("stranger"):
            return "553 5.7.1 who are you"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
        self, server: SMTP, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("unknown"):
            return "550 5.1.1 no such user"
        if address.startswith("busy"):
            return "451 4.3.0 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: N802 -- aiosmtpd's
        assert isinstance(envelope.content, bytes)
        (address,) = envelope.rcpt_tos
        if address.startswith("spam"):
            return "554 5.7.1 not wanted"
        if address.startswith("full"):
            return "452 4.2.2 mailbox full"
        if address.startswith("cut"):
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
            return "250 never heard"
        self.taken.append(envelope.content)
        self.recipients.append(envelope.rcpt_tos)
        return "250 OK"

    @property
    def messages(self) -> list[EmailMessage]:
        """What was taken, parsed."""
        parser = BytesParser(_class=EmailMessage, policy=policy.default)
        return [parser.parsebytes(content) for content in self.taken]


class Documents:
    """The documents of any invoice, or none for now."""

    def __init__(self, attached: Attached, *, away: bool = False) -> None:
        self._attached = attached
        self._away = away

    async def of(self, number: str, formats: Sequence[str]) -> Attached:
        if self._away:
            raise BillowError(Reason.STORAGE_UNAVAILABLE, "the object store is away")
        return self._attached


@asynccontextmanager
async def relay(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Relay, DeliverySettings]]:
    """A relay on a free port, and the settings that lead there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    handler = Relay()
    controller = Controller(handler, hostname="127.0.0.1", port=port, data_size_limit=RELAY_BYTES_MAX, tls_context=tls)
    controller.start()
    try:
        settings = DeliverySettings(smtp_host="127.0.0.1", smtp_port=port, smtp_sender="invoices@billow.example")
        yield handler, dataclasses.replace(settings, timeout_ms=5_000)
    finally:
        controller.stop()


async def send(settings: DeliverySettings, due: Due, attached: Attached = BOTH, *, away: bool = False) -> Answer:
    """Makes one attempt."""
    sender = EmailSender(settings=settings, attachments=Documents(attached, away=away))
    try:
        return await sender.send(due)
    finally:
        await sender.close()


def due_for(address: str) -> Due:
    facts = Facts(
        number=NUMBER,
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
    return Due(delivery_id=7, endpoint=endpoint, attempts=0, tries=0, facts=facts, created_at_us=1_750_000_000_000_001)


async def test_a_message_arrives_whole_and_a_repeat_is_the_same_bytes() -> None:
    async with relay() as (server, settings):
        for _ in range(2):
            answer = await send(settings, due_for("buyer@example.com"))
            assert (answer.delivered, answer.code) == (True, 250)
    assert server.recipients == [["buyer@example.com"]] * 2
    assert server.taken[0] == server.taken[1]
    message = server.messages[0]
    assert message["Subject"] == f"发票 Invoice {NUMBER}"
    assert message["From"] == "示例卖方有限公司 <invoices@billow.example>"
    assert message["Message-ID"] == "<dlv_7@billow.example>"
    assert message["Date"].datetime.timestamp() == 1_750_000_000
    body = message.get_body()
    assert body is not None
    text = body.get_content()
    assert "价税合计 Gross: 339.00" in text
    assert "has issued an electronic invoice to you" in text
    files = [(part.get_filename(), part.get_content_type()) for part in message.iter_attachments()]
    assert files == [(PDF.file_name, "application/pdf"), (XML.file_name, "application/xml")]
    assert [part.get_payload(decode=True) for part in message.iter_attachments()] == [PDF.content, XML.content]
    assert not message.defects


async def test_what_goes_over_the_wire_is_ascii_in_short_lines() -> None:
    async with relay() as (server, settings):
        await send(settings, due_for("buyer@example.com"))
    (content,) = server.taken
    assert content.isascii()
    assert max(len(line) for line in content.splitlines()) <= 78
    assert b"=?utf-8?" in content  # RFC 2047
    assert b"filename*=utf-8''%E5%8F%91%E7%A5%A8_" in content  # RFC 2231


async def test_what_does_not_go_is_named_in_the_text() -> None:
    async with relay() as (server, settings):
        await send(settings, due_for("buyer@example.com"), Attached((), (("pdf", "too large for an e-mail"),)))
    text = server.messages[0].get_content().replace("\r\n", "\n")
    assert "未附 Not attached:\n- PDF: too large for an e-mail\n" in text


@pytest.mark.parametrize(
    ("user", "code", "final"),
    [("busy", 451, False), ("unknown", 550, True), ("full", 452, False), ("spam", 554, True), ("cut", 0, False)],
)
async def test_a_deferral_is_tried_again_and_a_refusal_is_final(user: str, code: int, final: bool) -> None:
    async with relay() as (server, settings):
        answer = await send(settings, due_for(f"{user}@example.com"))
    assert (answer.delivered, answer.code, answer.final) == (False, code, final)
    assert server.taken == []


async def test_a_message_too_large_for_the_relay_has_failed() -> None:
    large = dataclasses.replace(PDF, content=bytes(RELAY_BYTES_MAX))
    async with relay() as (server, settings):
        answer = await send(settings, due_for("buyer@example.com"), Attached((large,)))
    assert (answer.delivered, answer.code, answer.final) == (False, 552, True)
    assert server.taken == []


async def test_a_relay_that_is_away_or_does_not_know_us_is_tried_again() -> None:
    async with relay() as (_, settings):
        stranger = dataclasses.replace(settings, smtp_sender="stranger@billow.example")
        answer = await send(stranger, due_for("a@example.com"))
        assert (answer.code, answer.final) == (553, False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = dataclasses.replace(settings, smtp_port=closed.getsockname()[1])
        answer = await send(away, due_for("a@example.com"))
    assert (answer.delivered, answer.final, answer.postponed) == (False, False, False)


async def test_where_tls_is_wanted_nothing_goes_without_it() -> None:
    async with relay() as (server, settings):
        wanted = dataclasses.replace(settings, smtp_starttls=True)
        answer = await send(wanted, due_for("a@example.com"))  # it is not offered
        assert (answer.delivered, answer.final, answer.detail) == (False, False, "the relay: SMTPNotSupportedError")
        server.announces_tls = True
        answer = await send(wanted, due_for("a@example.com"))  # it is offered and refused
        assert (answer.delivered, answer.code, answer.final) == (False, 454, False)
    assert server.taken == []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with relay(tls=context) as (server, settings):
        answer = await send(dataclasses.replace(settings, smtp_starttls=True), due_for("a@example.com"))
    assert (answer.delivered, answer.final) == (False, False)  # the certificate is nobody's
    assert answer.detail == "the relay: SSLCertVerificationError"
    assert server.taken == []


async def test_without_its_documents_a_message_waits_and_the_receiver_is_not_blamed() -> None:
    async with relay() as (server, settings):
        answer = await send(settings, due_for("buyer@example.com"), away=True)
    assert (answer.delivered, answer.postponed, answer.detail) == (False, True, "the documents cannot be had now")
    assert server.taken == []

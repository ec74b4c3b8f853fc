"""E-mail on the whole stack: ordered by command, found in the mail sink with the documents that every caller gets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest
import pytest_asyncio

from billow import DELIVERY_STATE_PENDING, ENDPOINT_KIND_EMAIL, AsyncClient, InvalidRequest
from stack import Stack
from stack.mail_sink import MESSAGES_MAX, Sink
from tests.support.command import environment, run
from tests.support.platform import Tenant, new_tenant, request_of

DONE_S = 60.0


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


def messages(folder: Path, number: str) -> list[EmailMessage]:
    """The messages about an invoice, oldest first."""
    parser = BytesParser(_class=EmailMessage, policy=policy.default)
    found = [parser.parsebytes(path.read_bytes()) for path in sorted(folder.glob("*.eml"))]
    return [message for message in found if number in message["Subject"]]


async def arrived(stack: Stack, number: str, count: int) -> list[EmailMessage]:
    """Waits until there are so many."""
    give_up_at = time.monotonic() + DONE_S
    while len(found := await asyncio.to_thread(messages, stack.folder.mail, number)) < count:
        assert time.monotonic() < give_up_at, f"{len(found)} of {count} messages arrived"
        await asyncio.sleep(0.1)
    return found


async def test_an_invoice_is_mailed_with_its_documents_and_again_with_the_same_id(
    running_stack: Stack, tenant: Tenant, client: AsyncClient
) -> None:
    env = environment(BILLOW_TARGET=address(running_stack), BILLOW_API_KEY=tenant.secret)
    seller = await tenant.seller()
    formats = ("--format", "xml", "--format", "pdf", "--format", "ofd")
    ended = await run("deliver", "add", seller, "email", "buyer@example.com", *formats, "--json", env=env)
    assert ended.code == 0, ended.err
    assert ended.json["endpoint"]["formats"] == ["xml", "pdf", "ofd"]
    number = (await tenant.issue(request_of(seller, "r-1"))).number
    ended = await run("deliver", "invoice", number, ended.json["endpoint"]["endpointId"], "--json", env=env)
    delivery_id = ended.json["deliveryId"]
    (message,) = await arrived(running_stack, number, 1)
    assert message["To"] == "buyer@example.com"
    files = list(message.iter_attachments())
    assert [part.get_filename() for part in files] == [f"发票_{number}.{name}" for name in ("xml", "pdf", "ofd")]
    for part, name in zip(files, ("xml", "pdf", "ofd"), strict=True):
        assert part.get_payload(decode=True) == (await client.documents.get(number, format=name)).content
    await client.deliveries.redeliver(delivery_id)
    first, again = await arrived(running_stack, number, 2)
    assert first["Message-ID"] == again["Message-ID"] == f"<{delivery_id}@billow.example>"
    assert first.as_bytes() == again.as_bytes()


async def test_a_standing_rule_mails_pdf_and_xml_and_waits_while_the_relay_is_away(
    running_stack: Stack, tenant: Tenant, client: AsyncClient
) -> None:
    seller = await tenant.seller()
    made = await client.deliveries.create_endpoint(
        seller, kind=ENDPOINT_KIND_EMAIL, target="books@example.com", every_invoice=True
    )
    assert list(made.endpoint.formats) == ["pdf", "xml"]
    await asyncio.to_thread(running_stack.stop, "mail-1")
    try:
        number = (await tenant.issue(request_of(seller, "r-1"))).number
        delivery_id = await attempted(client, seller, number)
    finally:
        await asyncio.to_thread(running_stack.start, "mail-1")
    found = await client.deliveries.get(delivery_id)
    assert found.delivery.state == DELIVERY_STATE_PENDING
    assert found.attempts[0].detail == "the relay: ConnectionRefusedError"
    await client.deliveries.redeliver(delivery_id)
    (message,) = await arrived(running_stack, number, 1)
    assert len(list(message.iter_attachments())) == 2


async def test_while_the_object_store_is_away_mail_goes_with_documents_rendered_anew(
    running_stack: Stack, tenant: Tenant, client: AsyncClient
) -> None:
    seller = await tenant.seller()
    await asyncio.to_thread(running_stack.stop, "s3")
    try:
        await client.deliveries.create_endpoint(
            seller, kind=ENDPOINT_KIND_EMAIL, target="books@example.com", every_invoice=True
        )
        number = (await tenant.issue(request_of(seller, "r-1"))).number
        (message,) = await arrived(running_stack, number, 1)
    finally:
        await asyncio.to_thread(running_stack.start, "s3")
    for part, name in zip(message.iter_attachments(), ("pdf", "xml"), strict=True):
        assert part.get_payload(decode=True) == (await client.documents.get(number, format=name)).content


async def attempted(client: AsyncClient, seller: str, number: str) -> str:
    """Waits until an invoice's delivery has been tried; returns its id."""
    give_up_at = time.monotonic() + DONE_S
    while time.monotonic() < give_up_at:
        async for found in client.deliveries.list_deliveries(seller, number=number):
            if found.attempt_count:
                return found.delivery_id
        await asyncio.sleep(0.1)
    raise AssertionError("it was not tried")


async def test_formats_there_are_not_are_refused(tenant: Tenant, client: AsyncClient) -> None:
    seller = await tenant.seller()
    with pytest.raises(InvalidRequest) as caught:
        await client.deliveries.create_endpoint(
            seller, kind=ENDPOINT_KIND_EMAIL, target="a@example.com", formats=["docx"]
        )
    assert [(fault.field, fault.rule) for fault in caught.value.violations] == [("formats", "FORMAT_UNKNOWN")]


def test_the_sink_keeps_the_last_messages_and_counts_on_after_a_restart(tmp_path: Path) -> None:
    sink = Sink(tmp_path)
    for place in range(MESSAGES_MAX + 5):
        sink.keep(str(place).encode())
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == MESSAGES_MAX
    assert (kept[0].name, kept[0].read_bytes()) == ("00000006.eml", b"5")
    (tmp_path / "00000999.part").touch()
    again = Sink(tmp_path)
    again.keep(b"more")
    assert (tmp_path / "00000206.eml").read_bytes() == b"more"
    assert not list(tmp_path.glob("*.part"))

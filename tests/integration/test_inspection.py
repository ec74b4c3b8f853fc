"""Inspection through Envoy: by gRPC, JSON, client and command, with and without a key (P4, P7, P8)."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import billow
from billow.redletter.v1 import redletter_pb2, redletter_pb2_grpc
from billow.registry.v1 import registry_pb2
from core.documents.renderers import make_renderers
from core.domain.qr_text import qr_text
from core.domain.verification import date_of
from stack import Stack
from tests.support.command import environment, run
from tests.support.documents import FONT, issued_invoice
from tests.support.hostile_documents import hostile_documents
from tests.support.invoices import good_invoice
from tests.support.platform import Tenant, new_tenant, request_of
from tests.support.signing_keys import key_pair, ring

GENUINE, ALTERED = billow.INSPECTION_OUTCOME_GENUINE, billow.INSPECTION_OUTCOME_ALTERED


@pytest.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as made:
        yield made


def address(stack: Stack) -> str:
    return f"{stack.envoy.host}:{stack.envoy.port}"


def forged(invoice: billow.Invoice) -> bytes:
    """The XML of somebody who changed the buyer and has no key of ours."""
    copy = billow.Invoice()
    copy.CopyFrom(invoice)
    copy.buyer.name = "另一家公司"
    return make_renderers(font=FONT, keys=ring(*key_pair("somebody")))["xml"].render(copy)


async def test_documents_are_genuine_altered_or_red_for_everybody(tenant: Tenant, running_stack: Stack) -> None:
    seller_id = await tenant.seller()
    issued = await tenant.issue(request_of(seller_id, "r1", good_invoice(3)))
    async with (
        billow.AsyncClient(address(running_stack), api_key=tenant.secret) as owner,
        billow.AsyncClient(address(running_stack)) as anybody,
        new_tenant(running_stack) as other,
        billow.AsyncClient(address(running_stack), api_key=other.secret) as stranger,
    ):
        documents = {name: (await owner.documents.get(issued.number, name)).content for name in ("xml", "ofd", "pdf")}
        for content in documents.values():
            found = await stranger.inspection.verify_document(content, file_name="invoice.bin")
            assert (found.outcome, found.byte_identical, found.signature) == (
                GENUINE, True, billow.SIGNATURE_RESULT_VALID,
            )  # fmt: skip
            assert (found.state, found.document_invoice.number) == (billow.INVOICE_STATE_NORMAL, issued.number)
        invoice = (await owner.get(issued.number)).invoice
        told = await owner.inspection.verify_document(forged(invoice))
        assert (told.outcome, told.signature) == (ALTERED, billow.SIGNATURE_RESULT_UNKNOWN_KEY)
        assert [(each.path, each.issued_value) for each in told.differences] == [("buyer.name", invoice.buyer.name)]
        untold = await stranger.inspection.verify_document(forged(invoice))
        assert [(each.path, each.issued_value) for each in untold.differences] == [("buyer.name", "")]
        await redden(tenant, seller_id, issued.number)
        found = await anybody.inspection.verify_document(documents["pdf"])
        assert (found.outcome, found.state) == (GENUINE, billow.INVOICE_STATE_FULLY_RED)
        assert found.red_total_minor == -invoice.gross_total_minor


async def redden(tenant: Tenant, seller_id: str, number: str) -> None:
    """Red-letters an invoice as a whole."""
    first = (27 * 10**9 + tenant.serial) * 10**9
    await tenant.registry.AddNumberRange(
        registry_pb2.AddNumberRangeRequest(
            seller_id=seller_id,
            kind=billow.INVOICE_KIND_GENERAL,
            color=billow.INVOICE_COLOR_RED,
            first_number=f"{first:020d}",
            last_number=f"{first + 9:020d}",
        ),
        metadata=tenant.metadata,
    )
    stub: Any = redletter_pb2_grpc.RedLetterServiceStub(tenant.channel)  # type: ignore[no-untyped-call,unused-ignore]
    selection = redletter_pb2.RedSelection(
        blue_number=number, reason=billow.RED_REASON_ISSUED_IN_ERROR, extent=billow.RED_EXTENT_WHOLE
    )
    request = redletter_pb2.IssueRedInvoiceRequest(seller_id=seller_id, request_id="red", selection=selection)
    await stub.IssueRedInvoice(request, metadata=tenant.metadata, timeout=30)


async def test_checks_without_a_key_are_counted_with_those_of_numbers(tenant: Tenant, running_stack: Stack) -> None:
    issued = await tenant.issue(request_of(await tenant.seller(), "r1"))
    async with billow.AsyncClient(address(running_stack), api_key=tenant.secret) as owner:
        content = (await owner.documents.get(issued.number, "xml")).content
    check = billow.InvoiceCheck(
        number=issued.number,
        issue_date=date_of(issued.issue_time.ToMicroseconds()),
        gross_total_minor=issued.gross_total_minor,
    )
    async with billow.AsyncClient(address(running_stack)) as anybody:
        for _ in range(2):
            assert (await anybody.verify(check)).outcome == billow.VERIFICATION_OUTCOME_MATCH
        outcomes = [(await anybody.inspection.verify_document(content)).outcome for _ in range(4)]
        assert outcomes == [GENUINE] * 3 + [billow.INSPECTION_OUTCOME_TOO_MANY_CHECKS]
        assert (await anybody.verify(check)).outcome == billow.VERIFICATION_OUTCOME_TOO_MANY_CHECKS


async def test_hostile_and_strange_documents_through_the_edge(running_stack: Stack) -> None:
    wanted = {"xml, a billion laughs", "ofd, a path out", "pdf, a predictor", "pdf, names that double", "pdf, no files"}
    async with billow.AsyncClient(address(running_stack)) as anybody:
        for name, content, _ in hostile_documents():
            if name in wanted:
                wanted.remove(name)
                found = await anybody.inspection.verify_document(content)
                assert found.outcome == billow.INSPECTION_OUTCOME_UNREADABLE, name
                assert found.unreadable_reason, name
            if not wanted:
                break
        assert not wanted
        picture = await anybody.inspection.verify_document(b"\x89PNG\r\n\x1a\n")
        assert picture.outcome == billow.INSPECTION_OUTCOME_UNRECOGNIZED
        with pytest.raises(billow.InvalidRequest):
            await anybody.inspection.verify_document(b"")
        with pytest.raises(billow.InvalidRequest):
            await anybody.inspection.verify_document(b"<" * (10 * 2**20 + 1))
        unknown = make_renderers(font=FONT)["xml"].render(stranger_invoice())
        assert (await anybody.inspection.verify_document(unknown)).outcome == billow.INSPECTION_OUTCOME_UNKNOWN


def stranger_invoice() -> billow.Invoice:
    """Of a number that is in nobody's range."""
    made = issued_invoice()
    made.number = "00990000000000000001"
    return made


async def test_json_takes_the_longest_document_and_no_longer_one(running_stack: Stack) -> None:
    def post(content: bytes) -> tuple[int, dict[str, Any]]:
        body = json.dumps({"content": base64.b64encode(content).decode()}).encode()
        request = urllib.request.Request(
            f"http://{address(running_stack)}/v1/documents:verify", body, {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    status, found = await asyncio.to_thread(post, b"%PDF-1.7\n".ljust(10 * 2**20, b" "))
    assert (status, found["outcome"]) == (200, "INSPECTION_OUTCOME_UNREADABLE")
    status, found = await asyncio.to_thread(post, b"%PDF-1.7\n".ljust(10 * 2**20 + 1, b" "))
    assert (status, found["details"][0]["reason"]) == (400, "INVALID_REQUEST")


async def test_the_command_tells_and_ends_with_a_code(tenant: Tenant, running_stack: Stack, tmp_path: Path) -> None:
    issued = await tenant.issue(request_of(await tenant.seller(), "r1"))
    genuine, false = tmp_path / "good.pdf", tmp_path / "bad.xml"
    async with billow.AsyncClient(address(running_stack), api_key=tenant.secret) as owner:
        genuine.write_bytes((await owner.documents.get(issued.number, "pdf")).content)
        false.write_bytes(forged((await owner.get(issued.number)).invoice))
    env = environment(BILLOW_TARGET=address(running_stack), BILLOW_API_KEY=tenant.secret)
    ended = await run("inspect", genuine, env=env)
    assert (ended.code, ended.out) == (0, f"{genuine}: genuine, invoice {issued.number}, signature valid, normal\n")
    ended = await run("inspect", genuine, false, env=env)
    assert ended.code == 1
    assert "buyer.name: 另一家公司, issued: " in ended.out
    date = date_of(issued.issue_time.ToMicroseconds())
    text = qr_text(
        kind=billow.INVOICE_KIND_GENERAL,
        number=issued.number,
        gross_total_minor=issued.gross_total_minor,
        issue_date=date,
    )
    ended = await run("inspect", "--qr", text, "--json", env=env)
    assert (ended.code, ended.json["outcome"]) == (0, "match")
    face = ("--number", issued.number, "--date", f"{date}", "--total", "0.01")
    assert (await run("inspect", *face, env=env)).code == 1
    assert (await run("inspect", "--qr", "hello", env=env)).code == 2
    assert (await run("inspect", tmp_path / "none.pdf", env=env)).code == 2

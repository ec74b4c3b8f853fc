"""Documents through Envoy: by gRPC, JSON, client and command; kept, and the tenant's own (P4, P8)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pypdf
import pytest

import billow
from billow.document.v1 import document_pb2, document_pb2_grpc
from billow.issuance.v1 import issuance_pb2
from core import settings
from core.documents.findings import SignatureState
from core.documents.formats import FORMATS, PDF
from core.documents.load_keys import load_checker, load_keys
from core.documents.pdf_signatures import check_pdf_signature
from core.documents.renderers import make_renderers
from core.storage.objects.s3 import open_s3
from press.kept import key_of
from stack import Stack
from tests.support.command import environment, run
from tests.support.documents import FONT
from tests.support.invoices import good_invoice
from tests.support.platform import Tenant, new_tenant, request_of
from tests.support.signing_keys import curve_pair, write_pair
from tests.support.wire import error_of


@pytest.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as made:
        yield made


async def get(tenant: Tenant, number: str, format_name: str) -> document_pb2.GetDocumentResponse:
    stub = document_pb2_grpc.DocumentServiceStub(tenant.channel)  # type: ignore[no-untyped-call,unused-ignore]
    request = document_pb2.GetDocumentRequest(number=number, format=format_name)
    answer: document_pb2.GetDocumentResponse = await stub.GetDocument(request, metadata=tenant.metadata, timeout=30)
    return answer


async def test_every_format_is_rendered_kept_and_read_again(tenant: Tenant, running_stack: Stack) -> None:
    issued = await tenant.issue(request_of(await tenant.seller(), "r1", good_invoice(60)))
    found = await tenant_invoice(tenant, issued.number)
    config = settings.load(running_stack.config_path)
    renderers = make_renderers(font=FONT, keys=load_keys(config.documents.signing))
    async with open_s3(config.object_store) as objects:
        for name, made in FORMATS.items():
            key = key_of(made, issued.number)
            assert await objects.size(key) is None
            first = await get(tenant, issued.number, name)
            assert first.content == renderers[name].render(found)
            assert first.sha256 == hashlib.sha256(first.content).digest()
            assert (first.media_type, first.file_name) == (made.media_type, f"{issued.number}.{made.extension}")
            assert await objects.size(key) == len(first.content)
            assert await objects.retained_until_us(key) > 0
            answers = await asyncio.gather(*(get(tenant, issued.number, name) for _ in range(8)))
            assert all(answer == first for answer in answers)
    pages = pypdf.PdfReader(io.BytesIO((await get(tenant, issued.number, "pdf")).content)).pages
    assert len(pages) == 2


async def tenant_invoice(tenant: Tenant, number: str) -> billow.Invoice:
    request = issuance_pb2.GetInvoiceRequest(number=number)
    return (await tenant.issuance.GetInvoice(request, metadata=tenant.metadata)).invoice


async def test_what_was_kept_is_what_is_given(tenant: Tenant, running_stack: Stack) -> None:
    issued = await tenant.issue(request_of(await tenant.seller(), "r1"))
    found = await tenant_invoice(tenant, issued.number)
    config = settings.load(running_stack.config_path)
    unsigned = make_renderers(font=FONT)["pdf"].render(found)  # as if there had been no key then
    async with open_s3(config.object_store) as objects:
        await objects.put(key_of(PDF, issued.number), unsigned, retain_until_us=time.time_ns() // 1_000 + 60_000_000)
    assert (await get(tenant, issued.number, "pdf")).content == unsigned
    assert make_renderers(font=FONT, keys=load_keys(config.documents.signing))["pdf"].render(found) != unsigned


async def test_only_the_tenants_own_and_only_what_there_is(tenant: Tenant, running_stack: Stack) -> None:
    issued = await tenant.issue(request_of(await tenant.seller(), "r1"))
    await get(tenant, issued.number, "xml")
    async with new_tenant(running_stack) as stranger:
        error = await error_of(get(stranger, issued.number, "xml"))
        assert (error.code, error.reason) == ("NOT_FOUND", "INVOICE_NOT_FOUND")
    async with new_tenant(running_stack, scopes=["issue"]) as issuer:
        assert (await error_of(get(issuer, issued.number, "xml"))).reason == "SCOPE_MISSING"
    error = await error_of(get(tenant, issued.number, "docx"))
    assert (error.code, error.reason, error.violations) == (
        "INVALID_ARGUMENT",
        "INVALID_REQUEST",
        (("format", "FORMAT_UNKNOWN"),),
    )
    assert (await error_of(get(tenant, "1", "pdf"))).violations == (("number", "NUMBER_FORM"),)


async def test_a_sellers_own_key_signs_from_the_moment_it_is_there(tenant: Tenant, running_stack: Stack) -> None:
    seller = await tenant.seller()
    before = await tenant.issue(request_of(seller, "r1"))
    kept = await get(tenant, before.number, "pdf")
    signing = settings.load(running_stack.config_path).documents.signing
    key, certificate = curve_pair("a seller of this test")
    own_tax_id = (await tenant_invoice(tenant, before.number)).seller.tax_id
    write_pair(Path(signing.seller_keys), own_tax_id, key, certificate)
    after = await tenant.issue(request_of(seller, "r2"))
    checker = load_checker(signing)
    owners = []
    for number in (before.number, after.number):
        document = await get(tenant, number, "pdf")
        found = check_pdf_signature(document.content, checker.trusted)
        assert found.state is SignatureState.VALID
        owners.append(found.seller_tax_id)
    assert owners == ["", own_tax_id]
    assert await get(tenant, before.number, "pdf") == kept  # what was kept does not change


def text_of(file: Path) -> str:
    """What another PDF reader, poppler, reads."""
    command = ["pdftotext", "-layout", str(file), "-"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


async def test_json_client_and_command_give_the_same_bytes(
    tenant: Tenant, running_stack: Stack, tmp_path: Path
) -> None:
    issued = await tenant.issue(request_of(await tenant.seller(), "r1"))
    wanted = (await get(tenant, issued.number, "pdf")).content
    address = f"{running_stack.envoy.host}:{running_stack.envoy.port}"
    url = f"http://{address}/v1/invoices/{issued.number}/documents/pdf"
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {tenant.secret}"})
    answer = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=30).read()))
    assert base64.b64decode(answer["content"]) == wanted
    assert answer["mediaType"] == "application/pdf"
    async with billow.AsyncClient(address, api_key=tenant.secret) as client:
        assert (await client.documents.get(issued.number)).content == wanted
    env = environment(BILLOW_TARGET=address, BILLOW_API_KEY=tenant.secret)
    ended = await run("document", issued.number, "--format", "pdf", "-o", tmp_path, "--json", env=env)
    assert ended.code == 0, ended.err
    file = tmp_path / f"{issued.number}.pdf"
    assert file.read_bytes() == wanted
    assert ended.json["sha256"] == hashlib.sha256(wanted).hexdigest()
    text = await asyncio.to_thread(text_of, file)
    assert issued.number in text
    assert "价税合计（大写）" in text

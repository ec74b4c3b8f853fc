"""Import of foreign invoices through Envoy: client and command, ours and others', twice at once (P8)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import billow
from core.documents.renderers import make_renderers
from stack import Stack
from tests.support.command import environment, run
from tests.support.documents import FONT, foreign_invoice
from tests.support.invoices import good_invoice, tax_id
from tests.support.platform import SCOPES, Tenant, admin, new_tenant, request_of

RENDERERS = make_renderers(font=FONT)
AT_ONCE = 8


@dataclass(slots=True)
class Buyer:
    """A tenant that has proved a taxpayer id, and where it is reached."""

    address: str
    tenant: Tenant
    tax_id: str

    def foreign(self, format_name: str, *, serial: int) -> bytes:
        """A document of an invoice that nobody here issued."""
        invoice = foreign_invoice(f"9944{self.tenant.serial % 10**12:012d}{serial:04d}", self.tax_id)
        return RENDERERS[format_name].render(invoice)


@pytest.fixture
async def buyer(running_stack: Stack) -> AsyncIterator[Buyer]:
    async with new_tenant(running_stack, scopes=[*SCOPES, "book"]) as tenant:
        proven = tax_id(time.time_ns() // 1_000 % 10**13)
        admin(running_stack, "tax-id", "confirm", proven, "--tenant", f"tenant-{tenant.serial}", "--claim")
        yield Buyer(f"{running_stack.envoy.host}:{running_stack.envoy.port}", tenant, proven)


async def test_foreign_ones_are_kept_once_and_listed(buyer: Buyer) -> None:
    async with billow.AsyncClient(buyer.address, api_key=buyer.tenant.secret) as client:
        documents = {name: buyer.foreign(name, serial=place) for place, name in enumerate(("xml", "ofd", "pdf"))}
        for content in documents.values():
            answers = await asyncio.gather(*(client.inbox.import_document(content) for _ in range(AT_ONCE)))
            outcomes = [answer.outcome for answer in answers]
            assert set(outcomes) <= {billow.IMPORT_OUTCOME_IMPORTED, billow.IMPORT_OUTCOME_ALREADY_IMPORTED}
            assert outcomes.count(billow.IMPORT_OUTCOME_IMPORTED) == 1
            assert len({answer.imported.import_id for answer in answers}) == 1
        other = await client.inbox.import_document(buyer.foreign("pdf", serial=0))
        assert other.outcome == billow.IMPORT_OUTCOME_CONFLICT
        listed = [item async for item in client.inbox.imported(page_size=2)]
        assert len(listed) == 3
        assert not any(item.verified for item in listed)
        assert other.imported == listed[0]


async def test_what_was_issued_here_must_agree(buyer: Buyer, running_stack: Stack) -> None:
    invoice = good_invoice(2)
    invoice.buyer.tax_id = buyer.tax_id
    async with (
        new_tenant(running_stack) as seller,
        billow.AsyncClient(buyer.address, api_key=seller.secret) as issuer,
        billow.AsyncClient(buyer.address, api_key=buyer.tenant.secret) as client,
    ):
        issued = await seller.issue(request_of(await seller.seller(), "r1", invoice))
        genuine = (await issuer.documents.get(issued.number, "pdf")).content
        copy = (await issuer.get(issued.number)).invoice
        copy.remark = "支付至另一账户"
        refused = await client.inbox.import_document(RENDERERS["xml"].render(copy))
        assert (refused.outcome, list(refused.altered_fields)) == (billow.IMPORT_OUTCOME_ALTERED, ["remark"])
        done = await client.inbox.import_document(genuine)
        assert (done.outcome, done.imported.verified) == (billow.IMPORT_OUTCOME_IMPORTED, True)
        assert done.imported.signature == billow.SIGNATURE_RESULT_VALID
    async with (
        new_tenant(running_stack, scopes=[*SCOPES, "book"]) as stranger,
        billow.AsyncClient(buyer.address, api_key=stranger.secret) as client,
    ):
        outcome = (await client.inbox.import_document(genuine)).outcome
        assert outcome == billow.IMPORT_OUTCOME_BUYER_NOT_PROVEN
        assert [item async for item in client.inbox.imported()] == []
    async with new_tenant(running_stack) as reader, billow.AsyncClient(buyer.address, api_key=reader.secret) as client:
        with pytest.raises(billow.ScopeMissing):
            await client.inbox.import_document(genuine)


async def test_the_command_imports_files_and_may_be_repeated(buyer: Buyer, tmp_path: Path) -> None:
    files = [tmp_path / "a.xml", tmp_path / "b.ofd"]
    files[0].write_bytes(buyer.foreign("xml", serial=1))
    files[1].write_bytes(buyer.foreign("ofd", serial=2))
    env = environment(BILLOW_TARGET=buyer.address, BILLOW_API_KEY=buyer.tenant.secret)
    for word in ("imported", "already imported"):
        ended = await run("inbox", "import", *files, env=env)
        assert ended.code == 0, ended.err
        assert [line.split(": ")[1].startswith(f"{word} as ") for line in ended.out.splitlines()] == [True, True]
    bad = tmp_path / "c.pdf"
    bad.write_bytes(b"%PDF-1.7 nothing")
    ended = await run("inbox", "import", files[0], bad, env=env)
    assert ended.code == 1
    assert "unreadable, the PDF is damaged" in ended.out
    assert len((await run("inbox", "imported", "--json", env=env)).out.splitlines()) == 2

"""Account entry of imported invoices through Envoy and two servers: client and command, once by either door (P8)."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
import pytest

import billow
from core.documents.renderers import make_renderers
from stack import Stack
from tests.support.command import environment, run
from tests.support.documents import FONT, foreign_invoice
from tests.support.invoices import good_invoice, tax_id
from tests.support.platform import SCOPES, Tenant, admin, new_tenant, request_of

RENDERERS = make_renderers(font=FONT)
RACERS = 50
_numbers = (f"{97 * 10**18 + serial:020d}" for serial in itertools.count(time.time_ns() // 1_000))


@dataclass(slots=True)
class Buyer:
    """A tenant that has proved a taxpayer id."""

    address: str
    tenant: Tenant
    client: billow.AsyncClient
    tax_id: str

    async def bring(self) -> str:
        """Imports an invoice from elsewhere and returns its number."""
        number = next(_numbers)
        done = await self.client.inbox.import_document(RENDERERS["xml"].render(foreign_invoice(number, self.tax_id)))
        assert (done.outcome, done.imported.verified) == (billow.IMPORT_OUTCOME_IMPORTED, False), done
        return number

    async def enter(self, number: str, request_id: str, *, code: str = "") -> str:
        """Enters an invoice and returns its state or why not."""
        entry = billow.EnterInvoiceRequest(
            request_id=request_id, code=code, number=number, state=billow.ENTRY_STATE_DEDUCTIBLE, period=202611
        )
        return told((await self.client.entries.enter([entry]))[0])


def told(result: billow.EntryResult) -> str:
    error = billow.error_of(result)
    return error.reason if error else f"{result.entry.state:02d}"


@pytest.fixture
async def buyer(running_stack: Stack) -> AsyncIterator[Buyer]:
    address = f"{running_stack.envoy.host}:{running_stack.envoy.port}"
    async with (
        new_tenant(running_stack, scopes=[*SCOPES, "book"]) as tenant,
        billow.AsyncClient(address, api_key=tenant.secret) as client,
    ):
        proven = tax_id(time.time_ns() // 1_000 % 10**13)
        admin(running_stack, "tax-id", "confirm", proven, "--tenant", f"tenant-{tenant.serial}", "--claim")
        yield Buyer(address, tenant, client, proven)


async def test_fifty_at_once_through_two_servers_one_wins(buyer: Buyer) -> None:
    number = await buyer.bring()
    answers = await asyncio.gather(*(buyer.enter(number, f"racer {place}") for place in range(RACERS)))
    assert sorted(answers) == ["02"] + ["ALREADY_ENTERED"] * (RACERS - 1)
    assert len((await buyer.client.entries.get(number)).history) == 1
    winner = answers.index("02")
    assert await buyer.enter(number, f"racer {winner}") == "02"


async def test_what_was_issued_here_is_entered_once_through_either_door(buyer: Buyer, running_stack: Stack) -> None:
    invoice = good_invoice()
    invoice.buyer.tax_id = buyer.tax_id
    async with (
        new_tenant(running_stack) as seller,
        billow.AsyncClient(buyer.address, api_key=seller.secret) as issuer,
    ):
        issued = await seller.issue(request_of(await seller.seller(), "r1", invoice))
        document = (await issuer.documents.get(issued.number, "xml")).content
    assert await buyer.enter(issued.number, "before") == "02"
    assert (await buyer.client.inbox.import_document(document)).imported.verified
    assert await buyer.enter(issued.number, "after") == "ALREADY_ENTERED"
    received = await buyer.client.inbox.get(issued.number)
    assert received.entry_state == billow.ENTRY_STATE_DEDUCTIBLE


async def test_an_import_is_no_received_invoice_and_nobody_elses(buyer: Buyer, running_stack: Stack) -> None:
    number = await buyer.bring()
    assert await buyer.enter(number, "a") == "02"
    with pytest.raises(billow.InvoiceNotFound):
        await buyer.client.inbox.get(number)
    async with (
        new_tenant(running_stack, scopes=[*SCOPES, "book"]) as stranger,
        billow.AsyncClient(buyer.address, api_key=stranger.secret) as client,
    ):
        other = Buyer(buyer.address, stranger, client, buyer.tax_id)
        assert await other.enter(number, "a") == "INVOICE_NOT_FOUND"
        with pytest.raises(billow.InvoiceNotFound):
            await client.entries.get(number)


async def test_codes_are_checked_and_looked_for(buyer: Buyer) -> None:
    number = await buyer.bring()
    assert await buyer.enter(number, "a", code="144031900111") == "INVALID_REQUEST"
    assert await buyer.enter(number[:8], "b", code="144031900111") == "INVOICE_NOT_FOUND"
    with pytest.raises(billow.InvalidRequest) as raised:
        await buyer.client.entries.get(number, code="14403")
    assert {(fault.field, fault.rule) for fault in raised.value.violations} == {
        ("code", "CODE_FORM"),
        ("number", "NUMBER_FORM"),
    }
    with pytest.raises(billow.InvoiceNotFound):
        await buyer.client.entries.get(number[:8], code="144031900111")


async def test_the_command_enters_withdraws_and_shows(buyer: Buyer) -> None:
    number = await buyer.bring()
    env = environment(BILLOW_TARGET=buyer.address, BILLOW_API_KEY=buyer.tenant.secret)
    options = ("--period", "202611", "--deductible", "--request-id", "run 1")
    for _ in range(2):  # the same again changes nothing
        entered = await run("book", "enter", number, *options, "--json", env=env)
        assert entered.code == 0, entered.err
        assert orjson.loads(entered.out)["entry"]["version"] == 1
    withdrawn = await run("book", "withdraw", number, env=env)
    assert withdrawn.code == 0, withdrawn.err
    shown = await run("book", "show", number, env=env)
    assert [line.split()[1] for line in shown.out.splitlines()[1:]] == ["02", "06"]
    for wrong in (f"144031900111/{number}", number[:8]):
        assert (await run("book", "show", wrong, env=env)).code == 2
    older = await run("book", "enter", f"144031900111/{number[:8]}", *options, env=env)
    assert (older.code, "INVOICE_NOT_FOUND" in older.err) == (1, True)

"""Collection through Envoy: pages, subscriptions that miss nothing while others issue, and the command (P8)."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

import billow
from stack import Stack
from tests.support.command import environment, run
from tests.support.invoices import good_invoice, tax_id
from tests.support.platform import SCOPES, Tenant, admin, new_tenant, request_of

SELLERS, ROUNDS = 3, 10


@dataclass(slots=True)
class Trade:
    """Sellers of different tenants, and a buyer that has proved its taxpayer id."""

    address: str
    sellers: list[Tenant]
    buyer: Tenant
    buyer_tax_id: str

    async def issue(self, seller: int, request_id: str) -> str:
        invoice = good_invoice()
        invoice.buyer.tax_id = self.buyer_tax_id
        return (await self.sellers[seller].issue(request_of("seller-0", request_id, invoice))).number


@pytest.fixture
async def trade(running_stack: Stack) -> AsyncIterator[Trade]:
    async with AsyncExitStack() as stack:
        sellers = [await stack.enter_async_context(new_tenant(running_stack)) for _ in range(SELLERS)]
        for seller in sellers:
            await seller.seller()
        buyer = await stack.enter_async_context(new_tenant(running_stack, scopes=[*SCOPES, "book"]))
        buyer_tax_id = tax_id(time.time_ns() // 1_000 % 10**13)
        arguments = ("--tenant", f"tenant-{buyer.serial}", "--claim")
        admin(running_stack, "tax-id", "confirm", buyer_tax_id, *arguments)
        yield Trade(f"{running_stack.envoy.host}:{running_stack.envoy.port}", sellers, buyer, buyer_tax_id)


async def test_a_subscription_misses_nothing_while_tenants_issue_and_resumes(trade: Trade) -> None:
    issued: list[str] = []

    async def write(seller: int) -> None:
        for round_ in range(ROUNDS):
            number = await trade.issue(seller, f"r{round_}")
            issued.append(number)

    seen: list[billow.ReceivedInvoice] = []
    async with billow.AsyncClient(trade.address, api_key=trade.buyer.secret) as client:

        async def follow(count: int) -> None:
            after = seen[-1].position if seen else 0
            async with aclosing(client.inbox.follow(trade.buyer_tax_id, after=after)) as received:
                async for item in received:
                    seen.append(item)
                    if len(seen) == count:
                        return

        writing = asyncio.gather(*(write(seller) for seller in range(SELLERS)))
        await follow(SELLERS * ROUNDS // 2)  # and goes away
        await follow(SELLERS * ROUNDS)
        await writing
        listed = [item async for item in client.inbox.list(trade.buyer_tax_id, page_size=7)]
    assert [item.position for item in seen] == list(range(1, SELLERS * ROUNDS + 1))
    assert sorted(item.number for item in seen) == sorted(issued)
    assert [item.number for item in listed] == [item.number for item in seen]
    assert {item.seller_tax_id for item in seen} == {tax_id(seller.serial) for seller in trade.sellers}


async def test_nobody_sees_what_was_issued_to_somebody_else(running_stack: Stack, trade: Trade) -> None:
    await trade.issue(0, "r")
    async with billow.AsyncClient(trade.address, api_key=trade.sellers[0].secret) as client:
        with pytest.raises(billow.TaxIdNotProven):
            [item async for item in client.inbox.list(trade.buyer_tax_id)]
        with pytest.raises(billow.TaxIdNotProven):
            async for _ in client.inbox.follow(trade.buyer_tax_id):
                pass
        with pytest.raises(billow.InvalidRequest) as raised:
            [item async for item in client.inbox.list("nobody", after=-1)]
        assert [fault.field for fault in raised.value.violations] == ["buyer_tax_id", "after_position"]
    async with billow.AsyncClient(trade.address, api_key=trade.buyer.secret) as client:
        followed = client.inbox.follow(trade.buyer_tax_id)
        assert (await anext(followed)).position == 1
        admin(running_stack, "tax-id", "revoke", trade.buyer_tax_id, "--tenant", f"tenant-{trade.buyer.serial}")
        with pytest.raises(billow.TaxIdNotProven):
            await anext(followed)


async def test_the_inbox_by_command(trade: Trade) -> None:
    numbers = [await trade.issue(0, f"r{place}") for place in range(3)]
    env = environment(BILLOW_TARGET=trade.address, BILLOW_API_KEY=trade.buyer.secret)
    followed = await run("inbox", "follow", trade.buyer_tax_id, "--count", "3", "--json", env=env)
    assert followed.code == 0, followed.err
    assert [orjson.loads(line)["number"] for line in followed.out.splitlines()] == numbers
    listed = await run("inbox", "list", trade.buyer_tax_id, "--after", "1", env=env)
    assert listed.code == 0, listed.err
    assert [line.split()[1] for line in listed.out.splitlines()[1:]] == numbers[1:]
    assert "01 not_entered" in listed.out


async def test_the_buyer_has_the_whole_invoice_and_its_documents_while_its_proof_stands(
    running_stack: Stack, trade: Trade, tmp_path: Path
) -> None:
    number = await trade.issue(0, "r")
    async with AsyncExitStack() as stack:
        selling, buying, strange = [
            await stack.enter_async_context(billow.AsyncClient(trade.address, api_key=tenant.secret))
            for tenant in (trade.sellers[0], trade.buyer, trade.sellers[1])
        ]
        issued = await selling.get(number)
        received = await buying.inbox.get(number)
        assert received.invoice == issued.invoice
        assert received.body_sha256 == issued.issued.body_sha256
        assert (received.state, received.entry_state) == (
            billow.INVOICE_STATE_NORMAL,
            billow.ENTRY_STATE_NOT_ENTERED,
        )
        xml = (await selling.documents.get(number, "xml")).content
        assert (await buying.documents.get(number, "xml")).content == xml
        for reads in (selling.inbox.get, strange.inbox.get, strange.documents.get, strange.get, buying.get):
            with pytest.raises(billow.InvoiceNotFound):
                await reads(number)

        env = environment(BILLOW_TARGET=trade.address, BILLOW_API_KEY=trade.buyer.secret)
        shown = await run("inbox", "show", number, env=env)
        assert (shown.code, number in shown.out, "01 not_entered" in shown.out) == (0, True, True), shown.err
        told = await run("inbox", "show", number, "--json", env=env)
        assert told.json["invoice"]["number"] == number
        saved = await run("document", number, "--format", "xml", "-o", tmp_path / "received.xml", env=env)
        assert (saved.code, (tmp_path / "received.xml").read_bytes()) == (0, xml), saved.err
        answer = await json_call(trade, f"/v1/receivedInvoices/{number}")
        assert (answer["invoice"]["number"], answer["entryState"]) == (number, "ENTRY_STATE_NOT_ENTERED")

        admin(running_stack, "tax-id", "revoke", trade.buyer_tax_id, "--tenant", f"tenant-{trade.buyer.serial}")
        for reads in (buying.inbox.get, buying.documents.get):
            with pytest.raises(billow.InvoiceNotFound):
                await reads(number)
        assert (await run("inbox", "show", number, env=env)).code == 1
        assert (await selling.documents.get(number, "xml")).content == xml


async def json_call(trade: Trade, path: str, body: object = None) -> Any:
    """Calls as `curl` does."""
    headers = {"authorization": f"Bearer {trade.buyer.secret}", "content-type": "application/json"}
    data = None if body is None else orjson.dumps(body)
    request = urllib.request.Request(f"http://{trade.address}{path}", data=data, headers=headers)
    with await asyncio.to_thread(urllib.request.urlopen, request, timeout=30) as answer:
        return orjson.loads(answer.read())


async def test_received_and_entered_by_json(trade: Trade) -> None:
    number = await trade.issue(0, "r")
    async with billow.AsyncClient(trade.address, api_key=trade.buyer.secret) as client:
        assert (await anext(client.inbox.follow(trade.buyer_tax_id))).number == number  # it is collected
    page = await json_call(trade, f"/v1/taxIds/{trade.buyer_tax_id}/receivedInvoices?after_position=0")
    (item,) = page["receivedInvoices"]
    assert (item["position"], item["number"], item["entryState"], page["lastPosition"]) == (
        "1",
        number,
        "ENTRY_STATE_NOT_ENTERED",
        "1",
    )
    entry = {"requestId": "json", "number": number, "state": "ENTRY_STATE_DEDUCTIBLE", "period": 202611}
    for _ in range(2):
        (result,) = (await json_call(trade, "/v1/entries:enter", {"entries": [entry]}))["results"]
        assert (result["entry"]["state"], result["entry"]["version"]) == ("ENTRY_STATE_DEDUCTIBLE", 1)
    found = await json_call(trade, f"/v1/entries/{number}")
    assert [change["period"] for change in found["history"]] == [202611]

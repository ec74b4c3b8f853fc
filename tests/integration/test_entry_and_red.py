"""Entering and red-lettering the same invoices at once: for each of them exactly one comes first (P4, P8)."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, aclosing

import billow
from billow.redletter.v1 import redletter_pb2
from billow.registry.v1 import registry_pb2
from billow.types.v1 import invoice_pb2
from stack import Stack
from tests.support.invoices import good_invoice, tax_id
from tests.support.platform import SCOPES, _serials, admin, new_tenant, request_of

INVOICES = 20


def wish(number: str) -> redletter_pb2.IssueRedInvoiceRequest:
    selection = redletter_pb2.RedSelection(
        blue_number=number, reason=redletter_pb2.RED_REASON_GOODS_RETURNED, extent=redletter_pb2.RED_EXTENT_WHOLE
    )
    return redletter_pb2.IssueRedInvoiceRequest(seller_id="seller-0", request_id=f"red {number}", selection=selection)


def entry(number: str) -> billow.EnterInvoiceRequest:
    return billow.EnterInvoiceRequest(
        request_id=f"enter {number}", number=number, state=billow.ENTRY_STATE_DEDUCTIBLE, period=202611
    )


async def test_an_invoice_is_either_entered_or_red_lettered_and_both_arrive(running_stack: Stack) -> None:
    address = f"{running_stack.envoy.host}:{running_stack.envoy.port}"
    buyer_tax_id = tax_id(time.time_ns() // 1_000 % 10**13)
    async with AsyncExitStack() as stack:
        seller = await stack.enter_async_context(new_tenant(running_stack))
        buyer = await stack.enter_async_context(new_tenant(running_stack, scopes=[*SCOPES, "book"]))
        await seller.seller()
        first = (26 * 10**9 + next(_serials)) * 10**9
        await seller.registry.AddNumberRange(
            registry_pb2.AddNumberRangeRequest(
                seller_id="seller-0",
                kind=invoice_pb2.INVOICE_KIND_GENERAL,
                color=invoice_pb2.INVOICE_COLOR_RED,
                first_number=f"{first:020d}",
                last_number=f"{first + 999:020d}",
            ),
            metadata=seller.metadata,
        )
        admin(running_stack, "tax-id", "confirm", buyer_tax_id, "--tenant", f"tenant-{buyer.serial}", "--claim")
        selling = await stack.enter_async_context(billow.AsyncClient(address, api_key=seller.secret))
        buying = await stack.enter_async_context(billow.AsyncClient(address, api_key=buyer.secret))
        invoice = good_invoice()
        invoice.buyer.tax_id = buyer_tax_id
        requests = [request_of("seller-0", f"r{place}", invoice) for place in range(INVOICES)]
        numbers = [result.issued.number for result in await selling.issue_batch(requests)]

        async def race(place: int, number: str) -> tuple[str, str]:
            """Enters and red-letters at once, one or the other sent first; returns both outcomes."""

            async def enter() -> str:
                await asyncio.sleep(0.002 * (place % 3))
                (result,) = await buying.entries.enter([entry(number)])
                error = billow.error_of(result)
                return error.reason if error else "entered"

            async def redden() -> str:
                await asyncio.sleep(0.002 * (place % 2))
                try:
                    await selling.red_letter.issue(wish(number))
                except billow.BillowError as error:
                    return error.reason
                return "red"

            entered, red = await asyncio.gather(enter(), redden())
            return entered, red

        outcomes = await asyncio.gather(*(race(place, number) for place, number in enumerate(numbers)))
        lawful = {("entered", "CONFIRMATION_REQUIRED"), ("ALREADY_FULLY_RED", "red")}
        assert set(outcomes) <= lawful, outcomes
        reds = sum(outcome[1] == "red" for outcome in outcomes)

        received = []
        async with aclosing(buying.inbox.follow(buyer_tax_id)) as following:
            async for item in following:
                received.append(item)
                if len(received) == INVOICES + reds:
                    break
    blues = {item.number: item for item in received if item.color == billow.INVOICE_COLOR_BLUE}
    assert blues.keys() == set(numbers)
    reddened = {number for number, outcome in zip(numbers, outcomes, strict=True) if outcome[1] == "red"}
    assert {item.blue_number for item in received if item.color == billow.INVOICE_COLOR_RED} == reddened

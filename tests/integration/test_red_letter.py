"""Red invoices through Envoy: sums, races, verification at once, confirmation forms (P2 to P4, P7, P8, P11)."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from billow.issuance.v1 import issuance_pb2
from billow.redletter.v1 import redletter_pb2, redletter_pb2_grpc
from billow.registry.v1 import registry_pb2
from billow.types.v1 import invoice_pb2
from billow.verification.v1 import verification_pb2
from stack import Stack
from tests.support.command import environment, run
from tests.support.invoices import good_invoice
from tests.support.platform import Tenant, _serials, admin, new_tenant, request_of
from tests.support.wire import error_of, read_status

LINE = 11_300
Selection = redletter_pb2.RedSelection


@pytest.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as tenant:
        seller_id = await tenant.seller()
        first = (26 * 10**9 + next(_serials)) * 10**9
        await tenant.registry.AddNumberRange(
            registry_pb2.AddNumberRangeRequest(
                seller_id=seller_id,
                kind=invoice_pb2.INVOICE_KIND_GENERAL,
                color=invoice_pb2.INVOICE_COLOR_RED,
                first_number=f"{first:020d}",
                last_number=f"{first + 999:020d}",
            ),
            metadata=tenant.metadata,
        )
        yield tenant


def stub(tenant: Tenant) -> redletter_pb2_grpc.RedLetterServiceAsyncStub:
    return redletter_pb2_grpc.RedLetterServiceStub(tenant.channel)


def whole(number: str) -> Selection:
    return Selection(
        blue_number=number, reason=redletter_pb2.RED_REASON_GOODS_RETURNED, extent=redletter_pb2.RED_EXTENT_WHOLE
    )


def part(number: str, *lines: redletter_pb2.RedLine) -> Selection:
    return Selection(
        blue_number=number,
        reason=redletter_pb2.RED_REASON_ALLOWANCE,
        extent=redletter_pb2.RED_EXTENT_LINES,
        lines=lines,
    )


def wish(request_id: str, selection: Selection, **more: str) -> redletter_pb2.IssueRedInvoiceRequest:
    return redletter_pb2.IssueRedInvoiceRequest(
        seller_id="seller-0", request_id=request_id, selection=selection, **more
    )


async def red(tenant: Tenant, request: redletter_pb2.IssueRedInvoiceRequest) -> redletter_pb2.IssuedRedInvoice:
    return (await stub(tenant).IssueRedInvoice(request, metadata=tenant.metadata, timeout=30)).red


async def verified(tenant: Tenant, issued: invoice_pb2.IssuedInvoice) -> tuple[int, int]:
    check = verification_pb2.InvoiceCheck(number=issued.number, gross_total_minor=issued.gross_total_minor)
    found = await tenant.issuance.GetInvoice(
        issuance_pb2.GetInvoiceRequest(number=issued.number), metadata=tenant.metadata
    )
    seconds = found.issued.issue_time.seconds + 8 * 3_600
    check.issue_date = int(dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y%m%d"))
    answer = await tenant.verification.VerifyInvoice(
        verification_pb2.VerifyInvoiceRequest(check=check), metadata=tenant.metadata
    )
    assert answer.result.outcome == verification_pb2.VERIFICATION_OUTCOME_MATCH
    return answer.result.state, answer.result.red_total_minor


async def test_parts_and_remainder_are_seen_at_once_and_say_what_they_correct(tenant: Tenant) -> None:
    blue = await tenant.issue(request_of("seller-0", "blue"))
    assert await verified(tenant, blue) == (invoice_pb2.INVOICE_STATE_NORMAL, 0)
    first = await red(tenant, wish("r-1", part(blue.number, redletter_pb2.RedLine(line=1, quantity="1"))))
    assert await verified(tenant, blue) == (invoice_pb2.INVOICE_STATE_PARTLY_RED, -LINE // 2)
    assert first.issued.gross_total_minor == -LINE // 2
    rest = redletter_pb2.RedSelection(
        blue_number=blue.number,
        reason=redletter_pb2.RED_REASON_ISSUED_IN_ERROR,
        extent=redletter_pb2.RED_EXTENT_REMAINDER,
    )
    last = await red(tenant, wish("r-2", rest))
    assert await verified(tenant, blue) == (invoice_pb2.INVOICE_STATE_FULLY_RED, -3 * LINE)
    assert await verified(tenant, last.issued) == (invoice_pb2.INVOICE_STATE_NORMAL, 0)
    found = await tenant.issuance.GetInvoice(
        issuance_pb2.GetInvoiceRequest(number=first.issued.number), metadata=tenant.metadata
    )
    body = found.invoice
    assert (body.color, body.blue_number) == (invoice_pb2.INVOICE_COLOR_RED, blue.number)
    assert body.remark == f"被红冲蓝字数电票号码：{blue.number}"
    assert body.buyer == good_invoice().buyer
    (line,) = body.lines
    assert (line.quantity, line.unit_price, line.net_minor, line.tax_minor) == ("-1", "50.00", -5_000, -650)
    error = await error_of(red(tenant, wish("r-3", rest)))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "ALREADY_FULLY_RED")
    assert await red(tenant, wish("r-2", rest)) == last, "a repeat is answered though nothing is left"
    error = await error_of(red(tenant, wish("r-2", whole(blue.number))))
    assert error.reason == "REQUEST_ID_REUSED"


async def test_fifty_racing_parts_through_both_servers(tenant: Tenant) -> None:
    blue = await tenant.issue(request_of("seller-0", "blue", good_invoice(1)))
    share = redletter_pb2.RedLine(line=1, gross_minor=300)

    async def one(task: int) -> str:
        try:
            await red(tenant, wish(f"r-{task}", part(blue.number, share)))
        except grpc.aio.AioRpcError as error:
            return dict((await error_of(_raise(error))).metadata)["remaining_minor"]
        return ""

    answers = await asyncio.gather(*(one(task) for task in range(50)))
    assert (answers.count(""), answers.count("200")) == (37, 13)
    assert await verified(tenant, blue) == (invoice_pb2.INVOICE_STATE_PARTLY_RED, -37 * 300)


async def _raise(error: grpc.aio.AioRpcError) -> None:
    raise error


async def test_a_batch_answers_each_and_refuses_other_peoples_invoices(running_stack: Stack, tenant: Tenant) -> None:
    blue = await tenant.issue(request_of("seller-0", "blue"))
    async with new_tenant(running_stack) as other:
        await other.seller()
        foreign = await other.issue(request_of("seller-0", "foreign"))
    one = await red(tenant, wish("one", part(blue.number, redletter_pb2.RedLine(line=3))))
    requests = [
        wish("a", whole(foreign.number)),
        wish("b", whole(blue.number)),
        wish("c", part(blue.number, redletter_pb2.RedLine(line=1), redletter_pb2.RedLine(line=2, net_minor=1))),
        wish("d", whole(one.issued.number)),
        wish("e", Selection(blue_number="1")),
        wish("f", part(blue.number, redletter_pb2.RedLine(line=9), redletter_pb2.RedLine(line=1, quantity="0"))),
    ]
    answer = await stub(tenant).BatchIssueRedInvoices(
        redletter_pb2.BatchIssueRedInvoicesRequest(requests=requests), metadata=tenant.metadata
    )
    told = [read_status(item.error) if item.HasField("error") else None for item in answer.results]
    assert [item.reason if item else "" for item in told] == [
        "INVOICE_NOT_FOUND",
        "RED_EXCEEDS_REMAINDER",
        "",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
    ]
    assert told[1]
    assert dict(told[1].metadata)["remaining_minor"] == str(2 * LINE)
    assert told[4]
    assert [field for field, _ in told[4].violations] == [
        "selection.blue_number",
        "selection.reason",
        "selection.extent",
    ]
    assert told[5]
    assert [field for field, _ in told[5].violations] == [
        "selection.lines[0].line",
        "selection.lines[1].quantity",
    ]
    assert answer.results[2].red.issued.gross_total_minor == -LINE - 1


async def test_a_confirmation_form_goes_from_seller_to_buyer(running_stack: Stack, tenant: Tenant) -> None:
    async with new_tenant(running_stack) as buyer, new_tenant(running_stack) as stranger:
        invoice = good_invoice(serial=buyer.serial)
        blue = await tenant.issue(request_of("seller-0", "blue", invoice))
        made = redletter_pb2.CreateConfirmationRequest(request_id="f-1", selection=whole(blue.number))
        form = (await stub(tenant).CreateConfirmation(made, metadata=tenant.metadata)).confirmation
        assert form.state == redletter_pb2.CONFIRMATION_STATE_NOT_NEEDED
        assert form.gross_total_minor == -3 * LINE
        get = redletter_pb2.GetConfirmationRequest(confirmation_id=form.confirmation_id)
        for who in (stranger, buyer):
            error = await error_of(stub(who).GetConfirmation(get, metadata=who.metadata))
            assert error.reason == "CONFIRMATION_NOT_FOUND"
        await asyncio.to_thread(
            admin,
            running_stack,
            *("tax-id", "confirm", invoice.buyer.tax_id, "--tenant", f"tenant-{buyer.serial}", "--claim"),
        )
        made = redletter_pb2.CreateConfirmationRequest(request_id="f-1", selection=whole(blue.number), as_buyer=True)
        theirs = (await stub(buyer).CreateConfirmation(made, metadata=buyer.metadata)).confirmation
        assert theirs.state == redletter_pb2.CONFIRMATION_STATE_WAITING_FOR_SELLER
        name = theirs.confirmation_id
        confirm = redletter_pb2.ConfirmConfirmationRequest(confirmation_id=name)
        error = await error_of(stub(buyer).ConfirmConfirmation(confirm, metadata=buyer.metadata))
        assert (error.reason, dict(error.metadata)["state"]) == ("CONFIRMATION_NOT_USABLE", "WAITING_FOR_SELLER")
        error = await error_of(red(tenant, wish("r", whole(blue.number), confirmation_id=name)))
        assert error.reason == "CONFIRMATION_NOT_USABLE"
        for _ in range(2):
            answer = await stub(tenant).ConfirmConfirmation(confirm, metadata=tenant.metadata)
            assert answer.confirmation.state == redletter_pb2.CONFIRMATION_STATE_CONFIRMED
        issued = await red(tenant, wish("r", whole(blue.number), confirmation_id=name))
        page = await stub(buyer).ListConfirmations(
            redletter_pb2.ListConfirmationsRequest(buyer_tax_id=invoice.buyer.tax_id), metadata=buyer.metadata
        )
        again = (await stub(buyer).CreateConfirmation(made, metadata=buyer.metadata)).confirmation
        assert (again.confirmation_id, again.red_number) == (name, issued.issued.number), "though nothing is left"
        used = {item.confirmation_id: item.red_number for item in page.confirmations}
        assert used[name] == issued.issued.number


async def test_the_command_and_json_red_letter_too(running_stack: Stack, tenant: Tenant) -> None:
    address = f"{running_stack.envoy.host}:{running_stack.envoy.port}"
    env = environment(BILLOW_TARGET=address, BILLOW_API_KEY=tenant.secret)
    blue = await tenant.issue(request_of("seller-0", "blue"))
    issue = ("red", "issue", "seller-0", "by command", blue.number, "--reason", "04", "--line", "2:gross=13.00")
    ended = await run(*issue, "--json", env=env)
    assert ended.code == 0, ended.err
    assert ended.json["issued"]["grossTotalMinor"] == "-1300"
    ended = await run("red", "issue", "seller-0", "too much", blue.number, "--reason", "01", env=env)
    assert ended.code == 1, ended.out
    assert f"only {3 * LINE - 1_300} is left" in ended.err
    ended = await run("red", "form", "f", blue.number, "--reason", "01", "--rest", "--json", env=env)
    assert ended.json["grossTotalMinor"] == str(1_300 - 3 * LINE), ended.err
    name = ended.json["confirmationId"]
    ended = await run("red", "withdraw", name, env=env)
    assert "08 withdrawn" in ended.out, ended.err
    ended = await run("red", "list", "--seller", "seller-0", "--state", "08", "--json", env=env)
    assert ended.json["confirmationId"] == name
    answer = await asyncio.to_thread(
        post,
        f"http://{address}/v1/sellers/seller-0/redInvoices",
        {
            "requestId": "by json",
            "selection": {
                "blueNumber": blue.number,
                "reason": "RED_REASON_ALLOWANCE",
                "extent": "RED_EXTENT_REMAINDER",
            },
        },
        tenant.secret,
    )
    assert answer["red"]["issued"]["grossTotalMinor"] == str(1_300 - 3 * LINE)
    assert await verified(tenant, blue) == (invoice_pb2.INVOICE_STATE_FULLY_RED, -3 * LINE)


def post(url: str, body: dict[str, Any], secret: str) -> dict[str, Any]:
    headers = {"content-type": "application/json", "authorization": f"Bearer {secret}"}
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer

"""`billow tax-id` and `billow book` against the whole stack."""

from __future__ import annotations

import time
from pathlib import Path

import orjson

import billow
from stack import Stack
from tests.support.command import environment, run
from tests.support.invoices import good_invoice, tax_id
from tests.support.platform import SCOPES, admin, new_tenant, request_of


async def test_books_by_command_and_by_both_clients(running_stack: Stack, tmp_path: Path) -> None:
    address = f"{running_stack.envoy.host}:{running_stack.envoy.port}"
    buyer_tax_id = tax_id(time.time_ns() // 1_000 % 10**13)
    async with new_tenant(running_stack) as seller, new_tenant(running_stack, scopes=[*SCOPES, "book"]) as buyer:
        await seller.seller()
        invoice = good_invoice()
        invoice.buyer.tax_id = buyer_tax_id
        numbers = [(await seller.issue(request_of("seller-0", f"r{place}", invoice))).number for place in range(3)]
        env = environment(BILLOW_TARGET=address, BILLOW_API_KEY=buyer.secret)

        claimed = await run("tax-id", "claim", buyer_tax_id, "--json", env=env)
        assert claimed.code == 0, claimed.err
        tenant_id = claimed.json["tenantId"]
        refused = await run("tax-id", "confirm", tenant_id, buyer_tax_id, env=env)
        assert (refused.code, "SCOPE_MISSING" in refused.err) == (5, True)
        admin(running_stack, "tax-id", "confirm", buyer_tax_id, "--tenant", tenant_id)
        assert "confirmTime" in (await run("tax-id", "list", "--json", env=env)).json

        file = tmp_path / "numbers"
        file.write_text("\n".join(numbers[1:]) + "\n\n")
        options = ("--period", "202611", "--deductible", "--reference", "记-7", "--request-id", "run 1")
        for _ in range(2):  # the same again changes nothing
            entered = await run("book", "enter", numbers[0], "--file", file, *options, "--json", env=env)
            assert entered.code == 0, entered.err
            results = [orjson.loads(line)["entry"] for line in entered.out.splitlines()]
            assert [(item["number"], item["state"], item["version"]) for item in results] == [
                (number, "ENTRY_STATE_DEDUCTIBLE", 1) for number in numbers
            ]
        again = await run("book", "enter", numbers[0], "--period", "202612", "--not-deductible", env=env)
        assert (again.code, "ALREADY_ENTERED" in again.err) == (1, True)
        withdrawn = await run("book", "withdraw", numbers[0], env=env)
        assert withdrawn.code == 0, withdrawn.err
        assert "06 withdrawn" in withdrawn.out
        shown = await run("book", "show", numbers[0], env=env)
        assert [line.split()[1] for line in shown.out.splitlines()[1:]] == ["02", "06"]
        wrong = await run("book", "enter", "123", "--period", "202612", "--deductible", env=env)
        assert wrong.code == 2

        async with billow.AsyncClient(address, api_key=buyer.secret) as client:
            entry = billow.EnterInvoiceRequest(
                request_id="sdk", number=numbers[1], state=billow.ENTRY_STATE_NOT_DEDUCTIBLE, period=202611
            )
            (result,) = await client.entries.enter([entry])
            error = billow.error_of(result)
            assert isinstance(error, billow.AlreadyEntered)
            assert (error.metadata["state"], error.metadata["period"]) == ("02", "202611")
            withdrawal = billow.WithdrawEntryRequest(request_id="sdk 2", number=numbers[1])
            (result,) = await client.entries.withdraw([withdrawal])
            assert result.entry.state == billow.ENTRY_STATE_WITHDRAWN
            assert [item.tax_id async for item in client.tax_ids.list()] == [buyer_tax_id]

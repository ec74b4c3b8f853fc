"""Clients that are not ours, through Envoy: buf curl with reflection, and JSON over plain HTTP."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from stack import Stack
from tests.support.platform import Tenant, new_tenant

BUF = Path(sys.executable).with_name("buf")
INVOICE = {
    "kind": "INVOICE_KIND_GENERAL",
    "buyer": {"name": "示例买方"},
    "lines": [
        {"name": "tea", "goodsCode": "1030201010000000000", "quantity": "2", "unitPrice": "12.50", "taxRateBp": 1300}
    ],
}


@pytest.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as tenant:
        await tenant.seller()
        yield tenant


async def buf_curl(stack: Stack, method: str, message: dict[str, Any], secret: str) -> dict[str, Any]:
    """Calls a method as an outsider would, with the contract from reflection; returns the answer or the error."""
    url = f"http://{stack.envoy.host}:{stack.envoy.port}/{method}"
    command = [
        str(BUF),
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        "-H",
        f"authorization: Bearer {secret}",
    ]

    def call() -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, "-d", json.dumps(message), url], capture_output=True, text=True, timeout=60)

    done = await asyncio.to_thread(call)
    answer: dict[str, Any] = json.loads(done.stdout or done.stderr)
    return answer


async def rest(
    stack: Stack, verb: str, path: str, message: dict[str, Any] | None = None, secret: str = ""
) -> tuple[int, dict[str, Any]]:
    """Makes a JSON call; returns the status and the answer."""

    def call() -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(stack.envoy.host, stack.envoy.port, timeout=30)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {secret}"} if secret else {})
        connection.request(verb, path, json.dumps(message) if message is not None else None, headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, json.loads(body)

    return await asyncio.to_thread(call)


def check_of(issued: dict[str, Any]) -> dict[str, Any]:
    """The public check of an invoice: number, date in China, total."""
    china = datetime.fromisoformat(issued["issueTime"]).astimezone(timezone(timedelta(hours=8)))
    total = issued["grossTotalMinor"]
    return {"number": issued["number"], "issueDate": int(f"{china:%Y%m%d}"), "grossTotalMinor": total}


async def test_buf_curl_issues_and_verifies(running_stack: Stack, tenant: Tenant) -> None:
    request = {"sellerId": "seller-0", "requestId": "buf", "invoice": INVOICE}
    service = "billow.issuance.v1.IssuanceService/IssueInvoice"
    issued = (await buf_curl(running_stack, service, request, tenant.secret))["issued"]
    assert (issued["grossTotalMinor"], issued["requestId"]) == ("2825", "buf")
    service = "billow.verification.v1.VerificationService/VerifyInvoice"
    answer = await buf_curl(running_stack, service, {"check": check_of(issued)}, tenant.secret)
    assert answer["result"]["outcome"] == "VERIFICATION_OUTCOME_MATCH"
    reused = request | {"invoice": INVOICE | {"remark": "another"}}
    error = await buf_curl(running_stack, "billow.issuance.v1.IssuanceService/IssueInvoice", reused, tenant.secret)
    assert error["code"] == "already_exists"


async def test_json_over_http(running_stack: Stack, tenant: Tenant) -> None:
    path = "/v1/sellers/seller-0/invoices"
    status, answer = await rest(running_stack, "POST", path, {"requestId": "r", "invoice": INVOICE}, tenant.secret)
    issued = answer["issued"]
    assert (status, issued["grossTotalMinor"], len(base64.b64decode(issued["bodySha256"]))) == (200, "2825", 32)
    status, got = await rest(running_stack, "GET", f"/v1/invoices/{issued['number']}", secret=tenant.secret)
    assert (status, got["issued"], got["state"]) == (200, issued, "INVOICE_STATE_NORMAL")
    status, listed = await rest(running_stack, "GET", "/v1/invoices?sellerId=seller-0", secret=tenant.secret)
    assert (status, [item["issued"] for item in listed["invoices"]]) == (200, [issued])


async def test_json_errors_name_field_and_rule(running_stack: Stack, tenant: Tenant) -> None:
    bad = {"requestId": "r", "invoice": INVOICE | {"lines": []}}
    status, answer = await rest(running_stack, "POST", "/v1/sellers/seller-0/invoices", bad, tenant.secret)
    reasons = [detail["reason"] for detail in answer["details"] if "reason" in detail]
    violations = [fault for detail in answer["details"] for fault in detail.get("fieldViolations", [])]
    assert (status, reasons) == (400, ["INVALID_INVOICE"])
    assert [(fault["field"], fault["reason"]) for fault in violations] == [("invoice.lines", "LINES_COUNT")]
    status, _ = await rest(running_stack, "GET", f"/v1/invoices/{'9' * 20}", secret=tenant.secret)
    assert status == 404
    status, _ = await rest(running_stack, "GET", f"/v1/invoices/{'9' * 20}")
    assert status == 401


async def test_the_public_checks_without_a_key_a_few_times_a_day(running_stack: Stack, tenant: Tenant) -> None:
    path = "/v1/sellers/seller-0/invoices"
    _, answer = await rest(running_stack, "POST", path, {"requestId": "r", "invoice": INVOICE}, tenant.secret)
    check = check_of(answer["issued"])
    outcomes = []
    for _ in range(7):
        status, answer = await rest(running_stack, "POST", "/v1/invoices:verify", {"check": check})
        assert status == 200
        outcomes.append(answer["result"]["outcome"].removeprefix("VERIFICATION_OUTCOME_"))
    assert outcomes == ["MATCH"] * 5 + ["TOO_MANY_CHECKS"] * 2
    status, answer = await rest(running_stack, "POST", "/v1/invoices:verify", {"check": check}, tenant.secret)
    assert answer["result"]["outcome"] == "VERIFICATION_OUTCOME_MATCH"
    status, answer = await rest(running_stack, "POST", "/v1/invoices:batchVerify", {"checks": [check]})
    assert status == 401

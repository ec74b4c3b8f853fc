"""Rates at the edge: an address without a key, and a tenant with one, are told when to come back (P9)."""

from __future__ import annotations

import http.client
import json

import grpc
import pytest

import billow
from billow import InvoiceCheck, RetryPolicy
from stack import Stack
from tests.support.platform import admin

ONCE = RetryPolicy(attempts_max=1)
TRIES = 200  # at a rate of one a second: refused long before, however slow the machine
KNOWN = InvoiceCheck(number="26110000000000000042", issue_date=20261118, gross_total_minor=1)
CHECK = b'{"check": {"number": "26110000000000000042", "issueDate": 20261118, "grossTotalMinor": "1"}}'


def ask(stack: Stack, path: str, body: bytes | None = None, source: str = "", **headers: str) -> tuple[int, bytes, str]:
    """One request; status, body and retry-after."""
    address = (source, 0) if source else None
    edge = stack.envoy
    connection = http.client.HTTPConnection(edge.host, edge.port, timeout=30, source_address=address)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST" if body else "GET", path, body, {"content-type": "application/json", **sent})
        reply = connection.getresponse()
        return reply.status, reply.read(), reply.getheader("retry-after", "")
    finally:
        connection.close()


def spend(stack: Stack) -> tuple[int, bytes, str]:
    """Verifies without a key until it is refused; the refusal."""
    for _ in range(TRIES):
        answer = ask(stack, "/v1/invoices:verify", CHECK)
        if answer[0] != 200:
            return answer
    raise AssertionError("nothing was refused")


def until_refused(client: billow.Client) -> None:
    """Verifies for as long as it may."""
    for _ in range(TRIES):
        client.verify(KNOWN)


def test_an_address_without_a_key_is_slowed(strict_stack: Stack) -> None:
    status, body, retry_after = spend(strict_stack)
    assert (status, retry_after) == (429, "1")
    assert json.loads(body)["code"] == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


def test_what_a_caller_says_of_its_address_is_not_believed(strict_stack: Stack) -> None:
    spend(strict_stack)
    told = (ask(strict_stack, "/v1/invoices:verify", CHECK, x_forwarded_for=f"192.0.2.{n}")[0] for n in range(TRIES))
    assert 429 in told


def test_others_go_on(strict_stack: Stack) -> None:
    """Another address, somebody with a key, pages and health are not slowed by it."""
    spend(strict_stack)
    assert ask(strict_stack, "/v1/invoices:verify", CHECK, source="127.0.0.2")[0] == 200
    spend(strict_stack)
    assert ask(strict_stack, "/v1/sellers", authorization="Bearer bk_no")[0] == 401
    assert {ask(strict_stack, "/")[0] for _ in range(30)} == {200}


def test_grpc_callers_are_told_when_to_come_back(strict_stack: Stack) -> None:
    spend(strict_stack)
    target = billow.Target(address=f"{strict_stack.envoy.host}:{strict_stack.envoy.port}")
    with billow.Client(target, retry=ONCE) as client, pytest.raises(billow.Overloaded) as refused:
        until_refused(client)
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (refused.value.retryable, refused.value.retry_delay_ms) == (True, 1_000)


def test_a_tenant_beyond_its_rate_is_refused_and_another_is_not(strict_stack: Stack) -> None:
    target = f"{strict_stack.envoy.host}:{strict_stack.envoy.port}"
    clients = []
    for tenant in ("greedy", "modest"):
        made = admin(strict_stack, "key", "create", "--create-tenant", "--tenant", tenant, "--scope", "verify")
        clients.append(billow.Client(billow.Target(address=target, api_key=str(made["secret"])), retry=ONCE))
    greedy, modest = clients
    with greedy, modest:
        with pytest.raises(billow.QuotaExceeded) as refused:
            until_refused(greedy)
        assert refused.value.retryable
        assert refused.value.retry_delay_ms > 0
        assert modest.verify(KNOWN).outcome

"""Rates of tenants: so much a second and some at once, each its own, batches overdraw, streams wait; none is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from billow.verification.v1 import verification_pb2
from core import limits
from core.domain.errors import BillowError, Reason
from server.interceptors import Access, Guard
from server.services.auth import Caller
from server.tenant_rates import TenantRate, tenant_rates

SERVICE = verification_pb2.DESCRIPTOR.services_by_name["VerificationService"]
ACCESS = dict.fromkeys(("VerifyInvoice", "BatchVerifyInvoices", "StreamVerifyInvoices"), Access("verify"))


class Refusals:
    def __init__(self) -> None:
        self.noted: list[tuple[str, str, int]] = []

    def refused(self, lane: str, why: str, items: int) -> None:
        self.noted.append((lane, why, items))

    def call(self, method: str) -> Any:
        return lambda code, duration_s: self.noted.append((method.rpartition(".")[2], code, 0))


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def rate_of(items_a_second: int) -> tuple[TenantRate, Clock, Refusals]:
    clock, refusals = Clock(), Refusals()
    return TenantRate(kind="verify", items_a_second=items_a_second, metrics=refusals, clock=clock), clock, refusals


def granted(rate: TenantRate, tenant_key: int, tries: int, items: int = 1) -> int:
    return sum(rate.wait_s(tenant_key, items) == 0 for _ in range(tries))


def test_a_tenant_gets_its_burst_and_then_its_rate() -> None:
    rate, clock, _ = rate_of(10)
    burst = 10 * limits.RATE_BURST_S
    assert granted(rate, 1, 100) == pytest.approx(burst, abs=1)
    for _ in range(5):
        clock.now_s += 1
        assert granted(rate, 1, 100) == pytest.approx(10, abs=1)
    clock.now_s += 3_600
    assert granted(rate, 1, 100) == pytest.approx(burst, abs=1)


def test_tenants_do_not_share() -> None:
    rate, _, _ = rate_of(10)
    granted(rate, 1, 100)
    assert granted(rate, 2, 1) == 1


def test_a_batch_may_overdraw_and_is_paid_for_before_the_next() -> None:
    rate, clock, refusals = rate_of(10)
    rate.take(1, 1_000)
    with pytest.raises(BillowError) as refused:
        rate.take(1, 1)
    assert refused.value.reason is Reason.QUOTA_EXCEEDED
    assert refused.value.retry_delay_ms == pytest.approx((100 - limits.RATE_BURST_S) * 1_000, abs=2)
    assert refusals.noted == [("verify", "rate", 1)]
    clock.now_s += 100
    rate.take(1, 1)


def test_memory_is_bounded() -> None:
    rate, clock, _ = rate_of(1_000_000)
    for tenant_key in range(limits.RATE_TENANTS_MAX + 10):
        clock.now_s += 10
        rate.take(tenant_key, 1)
    assert len(rate._spent_s) <= 10
    for tenant_key in range(2 * limits.RATE_TENANTS_MAX):
        rate.take(tenant_key, 100_000_000)
    assert len(rate._spent_s) <= limits.RATE_TENANTS_MAX


def test_no_rate_is_none() -> None:
    assert tenant_rates(checks_a_second=0, reads_a_second=0, metrics=Refusals()) == {}
    assert tenant_rates(checks_a_second=0, reads_a_second=5, metrics=Refusals()).keys() == {"read"}


class Everybody:
    """Knows every key."""

    async def caller(self, authorization: str) -> Caller:
        return Caller(int(authorization), authorization, frozenset({"verify"}), "key")


class Verifying:
    """Answers every check."""

    async def VerifyInvoice(self, request: Any, call: Any) -> Any:  # noqa: N802 (the contract's name)
        return verification_pb2.VerifyInvoiceResponse()

    async def BatchVerifyInvoices(self, request: Any, call: Any) -> Any:  # noqa: N802 (the contract's name)
        return verification_pb2.BatchVerifyInvoicesResponse()

    async def StreamVerifyInvoices(self, requests: Any, call: Any) -> AsyncIterator[Any]:  # noqa: N802 (the contract's name)
        async for request in requests:
            yield verification_pb2.StreamVerifyInvoicesResponse(sequence=request.sequence)


class Aborted(Exception):
    pass


class Context:
    """A call of a tenant."""

    def __init__(self, tenant_key: int) -> None:
        self._tenant_key = tenant_key

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return [("authorization", str(self._tenant_key))]

    def time_remaining(self) -> None:
        return None

    async def abort(self, code: Any, words: str, trailing: Any) -> None:
        raise Aborted(code.name)


def method(guard: Guard, name: str) -> Any:
    handlers: Any = guard.handlers(SERVICE, Verifying(), ACCESS)
    path = f"/{SERVICE.full_name}/{name}"
    return handlers.service(type("Details", (), {"method": path, "invocation_metadata": ()}))


async def test_checks_of_a_batch_count_each_and_streams_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, clock, refusals = rate_of(10)
    guard = Guard(authenticator=Everybody(), metrics=refusals, rates={"verify": rate})
    batch = verification_pb2.BatchVerifyInvoicesRequest(checks=[verification_pb2.InvoiceCheck()] * 100)
    await method(guard, "BatchVerifyInvoices").unary_unary(batch.SerializeToString(), Context(1))
    with pytest.raises(Aborted, match="RESOURCE_EXHAUSTED"):
        await method(guard, "VerifyInvoice").unary_unary(b"", Context(1))
    await method(guard, "VerifyInvoice").unary_unary(b"", Context(2))
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)
        clock.now_s += delay_s

    monkeypatch.setattr("server.interceptors.asyncio.sleep", sleep)

    async def messages() -> AsyncIterator[bytes]:
        for sequence in (1, 2):
            yield verification_pb2.StreamVerifyInvoicesRequest(sequence=sequence).SerializeToString()

    answers = [answer async for answer in method(guard, "StreamVerifyInvoices").stream_stream(messages(), Context(1))]
    assert len(answers) == 2
    assert sum(slept) == pytest.approx(100 / 10 - limits.RATE_BURST_S, abs=0.2)

"""The rounds of `make bench`: every load and every limit in turn, so that their ratios come from the same minutes."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import billow
from benchmarks import calls, echo, limits, loads
from benchmarks.shapes import Shape, single_messages, stream_messages, tax_id
from billow.verification.v1 import verification_pb2
from core.settings import load
from stack import Stack

STREAMS = 2
BATCH_ITEMS = 500
WARM_UP_BATCHES = 10
UNDER_WAY = 64  # single calls at once
NUMBERS = 10**9  # of the range of each seller
CHECKS_MAX = 5_000  # different invoices verified one by one
ISSUE_ONE = "/billow.issuance.v1.IssuanceService/IssueInvoice"
VERIFY_ONE = "/billow.verification.v1.VerificationService/VerifyInvoice"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    batches: int  # of BATCH_ITEMS invoices, a stream and round
    calls: int  # single calls of each kind, a round
    sellers: int = 10


Made = TypeVar("Made", loads.Outcome, calls.Load)

FULL = Plan(rounds=5, batches=120, calls=20_000)
QUICK = Plan(rounds=3, batches=30, calls=4_000)


class Measurement:
    """One run over one stack."""

    def __init__(self, *, stack: Stack, secret: str, plan: Plan, echo_ports: list[int]) -> None:
        self._stack = stack
        self._secret = secret
        self._plan = plan
        self._echo_ports = echo_ports
        self._target = f"{stack.envoy.host}:{stack.envoy.port}"
        self._sellers = [f"seller-{serial}" for serial in range(plan.sellers)]

    async def run(self) -> dict[str, list[float]]:
        """Returns the figures of every round by name; raises RuntimeError when any call or item failed."""
        await self._register()
        await self._issue(self._sellers, WARM_UP_BATCHES)
        raw: dict[str, list[float]] = {}
        for number in range(self._plan.rounds):
            found = await self._round(number)
            for name, figure in found.items():
                raw.setdefault(name, []).append(figure)
            latest = ", ".join(f"{name} {figure:,.0f}" for name, figure in found.items())
            print(f"round {number + 1} of {self._plan.rounds}: {latest}", flush=True)
        return raw

    async def _register(self) -> None:
        """Registers the sellers with a long range each."""
        async with billow.AsyncClient(self._target, api_key=self._secret) as client:
            for serial, name in enumerate(self._sellers):
                party = billow.Party(name=f"卖方{serial}", tax_id=tax_id(10**6 + serial))
                await client.registry.create_seller(name, party)
                first = (26 * 10**4 + serial) * 10**14
                await client.registry.add_number_range(
                    name,
                    kind=billow.INVOICE_KIND_GENERAL,
                    first_number=f"{first:020d}",
                    last_number=f"{first + NUMBERS - 1:020d}",
                )

    async def _round(self, number: int) -> dict[str, float]:
        """Runs every load once."""
        settings = load(self._stack.config_path)
        one = await self._issue(self._sellers[:1], self._plan.batches)
        many = await self._issue(self._sellers, self._plan.batches)
        checks = loads.check_messages(many.issued, BATCH_ITEMS)
        shares = [checks[stream::STREAMS] for stream in range(STREAMS)]
        verified = _whole(await loads.verify(self._target, self._secret, shares), "streamed verification")
        found = {"issue": many.rate, "issue_one_seller": one.rate, "verify": verified.rate}
        found |= await self._singles(many.issued[:CHECKS_MAX])
        found["load_data"] = await asyncio.to_thread(limits.load_data, settings, number)
        found["redis_get"] = await limits.redis_get(settings)
        found["object_put"] = await limits.object_put(settings)
        return found

    async def _issue(self, sellers: list[str], batches: int) -> loads.Outcome:
        """Issues by streams."""
        shape = Shape(seller_ids=sellers, run_id=f"{time.time_ns()}", batch_items=BATCH_ITEMS)
        messages = [list(stream_messages(shape, batches, stream)) for stream in range(STREAMS)]
        return _whole(await loads.issue(self._target, self._secret, messages), "streamed issuing")

    async def _singles(self, issued: Sequence[billow.IssuedInvoice]) -> dict[str, float]:
        """Makes unary calls through Envoy, to the servers and to the echo in their place."""
        checks = [
            verification_pb2.VerifyInvoiceRequest(check=loads.check_of(item)).SerializeToString() for item in issued
        ]
        issue = await self._closed_loop(ISSUE_ONE, self._requests())
        verify = await self._closed_loop(VERIFY_ONE, itertools.cycle(checks))
        async with echo.behind_envoy(self._stack, self._echo_ports):
            bare = await self._closed_loop(ISSUE_ONE, self._requests())
        found: dict[str, float] = {}
        for name, made in (("single_issue", issue), ("single_verify", verify), ("echo", bare)):
            found |= {
                name: made.rate,
                f"{name}_p50_ms": made.percentile_ms(0.5),
                f"{name}_p99_ms": made.percentile_ms(0.99),
            }
        return found

    def _requests(self) -> Iterator[bytes]:
        """Requests with new ids."""
        return single_messages(Shape(seller_ids=self._sellers, run_id=f"{time.time_ns()}"))

    async def _closed_loop(self, path: str, messages: Iterator[bytes]) -> calls.Load:
        envoy = self._stack.envoy
        caller = calls.Caller(host=envoy.host, port=envoy.port, path=path, secret=self._secret)
        made = await caller.closed_loop(messages, under_way=UNDER_WAY, calls=self._plan.calls)
        return _whole(made, path)


def _whole(outcome: Made, name: str) -> Made:
    """Returns the outcome; raises RuntimeError when anything failed, since a rate with failures means nothing."""
    if outcome.failed:
        raise RuntimeError(f"{outcome.failed} failed: {name}")
    return outcome

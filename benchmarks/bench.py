"""The stack under measure, and what every load needs of it: sellers, issuing, single calls, checks around a round."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import billow
from benchmarks import calls, loads
from benchmarks.cpu import Meter
from benchmarks.plan import Plan
from benchmarks.progress import Progress
from benchmarks.shapes import Shape, bodies, single_messages, stream_messages, tax_id
from core.settings import Settings, load
from core.storage.mysql.outbox import MySQLOutboxStore
from core.storage.mysql.pool import Node, Primary
from stack import Stack

NUMBERS: Final = 10**9  # of the range of each seller
REGISTERED_AT_ONCE: Final = 16
SETTLE_S: Final = 300.0  # the archive catches up within this
SETTLE_LOOK_S: Final = 0.25
ISSUE_ONE: Final = "/billow.issuance.v1.IssuanceService/IssueInvoice"
VERIFY_ONE: Final = "/billow.verification.v1.VerificationService/VerifyInvoice"


@dataclass(frozen=True, slots=True)
class Backlog:
    """What the archive has still to do."""

    batches: int
    lag_s: float


@dataclass(slots=True, kw_only=True)
class Bench:
    """One stack with a tenant. `found` holds the figures of the parts that have run, for those that build on them."""

    stack: Stack
    secret: str
    plan: Plan
    progress: Progress
    meter: Meter
    audits: list[dict[str, Any]] = field(default_factory=list)
    found: dict[str, float] = field(default_factory=dict)
    _registered: int = 0
    _primary: Primary | None = None

    @property
    def target(self) -> str:
        """Envoy, as host:port."""
        return f"{self.stack.envoy.host}:{self.stack.envoy.port}"

    @property
    def settings(self) -> Settings:
        """The stack's settings."""
        return load(self.stack.config_path)

    async def sellers(self, count: int) -> list[str]:
        """Returns the ids of so many sellers, each with a long range; registers those not there yet."""
        if self._registered < count:
            async with billow.AsyncClient(self.target, api_key=self.secret) as client:
                for start in range(self._registered, count, REGISTERED_AT_ONCE):
                    serials = range(start, min(count, start + REGISTERED_AT_ONCE))
                    await asyncio.gather(*(register(client, serial) for serial in serials))
            self._registered = count
        return [f"seller-{serial}" for serial in range(count)]

    async def messages(self, shape: Shape, streams: int, *, batches: int = 10**9) -> list[Iterator[bytes]]:
        """Returns messages for so many streams."""
        return [stream_messages(shape, batches, stream) for stream in range(streams)]

    async def shape(self, *, sellers: int = 10, lines: int = 3, batch_items: int = 500) -> Shape:
        """A shape with request ids never used before."""
        bodies(lines)  # made before any clock runs
        seller_ids = await self.sellers(sellers)
        return Shape(seller_ids=seller_ids, lines=lines, batch_items=batch_items, run_id=f"{time.time_ns()}")

    async def issue(
        self,
        shape: Shape,
        *,
        streams: int = 2,
        batches: int = 10**9,
        pace: loads.Pace | None = None,
        keep: bool = False,
    ) -> loads.Outcome:
        """Issues by streams."""
        messages = await self.messages(shape, streams, batches=batches)
        return await loads.issue(self.target, self.secret, messages, pace=pace, keep_issued=keep)

    def caller(self, path: str) -> calls.Caller:
        """What makes single calls of a method through Envoy."""
        envoy = self.stack.envoy
        return calls.Caller(host=envoy.host, port=envoy.port, path=path, secret=self.secret)

    async def requests(self) -> Iterator[bytes]:
        """IssueInvoiceRequests of ten sellers with new request ids."""
        return single_messages(await self.shape())

    async def backlog(self) -> Backlog:
        """Asks the primary what is not archived yet."""
        batches, oldest_us = await MySQLOutboxStore(primary=self.primary).backlog()
        return Backlog(batches, max(0.0, time.time() - oldest_us / 1e6) if batches else 0.0)

    async def archived(self) -> int:
        """How many invoices are in segments."""
        rows = await self.primary().rows("SELECT COALESCE(SUM(invoices), 0) FROM archive_segments")
        return int(rows[0][0])

    def primary(self) -> Primary:
        """The database that takes writes."""
        if self._primary is None:
            settings = self.settings.mysql
            self._primary = Primary(Node(settings, settings.primary))
        return self._primary

    async def close(self) -> None:
        """Gives back the connections."""
        if self._primary is not None:
            self._primary.node.drop()
            self._primary = None

    async def settle(self, *, always: bool = False) -> None:
        """Waits until everything is archived: what was issued before shall not slow what is measured next.

        A short run has no time for that (a worker lets a small batch wait for 2 s), unless it is wanted `always`.
        """
        if self.plan.quick and not always:
            return
        self.progress.tell("the archive catches up")
        for _ in range(int(SETTLE_S / SETTLE_LOOK_S)):
            if not (await self.backlog()).batches:
                break
            await asyncio.sleep(SETTLE_LOOK_S)

    @asynccontextmanager
    async def checked(self, *, audit: bool) -> AsyncIterator[None]:
        """Around a round: semi-sync is on before and after it, and an audit finds nothing (P1).

        Raises RuntimeError otherwise, because the figures would mean nothing.
        """
        self.require_semi_sync()
        yield
        self.require_semi_sync()
        if audit:
            await self.audit(sample=self.plan.audit_sample)

    def require_semi_sync(self) -> None:
        """Raises RuntimeError unless every commit waits for a replica (P1)."""
        if not self.stack.replication().semi_sync:
            raise RuntimeError("semi-sync is off: the figures would mean nothing")

    async def audit(self, *, sample: int | None = None) -> None:
        """Runs an audit and keeps what it says; raises RuntimeError when it finds anything.

        `sample`: recomputes so many bodies instead of all; everything else is looked at in full.
        """
        self.progress.tell("audit")
        result = await admin(self.stack, "audit", *(["--sample", str(sample)] if sample else []))
        self.audits.append({name: result.get(name) for name in ("findings", "seconds", "invoices") if name in result})
        if result.get("findings"):
            raise RuntimeError(f"the audit has findings: {json.dumps(result)[:4_000]}")


async def admin(stack: Stack, *arguments: str) -> dict[str, Any]:
    """Runs billow-admin and returns its line of JSON; an audit with findings is told as well."""
    command = [sys.executable, "-m", "admin", *arguments, "--config", str(stack.config_path), "--json"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    if not output:
        raise RuntimeError(errors.decode())
    result: dict[str, Any] = json.loads(output)
    return result


async def register(client: billow.AsyncClient, serial: int) -> str:
    """Registers a seller with a long range and returns its id; a serial may be used once, whatever the tenant."""
    name = f"seller-{serial}"
    await client.registry.create_seller(name, billow.Party(name=f"卖方{serial}", tax_id=tax_id(10**6 + serial)))
    first = (26 * 10**4 + serial) * 10**14
    await client.registry.add_number_range(
        name,
        kind=billow.INVOICE_KIND_GENERAL,
        first_number=f"{first:020d}",
        last_number=f"{first + NUMBERS - 1:020d}",
    )
    return name


Made = loads.Outcome | calls.Load


def require_whole(made: Made, name: str, *, refusals: bool = False) -> None:
    """Raises RuntimeError when anything failed, or was refused without `refusals`: such a rate means nothing."""
    if made.failed or (made.refused and not refusals):
        raise RuntimeError(f"{name}: {made.failed} failed, {made.refused} refused: {made.words.most_common(3)}")

"""A tenant of a running stack, with a key, sellers and number ranges, reached through Envoy."""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from billow.issuance.v1 import issuance_pb2, issuance_pb2_grpc
from billow.registry.v1 import registry_pb2, registry_pb2_grpc
from billow.types.v1 import invoice_pb2
from billow.verification.v1 import verification_pb2_grpc
from stack import Stack
from tests.support.invoices import good_invoice, tax_id

SCOPES = ("issue", "read", "verify", "registry")
ADMIN_S = 120
MESSAGE_BYTES_MAX = 64 * 1024 * 1024  # of the tests' own channel: the server's limit is what is tested

_serials = itertools.count(time.time_ns() // 1_000_000 % 10**9)


def admin(stack: Stack, *arguments: str) -> dict[str, object]:
    """Runs billow-admin on the stack and returns what it printed as JSON; fails when it says no, as an audit may."""
    command = [sys.executable, "-m", "admin", *arguments, "--config", str(stack.config_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=ADMIN_S)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


@dataclass(slots=True)
class Tenant:
    """A tenant and the services as it sees them. Every call carries its key."""

    channel: grpc.aio.Channel
    secret: str
    serial: int
    sellers: list[str] = field(default_factory=list)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The key, as metadata."""
        return (("authorization", f"Bearer {self.secret}"),)

    @property
    def issuance(self) -> issuance_pb2_grpc.IssuanceServiceAsyncStub:
        """The issuance service."""
        return issuance_pb2_grpc.IssuanceServiceStub(self.channel)

    @property
    def verification(self) -> verification_pb2_grpc.VerificationServiceAsyncStub:
        """The verification service."""
        return verification_pb2_grpc.VerificationServiceStub(self.channel)

    @property
    def registry(self) -> registry_pb2_grpc.RegistryServiceAsyncStub:
        """The registry service."""
        return registry_pb2_grpc.RegistryServiceStub(self.channel)

    async def seller(self, *, ranges: Sequence[int] = (1_000_000,)) -> str:
        """Registers a seller with ranges of these sizes for general invoices and returns its id."""
        seller_id = f"seller-{len(self.sellers)}"
        party = invoice_pb2.Party(name="示例卖方有限公司", tax_id=tax_id(self.serial))
        request = registry_pb2.CreateSellerRequest(seller_id=seller_id, party=party)
        await self.registry.CreateSeller(request, metadata=self.metadata)
        for size in ranges:
            first = (26 * 10**9 + next(_serials)) * 10**9
            await self.registry.AddNumberRange(
                registry_pb2.AddNumberRangeRequest(
                    seller_id=seller_id,
                    kind=invoice_pb2.INVOICE_KIND_GENERAL,
                    first_number=f"{first:020d}",
                    last_number=f"{first + size - 1:020d}",
                ),
                metadata=self.metadata,
            )
        self.sellers.append(seller_id)
        return seller_id

    async def issue(self, request: issuance_pb2.IssueInvoiceRequest) -> invoice_pb2.IssuedInvoice:
        """Issues one invoice."""
        return (await self.issuance.IssueInvoice(request, metadata=self.metadata, timeout=30)).issued


def request_of(
    seller_id: str, request_id: str, invoice: invoice_pb2.Invoice | None = None
) -> issuance_pb2.IssueInvoiceRequest:
    """A request for a good invoice, or for the one given."""
    return issuance_pb2.IssueInvoiceRequest(
        seller_id=seller_id, request_id=request_id, invoice=good_invoice() if invoice is None else invoice
    )


@functools.cache
def _platform_secret(stack: Stack) -> str:
    """A key that may create tenants: the one thing that needs billow-admin, a second a call, so made once a stack."""
    created = admin(stack, "key", "create", "--create-tenant", "--tenant", "platform", "--scope", "platform")
    return str(created["secret"])


@asynccontextmanager
async def new_tenant(stack: Stack, scopes: Sequence[str] = SCOPES) -> AsyncIterator[Tenant]:
    """Creates a tenant with a key of these scopes."""
    serial = next(_serials)
    metadata = (("authorization", f"Bearer {_platform_secret(stack)}"),)
    options = [
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ]
    async with grpc.aio.insecure_channel(f"{stack.envoy.host}:{stack.envoy.port}", options=options) as channel:
        tenant = Tenant(channel=channel, secret="", serial=serial)
        name = f"tenant-{serial}"
        await tenant.registry.CreateTenant(registry_pb2.CreateTenantRequest(tenant_id=name), metadata=metadata)
        request = registry_pb2.CreateApiKeyRequest(tenant_id=name, scopes=scopes)
        tenant.secret = (await tenant.registry.CreateApiKey(request, metadata=metadata)).secret
        yield tenant

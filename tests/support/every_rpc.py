"""A lawful request for every RPC, of a tenant that sells to itself; what has to be there for it is made before."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.json_format import MessageToDict, ParseDict

from core.settings import load
from server.bootstrap import SERVICES, serving
from stack import Stack
from tests.support.invoices import good_invoice, tax_id
from tests.support.platform import admin

METHODS = {method.name: method for service in SERVICES for method in service.methods}
FOLLOWED_S = 1.2  # some looks
AFTERWARDS_S = 0.05  # what a call leaves to be done after its answer is done by then
SCOPES = ("issue", "read", "verify", "registry", "book", "platform")

Request = dict[str, Any]


@dataclass(slots=True)
class World:
    """A tenant that sells to itself, as a server sees it, and numbers that nobody has used."""

    channel: grpc.aio.Channel
    secret: str
    tenant: str
    buyer: str  # its proven taxpayer id
    serials: itertools.count[int]

    @property
    def seller(self) -> str:
        """Its seller."""
        return f"{self.tenant}-seller"

    @property
    def idle(self) -> str:
        """Another one, that issues nothing."""
        return f"{self.tenant}-idle"

    async def call(self, name: str, request: Request, secret: str | None = None) -> Any:
        """Makes a call, with another key or an empty one for none; of a stream, takes the first answer.

        A sequence is followed for FOLLOWED_S: its first answer, or None.
        """
        method = METHODS[name]
        path = f"/{method.containing_service.full_name}/{name}"
        message = ParseDict(request, message_factory.GetMessageClass(method.input_type)())
        more: dict[str, Any] = {
            "request_serializer": lambda item: item.SerializeToString(),
            "response_deserializer": message_factory.GetMessageClass(method.output_type).FromString,
        }
        secret = self.secret if secret is None else secret
        metadata = (("authorization", f"Bearer {secret}"),) if secret else ()
        if method.client_streaming:
            stream = self.channel.stream_stream(path, **more)(iter([message]), metadata=metadata, timeout=30)
            return await anext(aiter(stream))
        if method.server_streaming:
            subscription = self.channel.unary_stream(path, **more)(message, metadata=metadata, timeout=30)
            try:
                return await asyncio.wait_for(subscription.read(), FOLLOWED_S)
            except TimeoutError:
                return None
            finally:
                subscription.cancel()
        return await self.channel.unary_unary(path, **more)(message, metadata=metadata, timeout=30)

    def name(self) -> str:
        """A name that is new."""
        return f"n-{next(self.serials)}"

    def invoice(self) -> Request:
        """A request for a good invoice to ourselves."""
        invoice = good_invoice()
        invoice.buyer.tax_id = self.buyer
        body = MessageToDict(invoice)
        return {"sellerId": self.seller, "requestId": self.name(), "invoice": body}

    async def issued(self) -> Any:
        """Issues an invoice."""
        answer = await self.call("IssueInvoice", self.invoice())
        await asyncio.sleep(AFTERWARDS_S)
        return answer.issued

    async def number(self) -> str:
        """Issues an invoice and returns its number."""
        return str((await self.issued()).number)

    async def check(self) -> Request:
        """What is asked to check an invoice that the cache knows."""
        found = MessageToDict((await self.call("GetInvoice", {"number": await self.number()})).issued)
        day = found["issueTime"][:10].replace("-", "")
        return {"number": found["number"], "issueDate": int(day), "grossTotalMinor": found["grossTotalMinor"]}

    def range(self, color: str = "BLUE", size: int = 100_000) -> Request:
        """A range that is new."""
        first = (26 * 10**9 + 777) * 10**9 + next(self.serials) * 1_000_000
        return {
            "sellerId": self.seller,
            "kind": "INVOICE_KIND_GENERAL",
            "color": f"INVOICE_COLOR_{color}",
            "firstNumber": f"{first:020d}",
            "lastNumber": f"{first + size - 1:020d}",
        }

    async def selection(self) -> Request:
        """The whole of a new invoice."""
        number = await self.number()
        return {"blueNumber": number, "reason": "RED_REASON_ISSUED_IN_ERROR", "extent": "RED_EXTENT_WHOLE"}

    async def red(self) -> Request:
        """A request for a red invoice."""
        return {"sellerId": self.seller, "requestId": self.name(), "selection": await self.selection()}

    async def form(self) -> Request:
        """A confirmation form of an invoice that the buyer has entered."""
        selection, state = await self.selection(), "ENTRY_STATE_DEDUCTIBLE"
        entry = {"number": selection["blueNumber"], "requestId": self.name(), "state": state, "period": 202611}
        await self.call("EnterInvoices", {"entries": [entry]})
        made = await self.call("CreateConfirmation", {"requestId": self.name(), "selection": selection})
        return {"confirmationId": made.confirmation.confirmation_id}

    async def entry(self) -> Request:
        """What is asked to enter a new invoice."""
        number = await self.number()
        state = "ENTRY_STATE_DEDUCTIBLE"
        return {"number": number, "requestId": self.name(), "state": state, "period": 202611, "ledgerReference": "L"}

    async def endpoint(self, kind: str = "PULL", **more: Any) -> str:
        """An endpoint's id."""
        request = {"sellerId": self.seller, "kind": f"ENDPOINT_KIND_{kind}", **more}
        return str((await self.call("CreateEndpoint", request)).endpoint.endpoint_id)

    async def delivery(self) -> tuple[str, str]:
        """A delivery of a pull endpoint that waits; the ids of both."""
        endpoint = await self.endpoint()
        made = await self.call("DeliverInvoice", {"number": await self.number(), "endpointId": endpoint})
        return endpoint, str(made.delivery.delivery_id)


async def listed(world: World, **more: Any) -> Request:
    return more


async def one(value: Any) -> Any:
    return value


async def asking(**parts: Awaitable[Any]) -> Request:
    """Makes the parts of a request one after the other."""
    return {name: await part for name, part in parts.items()}


async def among(name: str, item: Awaitable[Any]) -> Request:
    """A batch of one."""
    return {name: [await item]}


async def of_key(world: World) -> Request:
    return {"keyId": (await world.call("CreateApiKey", {"scopes": ["read"]})).api_key.key_id}


async def claimed(world: World) -> Request:
    identity = tax_id(next(world.serials))
    await world.call("ClaimTaxId", {"taxId": identity})
    return {"tenantId": world.tenant, "taxId": identity}


async def entered(world: World, name: str) -> Request:
    entry = await world.entry()
    await world.call("EnterInvoices", {"entries": [entry]})
    return {name: [{"number": entry["number"], "requestId": world.name()}]}


async def of_delivery(world: World) -> Request:
    return {"deliveryId": (await world.delivery())[1]}


async def claimable(world: World) -> Request:
    return {"endpointId": (await world.delivery())[0], "maxItems": 1}


async def leased(world: World) -> Request:
    endpoint, made = await world.delivery()
    await world.call("ClaimDeliveries", {"endpointId": endpoint, "maxItems": 1})
    return {"endpointId": endpoint, "deliveryIds": [made]}


async def document(world: World) -> Request:
    """A document that was asked for before, so that it is kept."""
    request = {"number": await world.number(), "format": "xml"}
    await world.call("GetDocument", request)
    return request


async def content(world: World) -> Request:
    made = await world.call("GetDocument", {"number": await world.number(), "format": "xml"})
    return {"content": MessageToDict(made)["content"]}


# what is asked of each RPC when it is counted; what has to be there for it is made before
REQUESTS: dict[str, Callable[[World], Awaitable[Request]]] = {
    "IssueInvoice": lambda world: listed(world, **world.invoice()),
    "BatchIssueInvoices": lambda world: listed(world, requests=[world.invoice(), world.invoice()]),
    "StreamIssueInvoices": lambda world: listed(world, requests=[world.invoice()]),
    "GetInvoice": lambda world: asking(number=world.number()),
    "ListInvoices": lambda world: listed(world, sellerId=world.seller, pageSize=2),
    "VerifyInvoice": lambda world: asking(check=world.check()),
    "BatchVerifyInvoices": lambda world: among("checks", world.check()),
    "StreamVerifyInvoices": lambda world: among("checks", world.check()),
    "CreateTenant": lambda world: listed(world, tenantId=world.name()),
    "ListTenants": lambda world: listed(world, pageSize=2),
    "CreateApiKey": lambda world: listed(world, scopes=["read"]),
    "ListApiKeys": lambda world: listed(world, pageSize=2),
    "RevokeApiKey": of_key,
    "CreateSeller": lambda world: listed(
        world, sellerId=world.name(), party={"name": "示例", "taxId": tax_id(next(world.serials))}
    ),
    "GetSeller": lambda world: listed(world, sellerId=world.seller),
    "ListSellers": lambda world: listed(world, pageSize=2),
    "AddNumberRange": lambda world: listed(world, **world.range()),
    "ListNumberRanges": lambda world: listed(world, sellerId=world.seller, pageSize=2),
    "SetCreditQuota": lambda world: listed(world, sellerId=world.idle, quotaMinor="1000000"),
    "GetCreditQuota": lambda world: listed(world, sellerId=world.idle),
    "ClearCreditQuota": lambda world: listed(world, sellerId=world.idle),
    "ClaimTaxId": lambda world: listed(world, taxId=tax_id(next(world.serials))),
    "ConfirmTaxId": claimed,
    "RevokeTaxId": claimed,
    "ListTaxIds": lambda world: listed(world, pageSize=2),
    "EnterInvoices": lambda world: among("entries", world.entry()),
    "WithdrawEntries": lambda world: entered(world, "withdrawals"),
    "GetEntry": lambda world: asking(number=world.number()),
    "ListReceivedInvoices": lambda world: listed(world, buyerTaxId=world.buyer, pageSize=2),
    "StreamReceivedInvoices": lambda world: listed(world, buyerTaxId=world.buyer),
    "GetReceivedInvoice": lambda world: asking(number=world.number()),
    "IssueRedInvoice": lambda world: world.red(),
    "BatchIssueRedInvoices": lambda world: among("requests", world.red()),
    "CreateConfirmation": lambda world: asking(requestId=one(world.name()), selection=world.selection()),
    "ConfirmConfirmation": lambda world: world.form(),
    "RefuseConfirmation": lambda world: world.form(),
    "WithdrawConfirmation": lambda world: world.form(),
    "GetConfirmation": lambda world: world.form(),
    "ListConfirmations": lambda world: listed(world, sellerId=world.seller, pageSize=2),
    "CreateEndpoint": lambda world: listed(world, sellerId=world.seller, kind="ENDPOINT_KIND_PULL"),
    "ListEndpoints": lambda world: listed(world, sellerId=world.seller, pageSize=2),
    "DisableEndpoint": lambda world: asking(endpointId=world.endpoint()),
    "EnableEndpoint": lambda world: asking(endpointId=world.endpoint()),
    "RotateSecret": lambda world: asking(endpointId=world.endpoint("WEBHOOK", target="https://example.com/h")),
    "DeliverInvoice": lambda world: asking(number=world.number(), endpointId=world.endpoint()),
    "ListDeliveries": lambda world: listed(world, sellerId=world.seller, pageSize=2),
    "GetDelivery": of_delivery,
    "Redeliver": of_delivery,
    "ClaimDeliveries": claimable,
    "AcknowledgeDeliveries": leased,
    "GetDocument": document,
    "CreateDownloadLink": document,
    "VerifyDocument": content,
    "ImportInvoice": content,
    "ListImportedInvoices": lambda world: listed(world, pageSize=2),
}


async def open_world(stack: Stack, channel: grpc.aio.Channel, tenant: str, serial: int) -> World:
    """Makes a tenant with a key, sellers, ranges and a proven taxpayer id. Different serials collide in nothing."""
    scopes = [word for scope in SCOPES for word in ("--scope", scope)]
    made = await asyncio.to_thread(admin, stack, "key", "create", "--create-tenant", "--tenant", tenant, *scopes)
    buyer = tax_id(serial)
    world = World(channel, str(made["secret"]), tenant, buyer, itertools.count(serial + 2))
    for position, seller in enumerate((world.seller, world.idle)):
        party = {"name": "示例", "taxId": tax_id(serial + position)}
        await world.call("CreateSeller", {"sellerId": seller, "party": party})
    for color in ("BLUE", "RED"):
        await world.call("AddNumberRange", world.range(color))
    await world.call("ClaimTaxId", {"taxId": buyer})
    await world.call("ConfirmTaxId", {"tenantId": tenant, "taxId": buyer})
    return world


@asynccontextmanager
async def serving_here(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    """A server in this process over the stack's stores, and a channel to it."""
    port = _free_port()
    async with (
        serving(load(stack.config_path), port=port, metrics_port=_free_port(), slot=77),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield channel


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""Every RPC, aimed at another tenant: it tells, changes and lets guess nothing (P8). Without a key it does nothing.

A new RPC must get its place in the tables of tests/support/every_rpc.py and of this file.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict

from server.handlers import (
    collection,
    delivery,
    documents,
    entries,
    imports,
    inspection,
    issuance,
    red_letter,
    registry,
    verification,
)
from server.interceptors import Access
from stack import DATA_STORES, Stack, StackOptions
from tests.support.every_rpc import METHODS, REQUESTS, Request, World, open_world, serving_here
from tests.support.invoices import tax_id
from tests.support.wire import error_of

ACCESS: dict[str, Access] = {
    **issuance.ACCESS,
    **verification.ACCESS,
    **registry.ACCESS,
    **entries.ACCESS,
    **entries.TAX_ID_ACCESS,
    **collection.ACCESS,
    **red_letter.ACCESS,
    **delivery.ACCESS,
    **documents.ACCESS,
    **inspection.ACCESS,
    **imports.ACCESS,
}
# anybody may check an invoice or a document: that is what they are for
ANYBODYS = {"VerifyInvoice", "BatchVerifyInvoices", "StreamVerifyInvoices", "VerifyDocument"}
OPERATORS = {"CreateTenant", "ListTenants", "ConfirmTaxId", "RevokeTaxId"}
# names nothing that could be another's: what is made or listed is the caller's own. ImportInvoice takes a document that
# the caller has, and ClaimTaxId claims what the operator then decides
OWN = {
    *("CreateApiKey", "ListApiKeys", "CreateSeller", "ListSellers", "ListTaxIds", "ClaimTaxId"),
    *("ImportInvoice", "ListImportedInvoices"),
}
UNKNOWN = {
    "sellerId": "nobody",
    "number": "26999999999999999999",
    "blueNumber": "26999999999999999999",
    "buyerTaxId": tax_id(999_999),
    "keyId": "0" * 16,
    "endpointId": "0" * 32,
    "deliveryId": "dlv_999999999",
    "deliveryIds": ["dlv_999999999"],
    "confirmationId": "0" * 32,
}
_pairs = itertools.count(1)


@dataclass(slots=True)
class Two:
    """Two tenants; the second one's key may do all but what operators may. `unfit`: keys by their only scope."""

    owner: World
    other: World
    unfit: dict[str, str]
    revoked: str


@pytest.fixture(scope="module")
def own_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(run_dir=tmp_path_factory.mktemp("two"), options=StackOptions(parts=DATA_STORES)) as stack:
        yield stack


@pytest_asyncio.fixture
async def two(own_stores: Stack) -> AsyncIterator[Two]:
    async with serving_here(own_stores) as channel:
        pair = next(_pairs)
        owner = await open_world(own_stores, channel, f"owner-{pair}", 20_000 * pair)
        other = await open_world(own_stores, channel, f"other-{pair}", 20_000 * pair + 10_000)
        operator = other.secret

        async def key(*scopes: str) -> Any:
            return await other.call("CreateApiKey", {"tenantId": other.tenant, "scopes": scopes}, operator)

        unfit = {scope: (await key(scope)).secret for scope in ("book", "registry")}
        revoked = await key("issue", "read", "verify", "registry", "book")
        await other.call("RevokeApiKey", {"keyId": revoked.api_key.key_id})
        other.secret = (await key("issue", "read", "verify", "registry", "book")).secret
        yield Two(owner, other, unfit, revoked.secret)


def aimed_at_nothing(request: Any) -> Any:
    """The same request, about things that do not exist."""
    if isinstance(request, list):
        return [aimed_at_nothing(item) for item in request]
    if not isinstance(request, dict):
        return request
    return {name: UNKNOWN[name] if name in UNKNOWN else aimed_at_nothing(value) for name, value in request.items()}


def ids_of(request: Any) -> set[str]:
    """The ids in a request."""
    if isinstance(request, list):
        return {found for item in request for found in ids_of(item)}
    if isinstance(request, dict):
        named = {name: value for name, value in request.items() if name in UNKNOWN}
        texts = {text for value in named.values() for text in ([value] if isinstance(value, str) else value)}
        return texts | {found for value in request.values() for found in ids_of(value)}
    return set()


async def outcome(world: World, name: str, request: Request) -> str:
    """What the caller sees, with its own words taken out."""
    try:
        answer = await world.call(name, request)
        told = repr(MessageToDict(answer) if answer is not None else None)
    except grpc.aio.AioRpcError as error:
        status = await error_of(_raised(error))
        told = repr((status.code, status.reason, status.violations, status.metadata, error.details()))
    for text in sorted(ids_of(request), key=len, reverse=True):
        told = told.replace(text, "*")
    return told


async def _raised(error: grpc.aio.AioRpcError) -> None:
    raise error


def test_every_rpc_has_its_place() -> None:
    assert sorted(REQUESTS) == sorted(METHODS) == sorted(ACCESS)
    assert not (ANYBODYS | OPERATORS | OWN) - set(METHODS)


async def test_what_is_anothers_looks_as_if_it_did_not_exist(two: Two) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for name, request_for in REQUESTS.items():
        if name in ANYBODYS | OPERATORS | OWN:
            continue
        request = await request_for(two.owner)
        assert ids_of(request), f"{name} names nothing: does it belong to OWN?"
        theirs = await outcome(two.other, name, request)
        nothing = await outcome(two.other, name, aimed_at_nothing(request))
        if theirs != nothing:
            seen[name] = (theirs, nothing)
        await two.owner.call(name, request)  # raises if it was used up or changed
    assert not seen, "another's, and what does not exist"


async def test_lists_and_new_things_are_the_callers_own(two: Two) -> None:
    for name in sorted(OWN):
        request = await REQUESTS[name](two.owner)
        mine = repr(MessageToDict(await two.owner.call(name, request)))
        request = await REQUESTS[name](two.other)
        told = repr(MessageToDict(await two.other.call(name, request)))
        assert two.owner.tenant not in told, name
        assert two.owner.buyer not in told, name
        assert mine != told, name


async def test_a_proof_taken_away_closes_what_it_had_opened(two: Two) -> None:
    """P8 has one exception: invoices issued to a taxpayer id that the tenant has proved."""
    invoice = two.owner.invoice()
    invoice["invoice"]["buyer"]["taxId"] = two.other.buyer
    number = (await two.owner.call("IssueInvoice", invoice)).issued.number
    asked = {"number": number}
    assert (await two.other.call("GetReceivedInvoice", asked)).invoice.number == number
    await two.owner.call("RevokeTaxId", {"tenantId": two.other.tenant, "taxId": two.other.buyer})
    closed = await outcome(two.other, "GetReceivedInvoice", asked)
    assert closed == await outcome(two.other, "GetReceivedInvoice", aimed_at_nothing(asked))


async def test_without_a_lawful_key_nothing_is_done(two: Two) -> None:
    passed: dict[tuple[str, str], str] = {}
    for name, request_for in REQUESTS.items():
        access = ACCESS[name]
        request = await request_for(two.owner)
        unfit = two.unfit["registry" if "registry" not in (access.scope, access.or_scope) else "book"]
        keys = [(two.revoked, "API_KEY_INVALID"), ("bk_" + "x" * 43, "API_KEY_INVALID"), (unfit, "SCOPE_MISSING")]
        if not access.key_optional:
            keys.append(("", "API_KEY_MISSING"))
        for secret, wanted in keys:
            try:
                await two.owner.call(name, request, secret)
                passed[name, wanted] = "done"
            except grpc.aio.AioRpcError as error:
                if (reason := (await error_of(_raised(error))).reason) != wanted:
                    passed[name, wanted] = reason
    assert not passed

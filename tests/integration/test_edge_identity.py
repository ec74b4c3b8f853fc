"""Identities by token: Envoy verifies it, servers believe Envoy and nobody else (P8)."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from billow.registry.v1 import registry_pb2, registry_pb2_grpc
from core.settings import load
from server.interceptors import EDGE_SCOPES, EDGE_SECRET, EDGE_TENANT
from stack import Stack, StackOptions
from tests.support.invoices import tax_id
from tests.support.platform import admin
from tests.support.tokens import AUDIENCE, ISSUER, Issuer

FULL = "read registry"


@dataclass(frozen=True)
class Edge:
    """A stack that takes tokens of an issuer, with two tenants, `a` and `b`; `secret`: an API key of `a`."""

    stack: Stack
    issuer: Issuer
    secret: str

    def get(self, bearer: str, path: str = "/v1/sellers/a-seller", **headers: str) -> tuple[int, Any]:
        """Asks as JSON; status and answer."""
        connection = http.client.HTTPConnection(self.stack.envoy.host, self.stack.envoy.port, timeout=30)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if bearer:
                sent["authorization"] = f"Bearer {bearer}"
            connection.request("GET", path, headers=sent)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def token(self, tenant: str | None = "a", scope: str | None = FULL, **more: Any) -> str:
        """A token of a tenant."""
        return self.issuer.token(billow_tenant=tenant, scope=scope, **more)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("tokens")
    issuer = Issuer()
    options = StackOptions(
        servers=1,
        workers=0,
        jwt_keys=str(issuer.write_keys(folder / "keys.json")),
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
    )
    with Stack(run_dir=folder / "run", options=options) as stack:
        made = {}
        for serial, tenant in enumerate(("a", "b")):
            key = admin(stack, "key", "create", "--create-tenant", "--tenant", tenant, "--scope", "registry")
            made[tenant] = str(key["secret"])
            with grpc.insecure_channel(f"{stack.envoy.host}:{stack.envoy.port}") as channel:
                stub = registry_pb2_grpc.RegistryServiceStub(channel)
                request = registry_pb2.CreateSellerRequest(seller_id=f"{tenant}-seller")
                request.party.name, request.party.tax_id = "示例", tax_id(serial)
                stub.CreateSeller(request, metadata=(("authorization", f"Bearer {made[tenant]}"),), timeout=30)
        yield Edge(stack, issuer, made["a"])


def test_a_token_opens_what_its_tenant_has_and_nothing_else(edge: Edge) -> None:
    assert edge.get(edge.token())[0] == 200
    assert edge.get(edge.token("b"))[0] == 404  # as if it did not exist
    assert edge.get(edge.token("b"), "/v1/sellers/b-seller")[0] == 200
    assert edge.get(edge.secret)[0] == 200  # keys go on


def test_a_token_goes_over_grpc_as_well(edge: Edge) -> None:
    with grpc.insecure_channel(f"{edge.stack.envoy.host}:{edge.stack.envoy.port}") as channel:
        stub = registry_pb2_grpc.RegistryServiceStub(channel)
        metadata = (("authorization", f"Bearer {edge.token()}"),)
        request = registry_pb2.GetSellerRequest(seller_id="a-seller")
        assert stub.GetSeller(request, metadata=metadata, timeout=30).seller.seller_id == "a-seller"


@pytest.mark.parametrize(
    ("scope", "path", "status"),
    [
        ("issue", "/v1/sellers/a-seller", 403),
        ("", "/v1/sellers/a-seller", 403),
        (None, "/v1/sellers/a-seller", 403),
        ("registry-x", "/v1/sellers/a-seller", 403),
        ("registry platform", "/v1/tenants", 403),  # operators have keys, which can be revoked
    ],
)
def test_a_token_does_no_more_than_its_scopes(edge: Edge, scope: str | None, path: str, status: int) -> None:
    assert edge.get(edge.token(scope=scope), path)[0] == status


def bad_tokens(edge: Edge) -> dict[str, str]:
    now_s = int(time.time())
    good = edge.token()
    header, claims, signature = good.split(".")
    return {
        "expired": edge.token(exp=now_s - 3_600, iat=now_s - 7_200),
        "without an end": edge.token(exp=None),
        "for a year": edge.token(exp=now_s + 365 * 86_400),
        "not yet": edge.token(nbf=now_s + 600),
        "for somebody else": edge.token(aud="another"),
        "without an audience": edge.token(aud=None),
        "by another issuer": edge.token(iss="https://other.example.com"),
        "by another key": Issuer().token(billow_tenant="a", scope=FULL),
        "unsigned": edge.token(header={"alg": "none"}, signed=False),
        "unsigned, in other letters": edge.token(header={"alg": "None"}, signed=False),
        "signed as a secret": edge.token(header={"alg": "HS256"}),
        "without its signature": f"{header}.{claims}.",
        "of other claims": f"{header}.{edge.token('b').split('.')[1]}.{signature}",
        "of a tenant nobody knows": edge.token("c"),
        "of a tenant that cannot be": edge.token("A 卖"),
        "of no tenant": edge.token(None),
        "no token": "eyJhbGciOiJSUzI1NiJ9",
        "garbage": "x",
    }


def test_other_tokens_open_nothing(edge: Edge) -> None:
    others = {"for somebody else", "without an audience"}  # of which Envoy says 403
    told = {name: edge.get(token)[0] for name, token in bad_tokens(edge).items()}
    assert told == {name: 403 if name in others else 401 for name in told}
    status, body = edge.get(bad_tokens(edge)["expired"])
    assert (status, json.loads(body)["code"]) == (401, grpc.StatusCode.UNAUTHENTICATED.value[0])


def test_callers_claim_no_identity_by_headers(edge: Edge) -> None:
    secret = load(edge.stack.config_path).server.edge_secret
    claimed = {EDGE_TENANT: "a", EDGE_SCOPES: FULL}
    spellings = (claimed, claimed | {EDGE_SECRET: secret}, {name.title(): value for name, value in claimed.items()})
    for headers in (*spellings, {name.replace("-", "_"): value for name, value in claimed.items()}):
        connection = http.client.HTTPConnection(edge.stack.envoy.host, edge.stack.envoy.port, timeout=30)
        connection.request("GET", "/v1/sellers/a-seller", headers=headers)
        assert connection.getresponse().status == 401, headers
        connection.close()
    # and beside a token they change nothing
    assert edge.get(edge.token("b"), x_billow_tenant="a")[0] == 404
    assert edge.get(edge.token(scope="issue"), x_billow_scopes=FULL)[0] == 403


def test_servers_believe_envoy_alone(edge: Edge) -> None:
    """Whoever reaches a server's port by another way needs the secret of the edge; a key counts before it."""
    secret = load(edge.stack.config_path).server.edge_secret
    codes = []
    with grpc.insecure_channel(f"127.0.0.1:{edge.stack.state.ports['server-1']}") as channel:
        stub = registry_pb2_grpc.RegistryServiceStub(channel)
        for said in ("", "x" * len(secret), secret):
            metadata = ((EDGE_TENANT, "a"), (EDGE_SCOPES, FULL), (EDGE_SECRET, said))
            future = stub.GetSeller.future(registry_pb2.GetSellerRequest(seller_id="a-seller"), metadata=metadata)
            codes.append(future.code())
    assert codes == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.OK]


def test_without_keys_for_tokens_nothing_is_believed(running_stack: Stack) -> None:
    assert load(running_stack.config_path).server.edge_secret == ""
    unset = Edge(running_stack, Issuer(), "")
    assert unset.get(unset.token())[0] == 401
    with grpc.insecure_channel(f"127.0.0.1:{running_stack.state.ports['server-1']}") as channel:
        stub = registry_pb2_grpc.RegistryServiceStub(channel)
        metadata = ((EDGE_TENANT, "a"), (EDGE_SCOPES, FULL), (EDGE_SECRET, ""))
        future = stub.GetSeller.future(registry_pb2.GetSellerRequest(seller_id="a-seller"), metadata=metadata)
        assert future.code() is grpc.StatusCode.UNAUTHENTICATED

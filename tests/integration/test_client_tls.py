"""The client's TLS options against a real TLS server: trusted, not trusted, and both sides known."""

from __future__ import annotations

import grpc
import pytest
import trustme

import billow
from billow import RetryPolicy, Timeouts
from tests.support.toy_server import Toy, serving

ONCE = RetryPolicy(attempts_max=1)
SHORT = Timeouts(call_s=5)


def request() -> billow.IssueInvoiceRequest:
    return billow.IssueInvoiceRequest(seller_id="s", request_id="r", invoice=billow.Invoice(gross_total_minor=1))


def target(address: str, tls: billow.TLS) -> billow.Target:
    return billow.Target(address=address, api_key="bk_x", tls=tls)


def pem(blobs: list[trustme.Blob]) -> bytes:
    return b"".join(blob.bytes() for blob in blobs)


def server_credentials(ca: trustme.CA, *, clients: bool = False) -> grpc.ServerCredentials:
    own = ca.issue_cert("127.0.0.1", "billow.test")
    return grpc.ssl_server_credentials(
        [(own.private_key_pem.bytes(), pem(own.cert_chain_pems))],
        root_certificates=ca.cert_pem.bytes() if clients else None,
        require_client_auth=clients,
    )


async def test_a_trusted_server_is_talked_to() -> None:
    ca = trustme.CA()
    tls = billow.TLS(root_certificates=ca.cert_pem.bytes())
    async with (
        serving(Toy(), credentials=server_credentials(ca)) as address,
        billow.AsyncClient(target(address, tls)) as client,
    ):
        assert (await client.issue(request())).request_id == "r"


async def test_a_server_that_nobody_vouches_for_is_not() -> None:
    toy = Toy()
    tls = billow.TLS(root_certificates=trustme.CA().cert_pem.bytes())
    async with (
        serving(toy, credentials=server_credentials(trustme.CA())) as address,
        billow.AsyncClient(target(address, tls), retry=ONCE, timeouts=SHORT) as client,
    ):
        with pytest.raises(billow.Unavailable):
            await client.issue(request())
    assert toy.calls == 0


async def test_a_server_may_ask_who_the_client_is() -> None:
    ca = trustme.CA()
    own = ca.issue_cert("client.test")
    known = billow.TLS(
        root_certificates=ca.cert_pem.bytes(),
        client_certificate=pem(own.cert_chain_pems),
        client_key=own.private_key_pem.bytes(),
        server_name="billow.test",
    )
    unknown = billow.TLS(root_certificates=ca.cert_pem.bytes())
    async with serving(Toy(), credentials=server_credentials(ca, clients=True)) as address:
        async with billow.AsyncClient(target(address, known)) as client:
            assert (await client.issue(request())).request_id == "r"
        async with billow.AsyncClient(target(address, unknown), retry=ONCE, timeouts=SHORT) as client:
            with pytest.raises(billow.Unavailable):
                await client.issue(request())

"""TLS at Envoy: who is trusted gets in, over gRPC and as JSON, and nobody else does."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

import billow
from billow import RetryPolicy, Timeouts
from stack import Stack, StackError, StackOptions
from tests.support.platform import admin

ONCE = RetryPolicy(attempts_max=1)
SHORT = Timeouts(call_s=10)


@dataclass(frozen=True, slots=True)
class Guarded:
    """A stack whose edge asks callers for a certificate, and who may vouch for whom."""

    stack: Stack
    secret: str
    servers: trustme.CA
    clients: trustme.CA

    def tls(self, *, servers: trustme.CA | None = None, clients: trustme.CA | None = None) -> billow.TLS:
        """What a caller brings: whom it trusts, and a certificate of one of the authorities, or none."""
        own = clients.issue_cert("caller@example.com") if clients else None
        return billow.TLS(
            root_certificates=(servers or self.servers).cert_pem.bytes(),
            client_certificate=own.cert_chain_pems[0].bytes() if own else None,
            client_key=own.private_key_pem.bytes() if own else None,
        )

    def sellers(self, tls: billow.TLS | None) -> int:
        """Asks something that needs a key."""
        address = f"{self.stack.envoy.host}:{self.stack.envoy.port}"
        target = billow.Target(address=address, api_key=self.secret, tls=tls)
        with billow.Client(target, retry=ONCE, timeouts=SHORT) as client:
            return len(list(client.registry.list_sellers()))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("tls")
    servers, clients = trustme.CA(), trustme.CA()
    own = servers.issue_cert("127.0.0.1")
    own.private_key_and_cert_chain_pem.write_to_path(folder / "edge.pem")
    clients.cert_pem.write_to_path(folder / "clients.pem")
    options = StackOptions(
        servers=1,
        workers=0,
        tls_certificate=str(folder / "edge.pem"),
        tls_key=str(folder / "edge.pem"),
        tls_client_ca=str(folder / "clients.pem"),
    )
    with Stack(run_dir=folder / "run", options=options) as stack:
        made = admin(stack, "key", "create", "--create-tenant", "--tenant", "tls", "--scope", "registry")
        yield Guarded(stack, str(made["secret"]), servers, clients)


def test_a_caller_that_both_know_gets_in(guarded: Guarded) -> None:
    assert guarded.sellers(guarded.tls(clients=guarded.clients)) == 0


@pytest.mark.parametrize("case", ["plain text", "no certificate", "a foreign certificate", "a server nobody knows"])
def test_nobody_else_does(guarded: Guarded, case: str) -> None:
    tls = {
        "plain text": None,
        "no certificate": guarded.tls(),
        "a foreign certificate": guarded.tls(clients=trustme.CA()),
        "a server nobody knows": guarded.tls(servers=trustme.CA(), clients=guarded.clients),
    }[case]
    with pytest.raises(billow.Unavailable):
        guarded.sellers(tls)


def test_json_is_guarded_likewise(guarded: Guarded, tmp_path: Path) -> None:
    own = guarded.clients.issue_cert("caller@example.com")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "caller.pem")
    trusting = ssl.create_default_context(cadata=guarded.servers.cert_pem.bytes().decode())
    request = urllib.request.Request(
        f"https://{guarded.stack.envoy.host}:{guarded.stack.envoy.port}/v1/sellers",
        headers={"authorization": f"Bearer {guarded.secret}"},
    )
    with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
        urllib.request.urlopen(request, timeout=10, context=trusting)
    trusting.load_cert_chain(tmp_path / "caller.pem")
    with urllib.request.urlopen(request, timeout=10, context=trusting) as answer:
        assert answer.status == 200


def test_halves_of_it_are_refused() -> None:
    with pytest.raises(StackError, match="tls_key"):
        StackOptions(tls_certificate="c")
    with pytest.raises(StackError, match="tls_client_ca"):
        StackOptions(tls_client_ca="c")

"""Redis behind TLS, by all three ways to it: a node, sentinels, a cluster. Who has the wrong certificate is away."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
import trustme

from core.settings import RedisSettings
from core.storage.redis.cluster import open_link
from core.storage.redis.issue_cache import RedisIssueCache
from tests.contract.test_caches import SELLER_TAX_ID, key_of, new_issued
from tests.support.redis_groups import MASTER_NAME, PATIENCE_S, TIMEOUT_MS, address, ask, wait_until
from tests.support.redis_server import START_S, RedisServer, free_port

SLOTS = 16_384
ONLY_TLS = (
    "port 0\ntls-port {port}\ntls-cert-file {pem}\ntls-key-file {pem}\ntls-ca-cert-file {ca}\ntls-auth-clients no\n"
)
WAYS = ("url", "sentinels", "cluster")


class TLSServer(RedisServer):
    """A process that speaks nothing but TLS; `lines`: what else its configuration has."""

    def __init__(self, folder: Path, lines: str, *, options: tuple[str, ...] = ()) -> None:
        self._lines = lines
        super().__init__(folder, options=options)

    def _command(self) -> list[str]:
        pem, ca = self._folder / "server.pem", self._folder / "ca.pem"
        config = self._folder / f"tls-{self.port}.conf"
        config.write_text(
            ONLY_TLS.format(port=self.port, pem=pem, ca=ca) + f"bind 127.0.0.1\ndir {self._folder}\n" + self._lines
        )
        return ["redis-server", str(config), *self._options]

    def client(self) -> redis.Redis:
        """A client that trusts who signed the server's certificate, whoever it was made out to."""
        ca = str(self._folder / "ca.pem")
        return redis.Redis(port=self.port, ssl=True, ssl_ca_certs=ca, ssl_check_hostname=False, socket_timeout=START_S)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def served(stack: ExitStack, folder: Path, authority: trustme.CA, way: str, *, name: str) -> RedisSettings:
    """Starts what a way needs, with a certificate made out to `name`, and returns the settings that reach it."""
    authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    of_cluster = f"cluster-enabled yes\ntls-cluster yes\ncluster-port {free_port()}\ncluster-config-file nodes.conf\n"
    node = TLSServer(folder, "save ''\ntls-replication yes\n" + (of_cluster if way == "cluster" else ""))
    stack.callback(node.stop)
    ca = str(folder / "ca.pem")
    if way == "url":
        return RedisSettings(url=f"rediss://127.0.0.1:{node.port}/0?ssl_ca_certs={ca}", timeout_ms=TIMEOUT_MS)
    if way == "cluster":
        with node.client() as client:
            ask(client, "CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
            wait_until("a cluster", lambda: ask(client, "CLUSTER INFO")["cluster_state"] == "ok")
        return RedisSettings(cluster=(address(node),), tls=True, tls_ca=ca, timeout_ms=TIMEOUT_MS)
    watches = f"sentinel monitor {MASTER_NAME} 127.0.0.1 {node.port} 1\ntls-replication yes\n"
    sentinel = TLSServer(folder, watches, options=("--sentinel",))
    stack.callback(sentinel.stop)
    return RedisSettings(
        sentinels=(address(sentinel),), sentinel_master=MASTER_NAME, tls=True, tls_ca=ca, timeout_ms=TIMEOUT_MS
    )


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def remembers(settings: RedisSettings) -> bool:
    """Whether what is remembered is found again."""
    before = open_files()
    link = open_link(settings=settings)
    try:
        cache, issued = RedisIssueCache(link=link, settings=settings), new_issued()
        await cache.remember([issued], {7: SELLER_TAX_ID})
        return await cache.known([key_of(issued)]) == {key_of(issued): issued}
    finally:
        await link.close()
        async with asyncio.timeout(PATIENCE_S):  # a TLS connection says goodbye and waits for an answer
            while True:
                await asyncio.sleep(0.01)
                if open_files() <= before:
                    break


async def test_a_redis_that_can_be_trusted_is_used(
    stack: ExitStack, tmp_path: Path, authority: trustme.CA, way: str
) -> None:
    assert await remembers(served(stack, tmp_path, authority, way, name="127.0.0.1"))


async def test_nobody_else_is_told_anything(stack: ExitStack, tmp_path: Path, authority: trustme.CA, way: str) -> None:
    settings = served(stack, tmp_path, authority, way, name="127.0.0.1")
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    if way == "url":
        stranger = dataclasses.replace(settings, url=settings.url.replace("ca.pem", "other.pem"))
    else:
        stranger = dataclasses.replace(settings, tls_ca=str(other))
    assert not await remembers(stranger)
    assert await remembers(settings)


async def test_nor_one_whose_certificate_is_made_out_to_another(
    stack: ExitStack, tmp_path: Path, authority: trustme.CA, way: str
) -> None:
    assert not await remembers(served(stack, tmp_path, authority, way, name="redis.example"))

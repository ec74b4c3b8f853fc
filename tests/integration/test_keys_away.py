"""API keys while the primary is away: a replica may vouch for a key, but never say that there is none (P7, P10)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator

import pytest

from core.domain.errors import BillowError, Reason
from core.settings import load
from core.storage.mysql.pool import Node, Primary, Replicas, unavailable
from core.storage.mysql.registry import MySQLRegistryStore
from core.storage.registry_port import ApiKeyRecord
from stack import Stack
from tests.contract.registry_subjects import REPLICA_WAIT_S, new_tenant, now_us


@pytest.fixture
async def nodes(data_stores: Stack) -> AsyncIterator[tuple[Node, Node]]:
    settings = load(data_stores.config_path).mysql
    primary, replica = Node(settings, settings.primary), Node(settings, settings.replicas[0])
    yield primary, replica
    primary.drop()
    replica.drop()


async def test_a_replica_vouches_for_keys_but_denies_none(nodes: tuple[Node, Node]) -> None:
    primary, replica = nodes
    there = MySQLRegistryStore(primary=lambda: Primary(primary), replicas=lambda: Replicas([replica]))
    tenant = await new_tenant(there)
    digest, unknown = hashlib.sha256(secrets.token_bytes()).digest(), hashlib.sha256(secrets.token_bytes()).digest()
    scopes = frozenset({"read"})
    key = ApiKeyRecord(secrets.token_hex(8), tenant.tenant_key, tenant.tenant_id, scopes, "", now_us(), None)
    await there.create_api_key(key, digest)
    position = (await Primary(primary).rows("SELECT @@GLOBAL.gtid_binlog_pos"))[0][0]
    await Primary(replica).rows("SELECT MASTER_GTID_WAIT(%s, %s)", (position, REPLICA_WAIT_S))

    def away() -> Primary:
        raise unavailable("cut off")

    cut_off = MySQLRegistryStore(primary=away, replicas=lambda: Replicas([replica]))
    assert await there.api_keys_by_secret([digest, unknown]) == {digest: key}
    assert await cut_off.api_keys_by_secret([digest]) == {digest: key}
    for asked in ([unknown], [digest, unknown]):
        with pytest.raises(BillowError) as refused:
            await cut_off.api_keys_by_secret(asked)
        assert refused.value.reason is Reason.STORAGE_UNAVAILABLE

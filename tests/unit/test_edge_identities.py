"""What the edge says of a caller is believed with its secret only, never more than tokens may, and settings say so."""

from __future__ import annotations

import pytest

from core import limits
from core.domain.errors import BillowError, Reason
from core.settings import ServerSettings, SettingsError
from core.storage.memory.registry import MemoryRegistryStore
from core.storage.registry_port import TenantRecord
from server.services.edge_identities import EdgeIdentities
from stack import StackError, StackOptions
from stack.edge_tokens import jwt_filter

SECRET = "s" * 40


class Store(MemoryRegistryStore):
    reads = 0

    async def tenant(self, tenant_id: str) -> TenantRecord | None:
        self.reads += 1
        return TenantRecord(7, tenant_id, "", 1) if tenant_id == "acme" else None


def identities() -> tuple[EdgeIdentities, Store]:
    store = Store()
    return EdgeIdentities(store=store, secret=SECRET, wait_max_ms=1_000), store


async def test_the_edge_names_tenant_and_scopes_and_a_tenant_is_looked_up_once() -> None:
    edge, store = identities()
    for _ in range(3):
        caller = await edge.caller(secret=SECRET, tenant_id="acme", scopes="read  issue platform nonsense")
        assert (caller.tenant_key, caller.tenant_id, set(caller.scopes)) == (7, "acme", {"read", "issue"})
    assert store.reads == 1


@pytest.mark.parametrize("secret", ["", "x", SECRET[:-1], SECRET + "s", "é" * 40])
async def test_without_the_secret_nothing_is_believed(secret: str) -> None:
    edge, store = identities()
    with pytest.raises(BillowError) as refused:
        await edge.caller(secret=secret, tenant_id="acme", scopes="read")
    assert (refused.value.reason, store.reads) == (Reason.API_KEY_INVALID, 0)


@pytest.mark.parametrize(("tenant_id", "reads"), [("other", 1), ("A", 0), ("acme\n", 0), ("卖", 0), ("a" * 64, 0)])
async def test_tenants_that_are_not_there_are_refused(tenant_id: str, reads: int) -> None:
    edge, store = identities()
    with pytest.raises(BillowError) as refused:
        await edge.caller(secret=SECRET, tenant_id=tenant_id, scopes="read")
    assert (refused.value.reason, store.reads) == (Reason.API_KEY_INVALID, reads)


def test_short_secrets_and_half_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"server\.edge_secret"):
        ServerSettings(edge_secret="s" * (limits.EDGE_SECRET_CHARS_MIN - 1))
    with pytest.raises(StackError, match="jwt_keys"):
        StackOptions(jwt_keys="keys.json", jwt_issuer="x")
    assert jwt_filter(StackOptions())["disabled"] is True
    assert "disabled" not in jwt_filter(StackOptions(jwt_keys="k", jwt_issuer="i", jwt_audience="a"))

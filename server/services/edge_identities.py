"""Who calls, on the edge's word: Envoy verified a token, and names the tenant and the scopes in headers.

Believed only with the secret that Envoy and the servers share, so that whoever reaches a server's port by another way
claims nothing (docs/adr/0042). Callers' own headers of these names are removed by Envoy.
"""

from __future__ import annotations

import hmac
from typing import Final

from core import limits
from core.domain.errors import BillowError, Reason
from core.storage.registry_port import SCOPES, RegistryStore
from server.services.auth import Caller
from server.services.patience import Patience
from server.services.registry_rules import ID_FORM

SCOPES_OF_TOKENS: Final = frozenset(SCOPES) - {"platform"}  # what an operator may is for keys, which can be revoked
KEY_ID: Final = "token"


class EdgeIdentities:
    """Makes callers of headers. Remembers the keys of tenants, which are never taken away."""

    def __init__(self, *, store: RegistryStore, secret: str, wait_max_ms: int) -> None:
        self._store = store
        self._secret = secret.encode()
        self._patiently = Patience(wait_max_ms=wait_max_ms)
        self._tenants: dict[str, int] = {}

    async def caller(self, *, secret: str, tenant_id: str, scopes: str) -> Caller:
        """Returns the caller; `scopes` are separated by blanks, and those that nobody knows are nothing.

        Raises API_KEY_INVALID when the secret is wrong or the tenant unknown, STORAGE_UNAVAILABLE. 1 round trip for a
        tenant not seen before.
        """
        if not hmac.compare_digest(secret.encode(), self._secret):
            raise BillowError(Reason.API_KEY_INVALID, "an identity that is not the edge's")
        tenant_key = self._tenants.get(tenant_id) or await self._find(tenant_id)
        return Caller(tenant_key, tenant_id, frozenset(scopes.split()) & SCOPES_OF_TOKENS, KEY_ID)

    async def _find(self, tenant_id: str) -> int:
        fits = ID_FORM.fullmatch(tenant_id)
        found = await self._patiently(lambda: self._store.tenant(tenant_id)) if fits else None
        if found is None:
            raise BillowError(Reason.API_KEY_INVALID, "the token names no tenant that is known here")
        if len(self._tenants) >= limits.API_KEYS_CACHED_MAX:
            self._tenants.clear()
        self._tenants[tenant_id] = found.tenant_key
        return found.tenant_key

"""Who calls: API keys, checked against the database at most a second ago.

A call with a key seen lately costs a hash and a look into a dictionary, about 1 µs. The truth about a key is read
again in the background once it is API_KEY_REFRESH_MS old and the key is in use, so that busy keys never wait; what is
API_KEY_TTL_MS old, counted from before the read began, is not used any more. So a revocation is in effect everywhere
within a second, whatever is away. While the primary is away a replica that is fresh enough is asked
(MySQLRegistryStore.api_keys_by_secret); while nobody can be asked, calls wait for up to `wait_max_ms` (P10): letting a
key through on old knowledge would break the promise about revocation, and refusing it would break P10.

Unknown keys are not remembered, since a flood of guesses would fill any memory; they are looked up together, many in
one statement, and a bounded number at a time. Secrets are never kept: only their SHA-256 is, as in the database.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from core import limits
from core.domain.errors import BillowError, Reason
from core.storage.registry_port import ApiKeyRecord, RegistryStore
from server.services.gather import Gather
from server.services.patience import Patience

SCHEME: Final = "Bearer "
SECRET_PREFIX: Final = "bk_"  # noqa: S105 (not a secret: what secrets begin with)
_SCHEME_CHARS = len(SCHEME)
_TTL_S = limits.API_KEY_TTL_MS / 1_000
_REFRESH_S = limits.API_KEY_REFRESH_MS / 1_000
_AUTHORIZATION = re.compile(r"[Bb]earer (bk_[A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller: its tenant and what its key may do."""

    tenant_key: int
    tenant_id: str
    scopes: frozenset[str]
    key_id: str

    def require(self, scope: str) -> None:
        """Raises SCOPE_MISSING unless the key has the scope."""
        if scope not in self.scopes:
            raise scope_missing(scope)


def scope_missing(scope: str) -> BillowError:
    """The error for a key that lacks a scope."""
    return BillowError(Reason.SCOPE_MISSING, f"the API key lacks the scope {scope}", metadata={"scope": scope})


def secret_sha256(secret: str) -> bytes:
    """Returns under what a secret is stored: it has 256 random bits, so one plain hash suffices."""
    return hashlib.sha256(secret.encode()).digest()


@dataclass(slots=True)
class _Known:
    """A good key and when the read that found it good began; `refreshing` while it is being read again."""

    caller: Caller
    began_at: float
    refreshing: bool = False


class KeyAuthenticator:
    """The Authenticator of server/interceptors.py over the registry. `clock` counts monotonic seconds."""

    def __init__(
        self,
        *,
        store: RegistryStore,
        wait_max_ms: int,
        clock: Callable[[], float] = time.monotonic,
        keys_max: int = limits.API_KEYS_CACHED_MAX,
    ) -> None:
        self._store = store
        self._patiently = Patience(wait_max_ms=wait_max_ms)
        self._clock = clock
        self._keys_max = keys_max
        self._known: dict[bytes, _Known] = {}
        self._reads = Gather[bytes, _Known](
            read=self._read, items_max=limits.LOOKUP_KEYS_MAX, waiting_max=limits.LOOKUPS_WAITING_MAX
        )

    async def caller(self, authorization: str) -> Caller:
        """Returns whom a header `Bearer bk_…` names.

        Raises API_KEY_INVALID for an unknown or revoked key, OVERLOADED when too many lookups wait,
        STORAGE_UNAVAILABLE when the database stays away. No round trip for a key in use, else 1.
        """
        # most headers are exactly this long; the form is checked only of those that are not known
        digest = hashlib.sha256(authorization[_SCHEME_CHARS:].encode()).digest()
        known = self._known.get(digest)
        if known is not None:
            age_s = self._clock() - known.began_at
            if age_s < _TTL_S:
                if age_s >= _REFRESH_S and not known.refreshing:
                    known.refreshing = self._reads.want(digest)
                return known.caller
        return await self._look_up(authorization)

    async def _look_up(self, authorization: str) -> Caller:
        """Asks the registry about a key that is not known or was asked about too long ago."""
        form = _AUTHORIZATION.fullmatch(authorization)
        if form is None:
            raise BillowError(Reason.API_KEY_INVALID, 'the header must be "authorization: Bearer bk_…"')
        digest = secret_sha256(form[1])
        found = await self._patiently(lambda: self._reads.get(digest))
        if found is None:
            raise BillowError(Reason.API_KEY_INVALID, "the API key is unknown or revoked")
        return found.caller

    async def _read(self, digests: Sequence[bytes]) -> dict[bytes, _Known]:
        """Reads keys; remembers the good ones and forgets the others."""
        began_at = self._clock()
        try:
            records = await self._store.api_keys_by_secret(digests)
        finally:
            for digest in digests:
                if (known := self._known.get(digest)) is not None:
                    known.refreshing = False
        found: dict[bytes, _Known] = {}
        for digest in digests:
            record = records.get(digest)
            if record is None or record.revoked_at_us is not None:
                self._known.pop(digest, None)
                continue
            found[digest] = known = _Known(caller_of(record), began_at)
            self._remember(digest, known)
        return found

    def _remember(self, digest: bytes, known: _Known) -> None:
        while len(self._known) >= self._keys_max and digest not in self._known:
            del self._known[next(iter(self._known))]
        self._known[digest] = known

    async def close(self) -> None:
        """Waits until no read is under way."""
        await self._reads.close()


def caller_of(record: ApiKeyRecord) -> Caller:
    """Returns the caller a key stands for."""
    return Caller(record.tenant_key, record.tenant_id, record.scopes, record.key_id)

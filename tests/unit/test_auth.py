"""API keys: found, remembered for less than a second, refreshed in the background, revoked for good."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from core import limits
from core.domain.errors import BillowError, Reason
from core.storage.memory.registry import MemoryRegistryStore
from core.storage.registry_port import ApiKeyRecord
from server.services.auth import KeyAuthenticator, secret_sha256

SECRET = "bk_" + "a" * 43
KEY = ApiKeyRecord("00" * 8, 3, "acme", frozenset({"issue"}), "", 1, None)
TTL_S = 1.0  # what is promised, whatever the setting
REFRESH_S = limits.API_KEY_REFRESH_MS / 1_000


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Store(MemoryRegistryStore):
    """Counts the reads, and is away when told."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []
        self.away = False

    async def api_keys_by_secret(self, secrets_sha256: Sequence[bytes]) -> dict[bytes, ApiKeyRecord]:
        self.reads.append(len(secrets_sha256))
        await asyncio.sleep(0)
        if self.away:
            raise BillowError(Reason.STORAGE_UNAVAILABLE, "away")
        return await super().api_keys_by_secret(secrets_sha256)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.create_api_key(KEY, secret_sha256(SECRET))
    return store


@pytest.fixture
def authenticator(store: Store, clock: Clock) -> KeyAuthenticator:
    return KeyAuthenticator(store=store, wait_max_ms=0, clock=clock)


async def reason(authenticator: KeyAuthenticator, authorization: str) -> Reason:
    with pytest.raises(BillowError) as error:
        await authenticator.caller(authorization)
    return error.value.reason


async def test_a_good_key_names_its_tenant_and_scopes(authenticator: KeyAuthenticator, store: Store) -> None:
    caller = await authenticator.caller(f"Bearer {SECRET}")
    assert (caller.tenant_key, caller.tenant_id, caller.key_id) == (3, "acme", KEY.key_id)
    caller.require("issue")
    with pytest.raises(BillowError) as error:
        caller.require("read")
    assert error.value.reason is Reason.SCOPE_MISSING
    assert error.value.metadata == {"scope": "read"}
    assert await authenticator.caller(f"bearer {SECRET}") == caller
    assert store.reads == [1]


@pytest.mark.parametrize(
    "authorization",
    [
        *("", "Bearer ", SECRET, f"Basic {SECRET}", f"Bearer {SECRET}x", f"Bearer {SECRET[:-1]}", f"Bearer {SECRET}\n"),
        *("Bearer bk_" + "é" * 43, "Bearer bk_" + "b" * 43),
    ],
)
async def test_a_bad_key_is_refused(authenticator: KeyAuthenticator, authorization: str) -> None:
    assert await reason(authenticator, authorization) is Reason.API_KEY_INVALID


async def test_nonsense_does_not_reach_the_database(authenticator: KeyAuthenticator, store: Store) -> None:
    await reason(authenticator, "Bearer nonsense")
    assert store.reads == []


async def test_lookups_at_once_are_one_read(authenticator: KeyAuthenticator, store: Store) -> None:
    others = [f"Bearer bk_{'c' * 42}{letter}" for letter in "abc"]
    results = await asyncio.gather(
        *(authenticator.caller(item) for item in [f"Bearer {SECRET}"] * 20 + others), return_exceptions=True
    )
    assert sum(isinstance(result, BillowError) for result in results) == 3
    assert store.reads == [4]


async def test_a_revocation_is_in_effect_within_a_second(
    authenticator: KeyAuthenticator, store: Store, clock: Clock
) -> None:
    await authenticator.caller(f"Bearer {SECRET}")
    await store.revoke_api_key(KEY.tenant_key, KEY.key_id, now_us=5)
    clock.now_s += TTL_S
    assert await reason(authenticator, f"Bearer {SECRET}") is Reason.API_KEY_INVALID
    assert await reason(authenticator, f"Bearer {SECRET}") is Reason.API_KEY_INVALID


async def test_a_key_in_use_is_refreshed_without_anybody_waiting(
    authenticator: KeyAuthenticator, store: Store, clock: Clock
) -> None:
    for _ in range(10):
        await authenticator.caller(f"Bearer {SECRET}")
        clock.now_s += REFRESH_S / 2
        await authenticator.close()
    assert 4 <= len(store.reads) <= 6
    before = len(store.reads)
    clock.now_s += REFRESH_S
    await asyncio.gather(*(authenticator.caller(f"Bearer {SECRET}") for _ in range(50)))
    await authenticator.close()
    assert len(store.reads) == before + 1
    await store.revoke_api_key(KEY.tenant_key, KEY.key_id, now_us=5)
    clock.now_s += REFRESH_S
    await authenticator.caller(f"Bearer {SECRET}")
    await authenticator.close()
    assert await reason(authenticator, f"Bearer {SECRET}") is Reason.API_KEY_INVALID


async def test_while_the_database_is_away_a_key_lasts_its_second_only(
    authenticator: KeyAuthenticator, store: Store, clock: Clock
) -> None:
    await authenticator.caller(f"Bearer {SECRET}")
    store.away = True
    clock.now_s += TTL_S - 0.01
    await authenticator.caller(f"Bearer {SECRET}")
    await authenticator.close()
    clock.now_s += 0.01
    assert await reason(authenticator, f"Bearer {SECRET}") is Reason.STORAGE_UNAVAILABLE
    store.away = False
    assert (await authenticator.caller(f"Bearer {SECRET}")).tenant_key == 3


async def test_calls_wait_for_the_database_to_come_back(store: Store, clock: Clock) -> None:
    authenticator = KeyAuthenticator(store=store, wait_max_ms=60_000, clock=clock)
    store.away = True
    waiting = asyncio.create_task(authenticator.caller(f"Bearer {SECRET}"))
    while len(store.reads) < 2:  # noqa: ASYNC110 (the second try is the wait's own)
        await asyncio.sleep(0.01)
    assert not waiting.done()
    store.away = False
    assert (await waiting).tenant_key == 3


async def test_the_memory_is_bounded(store: Store, clock: Clock) -> None:
    authenticator = KeyAuthenticator(store=store, wait_max_ms=0, clock=clock, keys_max=2)
    secrets = [f"bk_{'d' * 42}{letter}" for letter in "abc"]
    for position, secret in enumerate(secrets):
        await store.create_api_key(replace(KEY, key_id=f"{position}" * 16), secret_sha256(secret))
        await authenticator.caller(f"Bearer {secret}")
    assert store.reads == [1, 1, 1]
    await authenticator.caller(f"Bearer {secrets[2]}")
    assert store.reads == [1, 1, 1]
    await authenticator.caller(f"Bearer {secrets[0]}")
    assert store.reads == [1, 1, 1, 1]

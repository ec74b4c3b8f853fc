"""The contract of RegistryStore, on MySQL and on its twin."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from core.domain.errors import BillowError, Reason
from core.settings import load
from core.storage.registry_port import ApiKeyRecord, NumberRangeRecord, RegistryStore, TenantRecord
from stack import Stack
from tests.contract.registry_subjects import (
    MemoryBooks,
    MySQLBooks,
    new_range,
    new_seller,
    new_serial,
    new_tenant,
    now_us,
)


@pytest.fixture(params=["memory", "mysql"])
async def registry(request: pytest.FixtureRequest) -> AsyncIterator[RegistryStore]:
    if request.param == "memory":
        yield MemoryBooks().registry
        return
    stores: Stack = request.getfixturevalue("data_stores")
    books = MySQLBooks(load(stores.config_path).mysql, from_replica=False)
    yield books.registry
    await books.close()


def reason_of(error: pytest.ExceptionInfo[BillowError]) -> Reason:
    return error.value.reason


async def test_a_tenant_is_created_once(registry: RegistryStore) -> None:
    tenant = await new_tenant(registry)
    assert tenant.tenant_key > 0
    assert await registry.tenant(tenant.tenant_id) == tenant
    with pytest.raises(BillowError) as error:
        await registry.create_tenant(replace(tenant, display_name="other"))
    assert reason_of(error) is Reason.TENANT_EXISTS
    assert error.value.metadata == {"tenant_id": tenant.tenant_id}
    assert await registry.tenant(tenant.tenant_id) == tenant
    assert await registry.tenant("no-such-tenant") is None


async def test_what_was_created_may_be_created_again_by_the_same_call(registry: RegistryStore) -> None:
    tenant = await new_tenant(registry)
    assert await registry.create_tenant(replace(tenant, tenant_key=0)) == tenant
    with pytest.raises(BillowError) as error:
        await registry.create_tenant(replace(tenant, created_at_us=tenant.created_at_us + 1))
    assert reason_of(error) is Reason.TENANT_EXISTS

    seller = await new_seller(registry, tenant.tenant_key, "shop")
    assert await registry.create_seller(replace(seller, seller_key=0)) == seller
    with pytest.raises(BillowError) as error:
        await registry.create_seller(replace(seller, created_at_us=seller.created_at_us + 1))
    assert reason_of(error) is Reason.SELLER_EXISTS

    added = new_range(seller.seller_key)
    stored = await registry.add_number_range(added)
    assert await registry.add_number_range(added) == stored
    with pytest.raises(BillowError) as error:
        await registry.add_number_range(replace(added, created_at_us=added.created_at_us + 1))
    assert reason_of(error) is Reason.NUMBER_RANGE_OVERLAPS
    assert await registry.number_ranges(seller.seller_key, after=0, items_max=9) == [stored]

    key, digest = await new_key(registry, tenant)
    await registry.create_api_key(key, digest)
    assert await registry.api_keys(tenant.tenant_key, after="", items_max=9) == [key]
    assert await registry.api_keys_by_secret([digest]) == {digest: key}


async def test_tenants_are_listed_by_id_in_pages(registry: RegistryStore) -> None:
    prefix = f"page-{new_serial()}"
    made = [await registry.create_tenant(TenantRecord(0, f"{prefix}-{letter}", "", now_us())) for letter in "cab"]
    made.sort(key=lambda tenant: tenant.tenant_id)
    first = await registry.tenants(after=f"{prefix}-", items_max=2)
    assert first == made[:2]
    assert (await registry.tenants(after=first[-1].tenant_id, items_max=1)) == made[2:]


async def new_key(registry: RegistryStore, tenant: TenantRecord) -> tuple[ApiKeyRecord, bytes]:
    digest = hashlib.sha256(os.urandom(8)).digest()
    key = ApiKeyRecord(
        os.urandom(8).hex(), tenant.tenant_key, tenant.tenant_id, frozenset({"issue", "read"}), "注", now_us(), None
    )
    await registry.create_api_key(key, digest)
    return key, digest


async def test_keys_are_found_by_the_hash_of_their_secret(registry: RegistryStore) -> None:
    tenant = await new_tenant(registry)
    key, digest = await new_key(registry, tenant)
    other, other_digest = await new_key(registry, tenant)
    unknown = hashlib.sha256(b"unknown").digest()
    found = await registry.api_keys_by_secret([digest, unknown, other_digest])
    assert found == {digest: key, other_digest: other}
    assert await registry.api_keys_by_secret([]) == {}


async def test_a_key_is_revoked_by_its_tenant_and_the_first_time_counts(registry: RegistryStore) -> None:
    tenant, stranger = await new_tenant(registry), await new_tenant(registry)
    key, digest = await new_key(registry, tenant)
    for tenant_key, key_id in ((stranger.tenant_key, key.key_id), (tenant.tenant_key, "0" * 16)):
        with pytest.raises(BillowError) as error:
            await registry.revoke_api_key(tenant_key, key_id, now_us=5)
        assert reason_of(error) is Reason.API_KEY_NOT_FOUND
    assert (await registry.api_keys_by_secret([digest]))[digest].revoked_at_us is None
    revoked = await registry.revoke_api_key(tenant.tenant_key, key.key_id, now_us=7)
    assert revoked == replace(key, revoked_at_us=7)
    assert (await registry.revoke_api_key(tenant.tenant_key, key.key_id, now_us=9)).revoked_at_us == 7
    assert (await registry.api_keys_by_secret([digest]))[digest] == revoked


async def test_keys_are_listed_by_tenant_in_pages(registry: RegistryStore) -> None:
    tenant, stranger = await new_tenant(registry), await new_tenant(registry)
    await new_key(registry, stranger)
    keys = sorted([(await new_key(registry, tenant))[0] for _ in range(3)], key=lambda key: key.key_id)
    assert await registry.api_keys(tenant.tenant_key, after="", items_max=2) == keys[:2]
    assert await registry.api_keys(tenant.tenant_key, after=keys[1].key_id, items_max=2) == keys[2:]


async def test_a_seller_is_unique_in_its_tenant(registry: RegistryStore) -> None:
    tenant, other = await new_tenant(registry), await new_tenant(registry)
    seller = await new_seller(registry, tenant.tenant_key, "shop")
    with pytest.raises(BillowError) as error:
        await new_seller(registry, tenant.tenant_key, "shop")
    assert reason_of(error) is Reason.SELLER_EXISTS
    twin = await new_seller(registry, other.tenant_key, "shop")
    names = [(tenant.tenant_key, "shop"), (other.tenant_key, "shop"), (other.tenant_key, "absent")]
    found = await registry.sellers_by_id(names)
    assert sorted(found, key=lambda item: item.seller_key) == [seller, twin]
    assert await registry.sellers_by_id([(tenant.tenant_key, "shop"), (tenant.tenant_key, "shop")]) == [seller]
    assert await registry.sellers_by_id([]) == []
    assert await registry.sellers_by_key([seller.seller_key, 10**9]) == [seller]
    assert await registry.sellers_by_key([]) == []


@pytest.mark.parametrize(
    "text", ["\0", "'; DROP TABLE sellers; -- \\", "发票😀𠮷", "\u202eright to left", '%s %% "`', " end "]
)
async def test_texts_come_back_byte_for_byte(registry: RegistryStore, text: str) -> None:
    tenant = await new_tenant(registry)
    seller = await new_seller(registry, tenant.tenant_key)
    party = replace(seller.party, name=text, address=text, phone=text, bank_name=text, bank_account=text)
    stored = await registry.create_seller(replace(seller, seller_id="odd", party=party))
    (found,) = await registry.sellers_by_key([stored.seller_key])
    assert found.party == party


async def test_sellers_are_listed_by_tenant_in_pages(registry: RegistryStore) -> None:
    tenant, other = await new_tenant(registry), await new_tenant(registry)
    made = [await new_seller(registry, tenant.tenant_key, seller_id) for seller_id in ("b", "c", "a")]
    await new_seller(registry, other.tenant_key, "aa")
    made.sort(key=lambda seller: seller.seller_id)
    assert await registry.sellers(tenant.tenant_key, after="", items_max=2) == made[:2]
    assert await registry.sellers(tenant.tenant_key, after="b", items_max=5) == made[2:]


async def test_ranges_keep_the_order_they_were_added_in(registry: RegistryStore) -> None:
    seller = await new_seller(registry, (await new_tenant(registry)).tenant_key)
    later, earlier = new_range(seller.seller_key), new_range(seller.seller_key)
    stored = [await registry.add_number_range(item) for item in (earlier, later)]
    assert [item.first_number for item in stored] == [earlier.first_number, later.first_number]
    assert stored[0].range_id < stored[1].range_id
    assert await registry.number_ranges(seller.seller_key, after=0, items_max=1) == stored[:1]
    assert await registry.number_ranges(seller.seller_key, after=stored[0].range_id, items_max=9) == stored[1:]


def shifted(item: NumberRangeRecord, first: int, last: int) -> NumberRangeRecord:
    return replace(
        item,
        first_number=f"{int(item.first_number) + first:020d}",
        last_number=f"{int(item.last_number) + last:020d}",
    )


@pytest.mark.parametrize(
    ("first", "last"), [(0, 0), (10, -10), (-10, 10), (-10, -10), (10, 10), (-10, -999), (999, 10)]
)
async def test_overlapping_ranges_are_refused_whoever_asks(registry: RegistryStore, first: int, last: int) -> None:
    sellers = [await new_seller(registry, (await new_tenant(registry)).tenant_key) for _ in range(2)]
    taken = await registry.add_number_range(new_range(sellers[0].seller_key, size=1_000))
    later = replace(shifted(taken, first, last), created_at_us=taken.created_at_us + 1)
    for seller in sellers:
        with pytest.raises(BillowError) as error:
            await registry.add_number_range(replace(later, seller_key=seller.seller_key))
        assert reason_of(error) is Reason.NUMBER_RANGE_OVERLAPS
    assert await registry.number_ranges(sellers[1].seller_key, after=0, items_max=9) == []


async def test_neighbouring_ranges_do_not_overlap(registry: RegistryStore) -> None:
    seller = await new_seller(registry, (await new_tenant(registry)).tenant_key)
    taken = await registry.add_number_range(new_range(seller.seller_key, size=1_000))
    await registry.add_number_range(shifted(taken, 1_000, 1_000))
    await registry.add_number_range(shifted(taken, -1_000, -1_000))
    assert len(await registry.number_ranges(seller.seller_key, after=0, items_max=9)) == 3


async def test_of_ranges_added_at_once_one_wins(registry: RegistryStore) -> None:
    sellers = [await new_seller(registry, (await new_tenant(registry)).tenant_key) for _ in range(6)]
    base = new_range(sellers[0].seller_key, size=1_000)
    wanted = [
        replace(shifted(base, step * 100, step * 100), seller_key=seller.seller_key)
        for step, seller in enumerate(sellers)
    ]
    results = await asyncio.gather(*map(registry.add_number_range, wanted), return_exceptions=True)
    assert sum(isinstance(result, NumberRangeRecord) for result in results) == 1
    refused = [result.reason for result in results if isinstance(result, BillowError)]
    assert refused == [Reason.NUMBER_RANGE_OVERLAPS] * 5

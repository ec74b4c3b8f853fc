"""The object store and its twin: content, ranges, retention (P6)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from core.domain.errors import BillowError, Reason
from core.settings import load
from core.storage.memory.objects import MemoryObjectStore
from core.storage.objects.s3 import S3ObjectStore, open_s3
from core.storage.ports import ObjectMissing, ObjectStore
from stack import Stack
from tests.chaos.proxy import Link, Loop, Proxy, Rule

S_US = 1_000_000
KIB = 1_024
LARGE = os.urandom(6 * 1024 * 1024)


@pytest.fixture(params=["memory", "s3"])
async def objects(request: pytest.FixtureRequest) -> AsyncIterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryObjectStore()
        return
    stack: Stack = request.getfixturevalue("data_stores")
    async with open_s3(load(stack.config_path).object_store) as store:
        yield store


def tomorrow_us() -> int:
    return (int(time.time()) + 86_400) * S_US


def fresh(name: str) -> str:
    return f"contract/{time.time_ns()}/{name}"


async def test_ranges_are_read_byte_for_byte(objects: ObjectStore) -> None:
    key = fresh("large")
    await objects.put(key, LARGE, retain_until_us=tomorrow_us())
    assert await objects.size(key) == len(LARGE)
    assert await objects.read(key, start=0, length=len(LARGE)) == LARGE
    assert await objects.read(key, start=5_000_001, length=100) == LARGE[5_000_001:5_000_101]
    assert await objects.read(key, start=len(LARGE) - 10, length=100) == LARGE[-10:]


async def test_what_is_missing_is_said_to_be(objects: ObjectStore) -> None:
    key = fresh("missing")
    assert await objects.size(key) is None
    with pytest.raises(ObjectMissing):
        await objects.read(key, start=0, length=10)
    with pytest.raises(ObjectMissing):
        await objects.retained_until_us(key)
    await objects.put(key, b"abc", retain_until_us=tomorrow_us())
    with pytest.raises(ObjectMissing):
        await objects.read(key, start=3, length=10)


async def test_the_lock_is_kept_to_the_second_rounded_up(objects: ObjectStore) -> None:
    key, until_us = fresh("locked"), tomorrow_us()
    await objects.put(key, b"abc", retain_until_us=until_us - 1)
    assert await objects.retained_until_us(key) == until_us


async def test_storing_again_changes_nothing(objects: ObjectStore) -> None:
    key, until_us = fresh("twice"), tomorrow_us()
    await objects.put(key, b"abc", retain_until_us=until_us)
    await objects.put(key, b"abc", retain_until_us=until_us + 10 * S_US)
    assert await objects.retained_until_us(key) == until_us
    assert await objects.read(key, start=0, length=3) == b"abc"


async def test_keys_are_walked_in_order_below_their_prefix(objects: ObjectStore) -> None:
    folder = fresh("walk")
    for name in ("b/2", "a/1", "b/1"):
        await objects.put(f"{folder}/{name}", name.encode(), retain_until_us=tomorrow_us())
    await objects.put(f"{folder}x", b"beside", retain_until_us=tomorrow_us())
    assert [key async for key in objects.keys(f"{folder}/")] == [f"{folder}/{name}" for name in ("a/1", "b/1", "b/2")]
    assert [key async for key in objects.keys(f"{folder}/b/")] == [f"{folder}/b/1", f"{folder}/b/2"]
    assert [key async for key in objects.keys(fresh("none"))] == []


async def test_storing_again_makes_no_second_version_and_nothing_can_be_deleted(data_stores: Stack) -> None:
    settings = load(data_stores.config_path).object_store
    key = fresh("versions")
    async with open_s3(settings) as store:
        assert isinstance(store, S3ObjectStore)
        for _ in range(3):
            await store.put(key, b"abc", retain_until_us=tomorrow_us())
        found = await store._client.list_object_versions(Bucket=settings.bucket, Prefix=key)
        (version,) = found["Versions"]
        with pytest.raises(Exception, match="Denied"):
            await store._client.delete_object(Bucket=settings.bucket, Key=key, VersionId=version["VersionId"])
        assert await store.read(key, start=0, length=3) == b"abc"


class CutInTheBody(Rule):
    """Of an answer the first kilobyte arrives, then its connection is cut."""

    async def down(self, link: Link, data: bytes) -> bytes:
        if len(data) <= KIB:
            return data
        link.writer.write(data[:KIB])
        await link.writer.drain()
        await asyncio.sleep(0.05)  # a reset would overtake it
        raise ConnectionResetError


async def test_a_body_that_ends_too_soon_is_an_object_store_that_is_away(data_stores: Stack) -> None:
    settings = load(data_stores.config_path).object_store
    key = fresh("cut")
    with Loop() as loop:
        proxy = Proxy(target=int(settings.endpoint.rpartition(":")[2]), loop=loop)
        proxy.open()
        async with open_s3(replace(settings, endpoint=f"http://127.0.0.1:{proxy.port}")) as store:
            await store.put(key, LARGE, retain_until_us=tomorrow_us())
            proxy.begin(CutInTheBody)
            with pytest.raises(BillowError) as caught:
                await store.read(key, start=0, length=len(LARGE))
            assert caught.value.reason is Reason.STORAGE_UNAVAILABLE
            proxy.heal()
            assert await store.read(key, start=0, length=len(LARGE)) == LARGE
        proxy.close()


async def test_an_object_store_that_is_away_is_said_to_be(data_stores: Stack) -> None:
    data_stores.stop("s3")
    try:
        async with open_s3(load(data_stores.config_path).object_store) as store:
            for call in (
                store.put("k", b"", retain_until_us=tomorrow_us()),
                store.read("k", start=0, length=1),
                store.size("k"),
                anext(aiter(store.keys("k"))),
            ):
                with pytest.raises(BillowError) as caught:
                    await call
                assert caught.value.reason is Reason.STORAGE_UNAVAILABLE
    finally:
        data_stores.start("s3")

"""The directory of sellers: one read for many, remembered for good, absences not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from core.domain.parties import Party
from core.storage.memory.registry import MemoryRegistryStore
from core.storage.ports import SellerRecord
from server.services.sellers import SellerDirectory

PARTY = Party(name="卖方", tax_id="911100000000000024")


class Store(MemoryRegistryStore):
    """Counts the reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[list[object]] = []

    async def sellers_by_id(self, sellers: Sequence[tuple[int, str]]) -> list[SellerRecord]:
        self.reads.append(list(sellers))
        return await super().sellers_by_id(sellers)

    async def sellers_by_key(self, seller_keys: Sequence[int]) -> list[SellerRecord]:
        self.reads.append(list(seller_keys))
        return await super().sellers_by_key(seller_keys)


async def registered(store: Store, tenant_key: int, seller_id: str) -> SellerRecord:
    return await store.create_seller(SellerRecord(0, tenant_key, seller_id, "cn", PARTY, 1))


async def test_sellers_are_read_together_and_remembered() -> None:
    store = Store()
    directory = SellerDirectory(store=store, wait_max_ms=0)
    first, second = await registered(store, 1, "a"), await registered(store, 1, "b")
    found = await asyncio.gather(directory.find(1, {"a"}), directory.find(1, {"b"}), directory.find(1, {"a"}))
    assert list(found) == [{"a": first}, {"b": second}, {"a": first}]
    assert [sorted(map(str, batch)) for batch in store.reads] == [["(1, 'a')", "(1, 'b')"]]
    assert await directory.find(1, ["a", "b"]) == {"a": first, "b": second}
    assert await directory.by_key([first.seller_key]) == {first.seller_key: first}
    assert directory.tax_ids([first.seller_key, 99]) == {first.seller_key: PARTY.tax_id}
    assert len(store.reads) == 1


async def test_another_tenants_seller_looks_unknown() -> None:
    store = Store()
    directory = SellerDirectory(store=store, wait_max_ms=0)
    await registered(store, 1, "a")
    await directory.find(1, ["a"])
    assert await directory.find(2, ["a"]) == {}


async def test_absences_are_not_remembered() -> None:
    store = Store()
    directory = SellerDirectory(store=store, wait_max_ms=0)
    assert await directory.find(1, ["a"]) == {}
    seller = await registered(store, 1, "a")
    assert await directory.find(1, ["a"]) == {"a": seller}


async def test_what_cannot_be_a_seller_is_not_looked_up() -> None:
    store = Store()
    directory = SellerDirectory(store=store, wait_max_ms=0)
    assert await directory.find(1, ["", "A", "a ", "a\0", "é", "-a", "a" * 64, "a\n"]) == {}
    assert store.reads == []


async def test_the_memory_is_bounded_in_both_directions() -> None:
    store = Store()
    directory = SellerDirectory(store=store, wait_max_ms=0, sellers_max=2)
    sellers = [await registered(store, 1, seller_id) for seller_id in ("a", "b", "c")]
    for seller in sellers:
        await directory.find(1, [seller.seller_id])
    assert directory.tax_ids([seller.seller_key for seller in sellers]).keys() == {2, 3}
    assert await directory.by_key([1, 2, 3]) == {seller.seller_key: seller for seller in sellers}
    assert len(store.reads) == 4
    assert store.reads[-1] == [1]

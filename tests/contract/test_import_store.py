"""The contract of imported invoices: one a tenant, code and number, whoever comes first; listed by id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from core.settings import load
from core.storage.import_port import Import, ImportStore
from core.storage.memory.imports import MemoryImportStore
from core.storage.mysql.imports import MySQLImportStore
from stack import Stack
from tests.contract.registry_subjects import MySQLBooks, new_serial, new_tenant

NUMBER = "26110000000000000042"


@dataclass(frozen=True, slots=True)
class Case:
    store: ImportStore
    tenants: tuple[int, int]

    def wanted(self, tenant: int = 0, **changes: object) -> Import:
        made = Import(
            tenant_key=self.tenants[tenant],
            code="",
            number=NUMBER,
            kind=2,
            color=1,
            blue_number="",
            issued_at_us=1_795_000_000_000_000,
            seller_tax_id="s",
            seller_name="示例卖方",
            buyer_tax_id="b",
            net_total_minor=-5,
            tax_total_minor=-1,
            gross_total_minor=-6,
            verified=True,
            signature=2,
            document_kind=1,
            sha256=bytes(range(32)),
            size_bytes=10,
            object_key="imports/1/x.xml",
            imported_at_us=7,
        )
        return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(params=["memory", "mysql"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    if request.param == "memory":
        yield Case(MemoryImportStore(), (new_serial(), new_serial()))
        return
    stores: Stack = request.getfixturevalue("data_stores")
    books = MySQLBooks(load(stores.config_path).mysql, from_replica=False)
    first, second = await new_tenant(books.registry), await new_tenant(books.registry)
    yield Case(MySQLImportStore(primary=lambda: books.primary), (first.tenant_key, second.tenant_key))
    await books.close()


async def test_what_was_added_is_read_back(case: Case) -> None:
    wanted = case.wanted()
    assert await case.store.find(wanted.tenant_key, "", NUMBER) is None
    kept, added = await case.store.add(wanted)
    assert added
    assert kept.import_id > 0
    assert kept == replace(wanted, import_id=kept.import_id)
    assert await case.store.find(wanted.tenant_key, "", NUMBER) == kept


async def test_the_first_of_a_number_stays_whatever_comes_later(case: Case) -> None:
    first, _ = await case.store.add(case.wanted())
    for other in (case.wanted(), case.wanted(sha256=b"x" * 32), case.wanted(kind=1)):
        assert await case.store.add(other) == (first, False)
    assert (await case.store.add(case.wanted(code="012345678901")))[1]
    assert (await case.store.add(case.wanted(tenant=1)))[1]


async def test_of_many_at_once_one_is_added(case: Case) -> None:
    answers = await asyncio.gather(*(case.store.add(case.wanted(sha256=bytes([n] * 32))) for n in range(20)))
    assert [added for _, added in answers].count(True) == 1
    assert len({kept.sha256 for kept, _ in answers}) == 1


async def test_a_tenant_lists_its_own_by_id(case: Case) -> None:
    numbers = [f"{serial:020d}" for serial in range(5)]
    for number in numbers:
        await case.store.add(case.wanted(number=number))
        await case.store.add(case.wanted(tenant=1, number=number))
    page = await case.store.imports(case.tenants[0], after=0, items_max=3)
    rest = await case.store.imports(case.tenants[0], after=page[-1].import_id, items_max=3)
    assert [item.number for item in (*page, *rest)] == numbers
    assert {item.tenant_key for item in (*page, *rest)} == {case.tenants[0]}

"""DocumentService over the twins: rendered once, kept, never needed from the object store (P4, P8)."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from core import limits
from core.documents.formats import PDF
from core.documents.renderer import NotRenderable
from core.domain.errors import BillowError, Reason
from core.storage.memory.objects import MemoryObjectStore
from core.storage.memory.reader import MemoryInvoiceReader
from core.storage.ports import ObjectStore
from press import kept
from press.kept import key_of
from server.services.auth import Caller
from server.services.documents import DocumentService
from server.services.reading import ReadingService
from server.services.sellers import SellerDirectory
from tests.contract.registry_subjects import MemoryBooks, issue, new_seller, new_tenant, now_us
from tests.unit.test_reading_service import Segments

DAYS = 10


class Press:
    """Renders what it is given as it is, and counts."""

    rendered = 0
    size = 0
    refuses = False

    async def render(self, format_name: str, body: bytes) -> bytes:
        self.rendered += 1
        if self.refuses:
            raise NotRenderable("this one has no face")
        await asyncio.sleep(0)
        return format_name.encode() + body + bytes(self.size)


class AwayStore(MemoryObjectStore):
    """An object store that is away, or that never answers."""

    hangs = False
    asked = 0

    async def read(self, key: str, *, start: int, length: int) -> bytes:
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(3_600)
        raise BillowError(Reason.STORAGE_UNAVAILABLE, "away")

    async def put(self, key: str, data: bytes, *, retain_until_us: int) -> None:
        raise AssertionError("a store that does not answer is not written to")


class Bench:
    def __init__(self, objects: ObjectStore) -> None:
        self.books = MemoryBooks()
        self.press = Press()
        self.service = DocumentService(
            invoices=ReadingService(
                primary=self.books.reader,
                replicas=MemoryInvoiceReader(tables=self.books.tables, registry=self.books.registry),
                segments=Segments(),
                sellers=SellerDirectory(store=self.books.registry, wait_max_ms=0),
                now_us=now_us,
                wait_max_ms=0,
            ),
            press=self.press,
            objects=objects,
            formats={"pdf": PDF},
            retention_days=DAYS,
            now_us=now_us,
        )

    async def issued(self) -> tuple[Caller, str]:
        """A tenant and the number of its one invoice."""
        tenant = await new_tenant(self.books.registry)
        seller = await new_seller(self.books.registry, tenant.tenant_key)
        await self.books.add_range(seller, 1_000)
        (made,) = await issue(self.books, seller, ["a"])
        return Caller(tenant.tenant_key, tenant.tenant_id, frozenset({"read"}), "00" * 8), made.number


async def test_rendered_once_then_read() -> None:
    objects = MemoryObjectStore()
    bench = Bench(objects)
    caller, number = await bench.issued()
    first = await bench.service.get_document(caller, number=number, format_name="pdf")
    again = await bench.service.get_document(caller, number=number, format_name="pdf")
    assert first == again
    assert (first.file_name, first.sha256) == (f"{number}.pdf", hashlib.sha256(first.content).digest())
    assert bench.press.rendered == 1
    key = f"documents/pdf/{PDF.version}/{number}.pdf"
    assert key_of(PDF, number) == key
    assert objects.objects == {key: first.content}
    assert await objects.retained_until_us(key) >= now_us() + (DAYS * 86_400 - 60) * 1_000_000


async def test_renderings_at_once_are_harmless() -> None:
    objects = MemoryObjectStore()
    bench = Bench(objects)
    caller, number = await bench.issued()
    calls = [bench.service.get_document(caller, number=number, format_name="pdf") for _ in range(20)]
    assert len(set(await asyncio.gather(*calls))) == 1
    assert len(objects.objects) == 1


@pytest.mark.parametrize("hangs", [False, True])
async def test_without_the_object_store_it_is_rendered_every_time(hangs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "STORE_WAIT_S", 0.01)
    objects = AwayStore()
    objects.hangs = hangs
    bench = Bench(objects)
    caller, number = await bench.issued()
    first = await bench.service.get_document(caller, number=number, format_name="pdf")
    assert first == await bench.service.get_document(caller, number=number, format_name="pdf")
    assert (bench.press.rendered, objects.asked) == (2, 2)


async def test_another_tenants_document_is_not_given_even_when_kept() -> None:
    bench = Bench(MemoryObjectStore())
    caller, number = await bench.issued()
    await bench.service.get_document(caller, number=number, format_name="pdf")
    stranger, _ = await bench.issued()
    with pytest.raises(BillowError) as error:
        await bench.service.get_document(stranger, number=number, format_name="pdf")
    assert error.value.reason is Reason.INVOICE_NOT_FOUND


@pytest.mark.parametrize(("name", "rule"), [("", "REQUIRED"), ("docx", "FORMAT_UNKNOWN"), ("../pdf", "FORMAT_UNKNOWN")])
async def test_formats_there_are_not(name: str, rule: str) -> None:
    bench = Bench(MemoryObjectStore())
    caller, number = await bench.issued()
    with pytest.raises(BillowError) as error:
        await bench.service.get_document(caller, number=number, format_name=name)
    assert [(fault.field, fault.rule) for fault in error.value.violations] == [("format", rule)]


async def test_a_document_larger_than_a_message_is_refused_and_not_kept() -> None:
    objects = MemoryObjectStore()
    bench = Bench(objects)
    bench.press.size = limits.DOCUMENT_BYTES_MAX
    caller, number = await bench.issued()
    with pytest.raises(BillowError) as error:
        await bench.service.get_document(caller, number=number, format_name="pdf")
    assert error.value.reason is Reason.DOCUMENT_NOT_RENDERABLE
    assert error.value.metadata == {"number": number, "format": "pdf"}
    assert objects.objects == {}


async def test_a_refusal_names_invoice_and_format() -> None:
    bench = Bench(MemoryObjectStore())
    bench.press.refuses = True
    caller, number = await bench.issued()
    with pytest.raises(BillowError, match="this one has no face") as error:
        await bench.service.get_document(caller, number=number, format_name="pdf")
    assert error.value.reason is Reason.DOCUMENT_NOT_RENDERABLE
    assert error.value.metadata == {"number": number, "format": "pdf"}

"""Documents that go with a message: the kept bytes, in the order wished, bounded; never silently left out (P4, P6)."""

from __future__ import annotations

import pytest

from core.documents.formats import FORMATS, PDF, XML
from core.documents.renderer import NotRenderable
from core.domain.errors import BillowError, Reason
from core.storage.bodies import Bodies
from core.storage.memory.objects import MemoryObjectStore
from press.kept import KeptDocuments, key_of
from tests.contract.registry_subjects import MemoryBooks, issue, new_seller, new_tenant, now_us
from tests.unit.test_reading_service import Segments
from workers.attachments import InvoiceDocuments


class Press:
    """Renders a few bytes, or what it is told to raise."""

    def __init__(self) -> None:
        self.rendered: list[str] = []
        self.failure: Exception | None = None

    async def render(self, format_name: str, body: bytes) -> bytes:
        self.rendered.append(format_name)
        if self.failure is not None and format_name == "pdf":
            raise self.failure
        return format_name.encode() * 10


class Bench:
    def __init__(self, *, bytes_max: int = 100) -> None:
        self.books = MemoryBooks()
        self.objects = MemoryObjectStore()
        self.press = Press()
        reader = self.books.reader
        self.documents = InvoiceDocuments(
            invoices=reader,
            bodies=Bodies(batch=reader.batch, segment=reader.segment, archived=Segments().read_body),
            kept=KeptDocuments(press=self.press, objects=self.objects, retention_days=1, now_us=now_us),
            formats=FORMATS,
            bytes_max=bytes_max,
        )

    async def issued(self) -> str:
        """The number of an invoice."""
        tenant = await new_tenant(self.books.registry)
        seller = await new_seller(self.books.registry, tenant.tenant_key)
        await self.books.add_range(seller, 10)
        (made,) = await issue(self.books, seller, ["a"])
        return made.number


async def test_kept_documents_are_read_others_rendered_and_kept() -> None:
    bench = Bench()
    number = await bench.issued()
    await bench.objects.put(key_of(PDF, number), b"kept before", retain_until_us=now_us() + 10**9)
    attached = await bench.documents.of(number, ("xml", "pdf"))
    assert [(file.file_name, file.media_type, file.content) for file in attached.files] == [
        (f"发票_{number}.xml", "application/xml", b"xml" * 10),
        (f"发票_{number}.pdf", "application/pdf", b"kept before"),
    ]
    assert bench.objects.objects[key_of(XML, number)] == b"xml" * 10
    assert bench.press.rendered == ["xml"]
    assert attached.left_out == ()


async def test_no_formats_need_nothing() -> None:
    assert (await Bench().documents.of("26" * 10, ())).files == ()


async def test_what_does_not_fit_is_left_out_and_a_smaller_one_still_goes() -> None:
    bench = Bench(bytes_max=59)
    number = await bench.issued()
    await bench.objects.put(key_of(PDF, number), bytes(60), retain_until_us=now_us() + 10**9)
    attached = await bench.documents.of(number, ("pdf", "xml", "ofd"))
    assert [file.format_name for file in attached.files] == ["xml"]
    assert [name for name, _ in attached.left_out] == ["pdf", "ofd"]


async def test_a_format_that_cannot_express_the_invoice_is_left_out_others_go() -> None:
    bench = Bench()
    number = await bench.issued()
    bench.press.failure = NotRenderable("no face")
    attached = await bench.documents.of(number, ("pdf", "xml"))
    assert [file.format_name for file in attached.files] == ["xml"]
    assert [name for name, _ in attached.left_out] == ["pdf"]


async def test_what_cannot_be_had_now_is_an_error_not_a_message_without_it() -> None:
    bench = Bench()
    number = await bench.issued()
    bench.press.failure = BillowError(Reason.OVERLOADED, "busy")
    with pytest.raises(BillowError, match="busy"):
        await bench.documents.of(number, ("pdf", "xml"))
    with pytest.raises(BillowError) as caught:
        await bench.documents.of("26" * 10, ("xml",))
    assert caught.value.reason is Reason.STORAGE_UNAVAILABLE

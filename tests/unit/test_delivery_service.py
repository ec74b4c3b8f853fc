"""DeliveryService over the twins: what endpoints may be, and that an order is one delivery (P8, P11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from core.domain.destinations import Guard
from core.domain.errors import BillowError, Reason
from core.storage.delivery_port import EndpointKind
from core.storage.memory.delivery import MemoryDelivery
from server.services.auth import Caller
from server.services.delivery import DeliveryService, Targets
from server.services.sellers import SellerDirectory
from tests.contract.registry_subjects import MemoryBooks, issue, new_seller, new_tenant, now_us
from tests.support.lost_replies import LostReplies

WAIT_MS = 60_000


class Bench:
    """A tenant with a seller and one invoice."""

    caller: Caller
    number: str

    def __init__(self, *, email: bool = True, sms: bool = True, losing: Sequence[str] = ()) -> None:
        self.books = MemoryBooks()
        delivery = MemoryDelivery(tables=self.books.tables, sellers={}, now_us=now_us)
        self.store: Any = LostReplies(delivery, *losing)
        self.service = DeliveryService(
            store=self.store,
            queue=delivery,
            invoices=self.books.reader,
            sellers=SellerDirectory(store=self.books.registry, wait_max_ms=0),
            targets=Targets(guard=Guard(), allow_http=False, email=email, sms=sms),
            now_us=now_us,
            wait_max_ms=WAIT_MS,
        )

    async def fill(self) -> None:
        tenant = await new_tenant(self.books.registry)
        seller = await new_seller(self.books.registry, tenant.tenant_key)
        await self.books.add_range(seller, 10)
        (made,) = await issue(self.books, seller, ["a"])
        self.caller = Caller(tenant.tenant_key, tenant.tenant_id, frozenset({"registry"}), "00" * 8)
        self.seller_id, self.number = seller.seller_id, made.number

    async def create(self, kind: EndpointKind, target: str, formats: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Creates an endpoint and returns its formats."""
        made, _ = await self.service.create_endpoint(
            self.caller,
            seller_id=self.seller_id,
            kind=kind,
            target=target,
            every_invoice=False,
            formats=formats,
        )
        return made.formats

    async def faults(self, kind: EndpointKind, target: str, formats: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        """What is wrong with an endpoint."""
        with pytest.raises(BillowError) as caught:
            await self.create(kind, target, formats)
        assert caught.value.reason is Reason.INVALID_REQUEST
        return [(fault.field, fault.rule) for fault in caught.value.violations]


async def test_what_was_done_though_the_reply_was_lost_is_done_once() -> None:
    bench = Bench(losing=("create_endpoint", "rotate"))
    await bench.fill()
    await bench.create(EndpointKind.WEBHOOK, "https://example.com/hook")
    page = await bench.service.list_endpoints(bench.caller, seller_id=bench.seller_id, page_size=0, page_token="")
    (made,) = page.items
    rotated, _ = await bench.service.rotate_secret(bench.caller, made.endpoint_id)
    assert rotated.old_secret == made.secret != rotated.secret
    assert bench.store.all_lost()


async def test_an_email_carries_what_was_chosen_or_pdf_and_xml() -> None:
    bench = Bench()
    await bench.fill()
    assert await bench.create(EndpointKind.EMAIL, "a@example.com") == ("pdf", "xml")
    assert await bench.create(EndpointKind.EMAIL, "a@example.com", ("ofd", "pdf")) == ("ofd", "pdf")
    assert await bench.create(EndpointKind.PULL, "") == ()
    for formats, rule in (
        (("pdf", "pdf"), "FORMAT_TWICE"),
        (("docx",), "FORMAT_UNKNOWN"),
        (("ubl",), "FORMAT_UNKNOWN"),
    ):
        assert await bench.faults(EndpointKind.EMAIL, "a@example.com", formats) == [("formats", rule)]
    found = await bench.faults(EndpointKind.WEBHOOK, "http://example.com/", ("pdf",))
    assert found == [("target", "TARGET_FORM"), ("formats", "FORMATS_NOT_ALLOWED")]


@pytest.mark.parametrize(
    "number", ["", "13800000000", "+013800000000", "+86 13800000000", "+86138", "+" + "1" * 16, "+٣٤٥٦٧٨٩"]
)
async def test_telephones_are_written_as_e164(number: str) -> None:
    bench = Bench()
    await bench.fill()
    assert await bench.faults(EndpointKind.SMS, number) == [("target", "TARGET_FORM")]
    assert await bench.create(EndpointKind.SMS, "+8613800000000") == ()


async def test_kinds_that_are_off_are_refused_by_name() -> None:
    bench = Bench(email=False, sms=False)
    await bench.fill()
    assert await bench.faults(EndpointKind.EMAIL, "a@example.com") == [("kind", "EMAIL_OFF")]
    assert await bench.faults(EndpointKind.SMS, "+8613800000000") == [("kind", "SMS_OFF")]


async def test_an_invoice_ordered_twice_is_one_delivery_and_a_strangers_none() -> None:
    bench = Bench()
    await bench.fill()
    made, _ = await bench.service.create_endpoint(
        bench.caller, seller_id=bench.seller_id, kind=EndpointKind.EMAIL, target="a@example.com", every_invoice=False
    )
    first = await bench.service.deliver(bench.caller, number=bench.number, endpoint_id=made.endpoint_id)
    assert await bench.service.deliver(bench.caller, number=bench.number, endpoint_id=made.endpoint_id) == first
    stranger = await new_tenant(bench.books.registry)
    other = Caller(stranger.tenant_key, stranger.tenant_id, frozenset({"issue"}), "00" * 8)
    with pytest.raises(BillowError) as caught:
        await bench.service.deliver(other, number=bench.number, endpoint_id=made.endpoint_id)
    assert caught.value.reason is Reason.ENDPOINT_NOT_FOUND
    with pytest.raises(BillowError) as caught:
        await bench.service.deliver(bench.caller, number="26" * 10, endpoint_id=made.endpoint_id)
    assert caught.value.reason is Reason.INVOICE_NOT_FOUND

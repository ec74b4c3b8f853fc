"""Bad input gets a clear error naming field and rule, and changes nothing (P11)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from billow.issuance.v1 import issuance_pb2
from billow.registry.v1 import registry_pb2
from billow.types.v1.invoice_pb2 import LINE_TYPE_DISCOUNT, LINE_TYPE_DISCOUNTED, Invoice
from stack import Stack
from tests.support.invoices import GOODS_CODE, good_invoice, tax_id
from tests.support.platform import Tenant, new_tenant, request_of
from tests.support.wire import WireError, error_of, read_status

ISSUE = "/billow.issuance.v1.IssuanceService/IssueInvoice"
TEXTS = (
    "nul \0 inside",
    "quotes ' \" ` and '' \"\"",
    "backslash \\ and \\' \\0 \\n",
    "emoji 🧾🇨🇳 and 4-byte 𠮷",
    "right to left \u200fשלום مرحبا\u200f",
    "%s %(x)s {y} ; -- /* x */",
    "tab\tline\nend\r",
)


@pytest.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as tenant:
        await tenant.seller()
        yield tenant


async def used(tenant: Tenant) -> list[int]:
    """How many numbers of each range of the tenant's sellers are used."""
    counts = []
    for seller_id in tenant.sellers:
        request = registry_pb2.ListNumberRangesRequest(seller_id=seller_id)
        answer = await tenant.registry.ListNumberRanges(request, metadata=tenant.metadata)
        counts += [item.used for item in answer.number_ranges]
    return counts


def spoiled(change: Callable[[Invoice], object]) -> Invoice:
    invoice = good_invoice()
    change(invoice)
    return invoice


def with_discount(discount: int) -> Invoice:
    invoice = good_invoice(0)
    for kind, amount in ((LINE_TYPE_DISCOUNTED, 10_000), (LINE_TYPE_DISCOUNT, discount)):
        invoice.lines.add(type=kind, name="x", goods_code=GOODS_CODE, amount_minor=amount, tax_rate_bp=1300)
    return invoice


def bad_check_digit(invoice: Invoice) -> None:
    good = tax_id(5)
    invoice.buyer.tax_id = good[:17] + ("0" if good[17] != "0" else "1")


def tax_off_by_seven(invoice: Invoice) -> None:
    invoice.lines[0].tax_minor += 7


def int64_edge(invoice: Invoice) -> None:
    line = invoice.lines[0]
    line.ClearField("quantity")
    line.ClearField("unit_price")
    line.ClearField("tax_minor")
    line.amount_minor = 2**63 - 1


def wrong_total(invoice: Invoice) -> None:
    invoice.gross_total_minor = 1


BAD_INVOICES: list[tuple[str, Invoice, list[tuple[str, str]]]] = [
    ("check digit", spoiled(bad_check_digit), [("invoice.buyer.tax_id", "TAX_ID_CHECK_CHARACTER")]),
    ("no lines", good_invoice(0), [("invoice.lines", "LINES_COUNT")]),
    ("2,001 lines", good_invoice(2_001), [("invoice.lines", "LINES_COUNT")]),
    ("tax off by 0.07", spoiled(tax_off_by_seven), [("invoice.lines[0].tax_minor", "TAX_TOLERANCE_LINE")]),
    ("total", spoiled(wrong_total), [("invoice.gross_total_minor", "TOTAL_DISAGREES")]),
    ("discount", with_discount(-10_001), [("invoice.lines[1].amount_minor", "DISCOUNT_TOO_LARGE")]),
    ("int64 edge", spoiled(int64_edge), [("invoice.lines[0].amount_minor", "AMOUNT_RANGE")]),
]


@pytest.mark.parametrize(("name", "invoice", "violations"), BAD_INVOICES, ids=[row[0] for row in BAD_INVOICES])
async def test_a_bad_invoice(tenant: Tenant, name: str, invoice: Invoice, violations: list[tuple[str, str]]) -> None:
    error = await error_of(tenant.issue(request_of("seller-0", "r", invoice)))
    assert error == WireError("INVALID_ARGUMENT", "INVALID_INVOICE", tuple(violations))
    batch = issuance_pb2.BatchIssueInvoicesRequest(
        requests=[request_of("seller-0", "r", invoice), request_of("seller-0", "good")]
    )
    answer = await tenant.issuance.BatchIssueInvoices(batch, metadata=tenant.metadata)
    assert read_status(answer.results[0].error) == error
    assert answer.results[1].issued.number
    assert await used(tenant) == [1]


async def test_an_unknown_seller_and_another_tenants_seller_look_the_same(running_stack: Stack, tenant: Tenant) -> None:
    async with new_tenant(running_stack) as other:
        await other.seller()
        await other.seller()
        for seller_id in ("nobody", "seller-1"):
            error = await error_of(tenant.issue(request_of(seller_id, "r")))
            assert error == WireError("NOT_FOUND", "SELLER_NOT_FOUND", (), (("seller_id", seller_id),))
        assert await used(other) == [0, 0]


@pytest.mark.parametrize(
    ("request_id", "rule"),
    [("", "REQUIRED"), ("x" * 65, "REQUEST_ID_FORM"), ("ünlaut", "REQUEST_ID_FORM"), ("nul\0", "REQUEST_ID_FORM")],
)
async def test_a_bad_request_id(tenant: Tenant, request_id: str, rule: str) -> None:
    error = await error_of(tenant.issue(request_of("seller-0", request_id)))
    assert error == WireError("INVALID_ARGUMENT", "INVALID_REQUEST", (("request_id", rule),))
    assert await used(tenant) == [0]


async def test_a_request_id_reused_with_another_body(tenant: Tenant) -> None:
    first = await tenant.issue(request_of("seller-0", "r"))
    assert await tenant.issue(request_of("seller-0", "r")) == first
    error = await error_of(tenant.issue(request_of("seller-0", "r", good_invoice(2))))
    assert error == WireError("ALREADY_EXISTS", "REQUEST_ID_REUSED", (), (("request_id", "r"),))
    assert await tenant.issue(request_of("seller-0", "r")) == first
    assert await used(tenant) == [1]


async def test_no_range_and_a_used_up_range(tenant: Tenant) -> None:
    without = await tenant.seller(ranges=())
    small = await tenant.seller(ranges=(1,))
    kind = ("kind", "GENERAL")
    error = await error_of(tenant.issue(request_of(without, "r")))
    assert error == WireError("FAILED_PRECONDITION", "NO_NUMBER_RANGE", (), (kind, ("seller_id", without)))
    first = await tenant.issue(request_of(small, "r-1"))
    error = await error_of(tenant.issue(request_of(small, "r-2")))
    assert error == WireError("FAILED_PRECONDITION", "NUMBER_RANGE_EXHAUSTED", (), (kind, ("seller_id", small)))
    assert await tenant.issue(request_of(small, "r-1")) == first


@pytest.mark.parametrize(("items", "reason"), [(1_001, "BATCH_TOO_LARGE"), (0, "INVALID_REQUEST")])
async def test_the_size_of_a_batch(tenant: Tenant, items: int, reason: str) -> None:
    requests = [request_of("seller-0", f"r-{serial}") for serial in range(items)]
    error = await error_of(
        tenant.issuance.BatchIssueInvoices(
            issuance_pb2.BatchIssueInvoicesRequest(requests=requests), metadata=tenant.metadata
        )
    )
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason)

    async def messages() -> AsyncIterator[issuance_pb2.StreamIssueInvoicesRequest]:
        yield issuance_pb2.StreamIssueInvoicesRequest(sequence=1, requests=requests)
        yield issuance_pb2.StreamIssueInvoicesRequest(sequence=2, requests=[request_of("seller-0", "good")])

    stream = tenant.issuance.StreamIssueInvoices(messages(), metadata=tenant.metadata)
    refused, good = [answer async for answer in stream]
    assert (refused.sequence, read_status(refused.error).reason, len(refused.results)) == (1, reason, 0)
    assert (good.sequence, bool(good.results[0].issued.number)) == (2, True)
    assert await used(tenant) == [1]


async def test_a_message_too_large(tenant: Tenant) -> None:
    invoice = good_invoice(2_000)
    for line in invoice.lines:
        line.name = "名" * 90
    requests = [request_of("seller-0", f"r-{serial}", invoice) for serial in range(40)]
    batch = issuance_pb2.BatchIssueInvoicesRequest(requests=requests)
    assert batch.ByteSize() > 16 * 1024 * 1024
    error = await error_of(tenant.issuance.BatchIssueInvoices(batch, metadata=tenant.metadata))
    assert error.code == "RESOURCE_EXHAUSTED"
    assert await used(tenant) == [0]


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x12\x02\xff\xfe", b"\x1a\x03\x0a\x7fx"])
async def test_a_garbled_message(tenant: Tenant, garbage: bytes) -> None:
    call: Any = tenant.channel.unary_unary(ISSUE)
    assert await error_of(call(garbage, metadata=tenant.metadata)) == WireError("INVALID_ARGUMENT", "MALFORMED_MESSAGE")


async def test_no_key_a_wrong_key_and_a_missing_scope(running_stack: Stack, tenant: Tenant) -> None:
    request = request_of("seller-0", "r")
    for metadata, code, reason in (
        ((), "UNAUTHENTICATED", "API_KEY_MISSING"),
        ((("authorization", "Bearer bk_" + "x" * 43),), "UNAUTHENTICATED", "API_KEY_INVALID"),
        ((("authorization", "nonsense"),), "UNAUTHENTICATED", "API_KEY_INVALID"),
    ):
        error = await error_of(tenant.issuance.IssueInvoice(request, metadata=metadata))
        assert (error.code, error.reason) == (code, reason)
    async with new_tenant(running_stack, scopes=["read"]) as reader:
        error = await error_of(reader.issue(request))
        assert error == WireError("PERMISSION_DENIED", "SCOPE_MISSING", (), (("scope", "issue"),))
    assert await used(tenant) == [0]


@pytest.mark.parametrize("text", TEXTS)
async def test_every_text_comes_back_byte_for_byte(tenant: Tenant, text: str) -> None:
    invoice = good_invoice()
    invoice.remark, invoice.drawer = text, text[:20]
    buyer, line = invoice.buyer, invoice.lines[0]
    buyer.name = buyer.address = buyer.phone = buyer.bank_name = buyer.bank_account = text
    line.name = line.category = line.specification = text
    line.unit = text[:20]
    issued = await tenant.issue(request_of("seller-0", "r", invoice))
    answer = await tenant.issuance.GetInvoice(
        issuance_pb2.GetInvoiceRequest(number=issued.number), metadata=tenant.metadata
    )
    got = answer.invoice
    assert (got.remark, got.drawer, got.buyer) == (invoice.remark, invoice.drawer, invoice.buyer)
    for name in ("name", "category", "specification", "unit"):
        assert getattr(got.lines[0], name) == getattr(line, name)
    assert answer.issued == issued


async def test_what_the_caller_puts_into_the_servers_fields_is_ignored(tenant: Tenant) -> None:
    invoice = good_invoice()
    invoice.number, invoice.blue_number, invoice.seller.name = "1" * 20, "2" * 20, "somebody else"
    invoice.color = 2  # type: ignore[assignment]
    issued = await tenant.issue(request_of("seller-0", "r", invoice))
    assert issued.number != "1" * 20
    answer = await tenant.issuance.GetInvoice(
        issuance_pb2.GetInvoiceRequest(number=issued.number), metadata=tenant.metadata
    )
    assert answer.invoice.seller.name == "示例卖方有限公司"
    assert (answer.invoice.number, answer.invoice.blue_number, answer.invoice.color) == (issued.number, "", 0)


async def test_an_unknown_method_is_unimplemented(tenant: Tenant) -> None:
    call: Any = tenant.channel.unary_unary("/billow.issuance.v1.IssuanceService/Nothing")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"", metadata=tenant.metadata)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED

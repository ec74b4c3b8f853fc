"""Every TPC-H order becomes an invoice that obeys the rules (P11), and the same one each time (P2)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

import billow
from core.domain import rules, taxpayer_id
from core.domain.invoice import InvoiceAmounts
from core.domain.profile import CN
from demo import mapping, records, tables

SCALE = Decimal("0.001")
ORDERS = 1_500
LINES = 6_005


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tpch")
    assert tables.generate(made, scale=SCALE)
    return made


@pytest.fixture(scope="module")
def catalogue(folder: Path) -> mapping.Catalogue:
    return mapping.Catalogue(tables.nations(folder), tables.customers(folder), tables.parts(folder))


@pytest.fixture(scope="module")
def orders(folder: Path) -> list[tables.Order]:
    return list(tables.orders(folder))


@pytest.fixture(scope="module")
def requests(orders: list[tables.Order], catalogue: mapping.Catalogue) -> list[billow.IssueInvoiceRequest]:
    return [mapping.request(order, catalogue, scale=str(SCALE)) for order in orders]


def test_tables_are_read_whole(folder: Path, orders: list[tables.Order]) -> None:
    assert (len(orders), sum(len(order.lines) for order in orders)) == (ORDERS, LINES)
    assert (tables.rows(folder, "orders"), tables.rows(folder, "lineitem")) == (ORDERS, LINES)
    assert not tables.generate(folder, scale=SCALE)


def test_an_interrupted_generation_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "orders.parquet").write_bytes(b"half of it")
    assert tables.generate(tmp_path, scale=SCALE)
    assert tables.rows(tmp_path, "orders") == ORDERS


def test_every_invoice_obeys_the_rules(requests: list[billow.IssueInvoiceRequest]) -> None:
    checked = [(request.request_id, rules.check(request.invoice, CN)) for request in requests]
    assert [fault for fault in checked if not isinstance(fault[1], InvoiceAmounts)] == []


def test_net_totals_are_those_of_the_orders(
    orders: list[tables.Order], requests: list[billow.IssueInvoiceRequest]
) -> None:
    for order, request in zip(orders, requests, strict=True):
        amounts = rules.check(request.invoice, CN)
        assert isinstance(amounts, InvoiceAmounts)
        exact_hundredths = sum(line.extended_minor * (100 - line.discount_percent) for line in order.lines)
        assert abs(exact_hundredths - 100 * amounts.net_total) <= 50 * len(order.lines)


def test_both_kinds_and_every_rate_occur(requests: list[billow.IssueInvoiceRequest]) -> None:
    kinds = {request.invoice.kind: bool(request.invoice.buyer.tax_id) for request in requests}
    assert kinds == {billow.INVOICE_KIND_SPECIAL: True, billow.INVOICE_KIND_GENERAL: False}
    assert {line.tax_rate_bp for request in requests for line in request.invoice.lines} == CN.rates_bp
    assert set(mapping.RATES_BP.values()) == CN.rates_bp


def test_an_order_is_one_request_of_one_of_25_sellers(
    requests: list[billow.IssueInvoiceRequest], catalogue: mapping.Catalogue
) -> None:
    assert len({(request.seller_id, request.request_id) for request in requests}) == ORDERS
    sellers = {mapping.seller_id(nation) for nation in catalogue.nations.values()}
    assert len(sellers) == 25
    assert {request.seller_id for request in requests} <= sellers
    for key, nation in catalogue.nations.items():
        assert taxpayer_id.check(mapping.seller_party(key, nation).tax_id) is None


def test_made_up_ids_are_valid_and_distinct() -> None:
    made = [mapping.made_up_tax_id(group, key) for group in (mapping.SELLERS, mapping.BUYERS) for key in range(2_000)]
    assert len(set(made)) == len(made)
    assert {taxpayer_id.check(tax_id) for tax_id in made} == {None}


def test_goods_codes_tell_the_150_types_apart() -> None:
    codes = {mapping.goods_code(" ".join(words)) for words in itertools.product(*mapping.TYPE_WORDS)}
    assert len(codes) == 150
    assert {len(code) for code in codes} == {19}


@pytest.mark.parametrize(
    ("extended_minor", "quantity_hundredths", "price"),
    [
        (2_438_667, 1_700, "1434.51"),
        (100, 300, "0.3333333333333"),
        (200, 300, "0.6666666666667"),
        (100, 100, "1"),
        (1, 5_000, "0.0002"),
    ],
)
def test_unit_prices_have_at_most_13_decimals(extended_minor: int, quantity_hundredths: int, price: str) -> None:
    assert mapping.unit_price(extended_minor, quantity_hundredths) == price


@pytest.mark.parametrize(("percent", "discount"), [(0, 0), (1, 1), (4, 2), (10, 5)])
def test_discounts_are_rounded_half_up(percent: int, discount: int) -> None:
    assert mapping.discount_minor(tables.OrderLine(1, 100, 50, percent, 0)) == discount


def test_a_discounted_line_is_followed_by_its_discount(catalogue: mapping.Catalogue) -> None:
    invoice = billow.Invoice()
    mapping.add_lines(invoice, tables.OrderLine(1, 1_700, 1_531_700, 4, 2), catalogue.parts[1])
    item, discount = invoice.lines
    assert (item.type, discount.type) == (billow.LINE_TYPE_DISCOUNTED, billow.LINE_TYPE_DISCOUNT)
    assert (item.quantity, item.unit_price, item.amount_minor) == ("17", "901", 1_531_700)
    assert (discount.name, discount.tax_rate_bp, discount.amount_minor) == (item.name, item.tax_rate_bp, -61_268)


def write(path: Path, requests: Iterable[billow.IssueInvoiceRequest]) -> None:
    with records.writing(path) as write_one:
        for request in requests:
            write_one(request)


def test_prepared_requests_come_back_in_batches(tmp_path: Path, requests: list[billow.IssueInvoiceRequest]) -> None:
    write(tmp_path / "requests", requests)
    read = records.read(tmp_path / "requests", billow.IssueInvoiceRequest.FromString)
    batches = list(records.batches(read, 400))
    assert [len(batch) for batch in batches] == [400, 400, 400, 300]
    assert [request for batch in batches for request in batch] == requests


def test_the_same_tables_make_the_same_bytes(
    tmp_path: Path, folder: Path, catalogue: mapping.Catalogue, requests: list[billow.IssueInvoiceRequest]
) -> None:
    write(tmp_path / "first", requests)
    write(tmp_path / "second", (mapping.request(order, catalogue, scale=str(SCALE)) for order in tables.orders(folder)))
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_an_interrupted_writing_leaves_no_file(tmp_path: Path, requests: list[billow.IssueInvoiceRequest]) -> None:
    def interrupted() -> Iterator[billow.IssueInvoiceRequest]:
        yield requests[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "requests", interrupted())
    assert not (tmp_path / "requests").exists()

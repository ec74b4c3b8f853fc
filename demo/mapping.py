"""How a TPC-H order becomes an invoice. The rules and their reasons are in docs/tpch.md; nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import billow
from core.domain.taxpayer_id import check_character
from demo.tables import Customer, Order, OrderLine, Part

VERSION: Final = 1  # grows when the same order makes another request: prepared requests are then made anew
PERSONS: Final = "HOUSEHOLD"  # customers of this market segment are persons, the rest are companies
UNUSED_REGION: Final = "000000"  # no authority has it, so no made-up id can be a real one
SELLERS: Final = "1"
BUYERS: Final = "2"

# l_tax in percent → lawful rate in basis points; 4 % and 7 % and 8 % are none, so they take the next one up
RATES_BP: Final[Mapping[int, int]] = {0: 0, 1: 100, 2: 150, 3: 300, 4: 500, 5: 500, 6: 600, 7: 900, 8: 1300}

# the words of p_type ("PROMO BURNISHED COPPER") in the order of the TPC-H specification, 4.2.2.13
TYPE_WORDS: Final = (
    ("STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"),
    ("ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"),
    ("TIN", "NICKEL", "BRASS", "STEEL", "COPPER"),
)
GOODS_CHAPTER: Final = "109"
GOODS_CODE_DIGITS: Final = 19


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What an order refers to."""

    nations: Mapping[int, str]
    customers: Mapping[int, Customer]
    parts: Mapping[int, Part]


def made_up_tax_id(group: str, key: int) -> str:
    """Returns an 18-character taxpayer id with a right check character that belongs to nobody."""
    first = f"91{UNUSED_REGION}{group}{key:08d}"
    return first + check_character(first)


def seller_id(nation: str) -> str:
    """Returns the id of the seller for a nation's customers: "tpch-united-states"."""
    return "tpch-" + nation.lower().replace(" ", "-")


def seller_party(nation_key: int, nation: str) -> billow.Party:
    """Returns what stands on the invoices of the seller for a nation's customers."""
    return billow.Party(
        name=f"演示贸易有限公司（{nation}）",
        tax_id=made_up_tax_id(SELLERS, nation_key),
        address=f"演示路 {nation_key + 1} 号",
        phone=f"000-{nation_key:08d}",
        bank_name="演示银行",
        bank_account=f"0000{nation_key:012d}",
    )


def buyer_party(customer: Customer) -> billow.Party:
    """Returns the buyer: a company with a taxpayer id, or a person without one."""
    tax_id = "" if customer.segment == PERSONS else made_up_tax_id(BUYERS, customer.key)
    return billow.Party(name=customer.name, tax_id=tax_id, address=customer.address, phone=customer.phone)


@cache
def goods_code(part_type: str) -> str:
    """Returns the 19 digits for one of the 150 types of parts."""
    words = zip(TYPE_WORDS, part_type.split(" "), strict=True)
    digits = "".join(f"{choices.index(word) + 1:02d}" for choices, word in words)
    return (GOODS_CHAPTER + digits).ljust(GOODS_CODE_DIGITS, "0")


def decimal_text(value: int, decimals: int) -> str:
    """Writes value / 10**decimals without needless zeros: (1250, 2) is "12.5"; value is not negative."""
    whole, fraction = divmod(value, 10**decimals)
    digits = f"{fraction:0{decimals}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def unit_price(extended_minor: int, quantity_hundredths: int) -> str:
    """Returns price over quantity, rounded half up to the 13 decimals an invoice may have."""
    # minor / 100 ÷ (hundredths / 100) = minor / hundredths
    scaled = (2 * extended_minor * 10**13 + quantity_hundredths) // (2 * quantity_hundredths)
    return decimal_text(scaled, 13)


def discount_minor(line: OrderLine) -> int:
    """Returns the discount of a line, rounded half up, minor units."""
    return (2 * line.extended_minor * line.discount_percent + 100) // 200


def add_lines(invoice: billow.Invoice, line: OrderLine, part: Part) -> None:
    """Adds a line for a line of the order, and a discount line after it where there is a discount."""
    rate_bp = RATES_BP[line.tax_percent]
    reason = billow.ZERO_RATE_REASON_UNSPECIFIED if rate_bp else billow.ZERO_RATE_REASON_PLAIN
    discount = discount_minor(line)
    category = part.type.rpartition(" ")[2]
    code = goods_code(part.type)
    invoice.lines.add(
        type=billow.LINE_TYPE_DISCOUNTED if discount else billow.LINE_TYPE_NORMAL,
        name=part.name,
        category=category,
        goods_code=code,
        specification=f"{part.brand} {part.size}",
        unit=part.container,
        quantity=decimal_text(line.quantity_hundredths, 2),
        unit_price=unit_price(line.extended_minor, line.quantity_hundredths),
        amount_minor=line.extended_minor,
        tax_rate_bp=rate_bp,
        zero_rate_reason=reason,
    )
    if discount:
        invoice.lines.add(
            type=billow.LINE_TYPE_DISCOUNT,
            name=part.name,
            category=category,
            goods_code=code,
            amount_minor=-discount,
            tax_rate_bp=rate_bp,
            zero_rate_reason=reason,
        )


def request(order: Order, catalogue: Catalogue, *, scale: str) -> billow.IssueInvoiceRequest:
    """Returns the request that issues an order's invoice; the same order at the same scale makes the same request."""
    customer = catalogue.customers[order.customer_key]
    buyer = buyer_party(customer)
    made = billow.IssueInvoiceRequest(
        seller_id=seller_id(catalogue.nations[customer.nation_key]),
        request_id=f"tpch-{scale}-{order.key}",
        invoice=billow.Invoice(
            kind=billow.INVOICE_KIND_SPECIAL if buyer.tax_id else billow.INVOICE_KIND_GENERAL,
            buyer=buyer,
            remark=f"TPC-H order {order.key} of {order.date}",
            drawer=order.clerk,
        ),
    )
    for line in order.lines:
        add_lines(made.invoice, line, catalogue.parts[line.part_key])
    return made

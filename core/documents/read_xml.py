"""Reading XML of the `cn` profile back into values: Billow's own and, as far as they go, other people's.

What a program reads must be what people see: an attribute of Billow's namespace that does not agree with the element
it stands on makes the document inconsistent, and it is refused.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from lxml import etree

from core import limits
from core.documents import hostile_xml
from core.documents.read_invoice import ReadInvoice, ReadLine, ReadMoment, Refusal, Unreadable
from core.documents.xml_cn import (
    KIND_LABELS,
    PARTY_TAGS,
    RATE_NAMES,
    item_name,
    local_time,
    net_price,
    split_item_name,
    usual_reason,
)
from core.documents.xml_text import EXTENSION, shown, unescaped
from core.domain.capital import read_capital
from core.domain.kinds import InvoiceColor
from core.domain.parties import Party
from core.domain.profile import CN

_AMOUNT: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,2})?", re.ASCII)
_RATE: Final = re.compile(r"([0-9])(?:\.([0-9]{1,4})0{0,8})?", re.ASCII)
_PERCENT: Final = re.compile(r"([0-9]{1,2})(?:\.([0-9]{1,2}))?%", re.ASCII)
_EXACT_TIME: Final = re.compile(r"([0-9]{1,11})\.([0-9]{9})", re.ASCII)
_KIND_CODES: Final = {code: kind for kind, (code, _) in KIND_LABELS.items()}
_ZONE: Final = dt.timezone(dt.timedelta(seconds=CN.utc_offset_s))


def read_cn_xml(data: bytes) -> ReadInvoice:
    """Reads an invoice. Raises Unreadable; about 600 µs for three lines, see hostile_xml.parse for the largest."""
    return read_cn_tree(hostile_xml.parse(data))


def read_cn_tree(root: etree._Element) -> ReadInvoice:
    """Reads an invoice out of a parsed document. Raises Unreadable."""
    if root.tag != "EInvoice":
        raise Unreadable(Refusal.NOT_AN_INVOICE, "the XML is no EInvoice")
    data = _one(root, "EInvoiceData")
    basic = _one(data, "BasicInformation")
    supervision = _one(root, "TaxSupervisionInfo")
    with_tax = _extension(basic, "pricesIncludeTax") == "true"
    items = data.findall("IssuItemInformation")
    if not 0 < len(items) <= limits.LINES_MAX:
        raise Unreadable(Refusal.NOT_AN_INVOICE, f"the invoice has no lines or more than {limits.LINES_MAX}")
    code = root.findtext("Header/InherentLabel/GeneralOrSpecialVAT/LabelCode") or ""
    if code not in _KIND_CODES:
        raise Unreadable(Refusal.NOT_AN_INVOICE, "the kind of the invoice is not known")
    red = data.find("SpecificInformation/RedEInvoice")
    number = _text(supervision, "InvoiceNumber")
    if number != root.findtext("Header/EIid", number):
        raise Unreadable(Refusal.INCONSISTENT, "the document has two numbers")
    additional = data.find("AdditionalInformation")
    gross, words = _amount(basic, "TotalTax-includedAmount"), _text(basic, "TotalTax-includedAmountInChinese")
    if words and (len(words) > limits.CAPITAL_CHARS_MAX or read_capital(words) != gross):
        raise Unreadable(Refusal.INCONSISTENT, "the total in words is not the one in figures")
    return ReadInvoice(
        number=number,
        kind=int(_KIND_CODES[code]),
        color=int(InvoiceColor.BLUE if red is None else InvoiceColor.RED),
        blue_number="" if red is None else _text(red, "OriginalInvoiceNumber"),
        issue_time=_time(_one(supervision, "IssueTime")),
        seller=_party(data, "Seller"),
        buyer=_party(data, "Buyer"),
        lines=tuple(_line(item, with_tax) for item in items),
        prices_include_tax=with_tax,
        remark="" if additional is None else _text(additional, "Remark"),
        drawer=_text(basic, "Drawer"),
        currency=_extension(basic, "currency") or CN.currency,
        net_total_minor=_amount(basic, "TotalAmWithoutTax"),
        tax_total_minor=_amount(basic, "TotalTaxAm"),
        gross_total_minor=gross,
    )


def _party(data: etree._Element, side: str) -> Party:
    node = _one(data, f"{side}Information")
    return Party(**{name: _text(node, side + tag) for tag, name in PARTY_TAGS})


def _line(item: etree._Element, with_tax: bool) -> ReadLine:
    fields = {str(child.tag): child for child in item}
    if len(fields) != len(item):
        raise Unreadable(Refusal.INCONSISTENT, "an element of a line stands there twice")
    name = _value(fields.get("ItemName"))
    category = _extension(fields.get("ItemName"), "category")
    plain = name
    if category is None:
        category, plain = split_item_name(name)
    elif category:
        plain = name.removeprefix(f"*{category}*")
    if item_name(category, plain) != name:
        raise Unreadable(Refusal.INCONSISTENT, "a line's category is not the one shown")
    rate, reason = _rate(fields.get("TaxRate"))
    net, gross = _minor(fields.get("Amount")), _minor(fields.get("TotaltaxIncludedAmount"))
    return ReadLine(
        type=_digit(item, "type") or 0,
        name=plain,
        category=category,
        goods_code=_value(fields.get("TaxClassificationCode")),
        specification=_value(fields.get("SpecMod")),
        unit=_value(fields.get("MeaUnits")),
        quantity=_value(fields.get("Quantity")),
        unit_price=_price(fields.get("UnPrice"), rate),
        amount_minor=gross if with_tax else net,
        tax_rate_bp=rate,
        zero_rate_reason=reason,
        tax_minor=_minor(fields.get("ComTaxAm")),
        net_minor=net,
        gross_minor=gross,
    )


def _price(node: etree._Element | None, rate_bp: int) -> str:
    price = _value(node)
    given = _extension(node, "unitPrice")
    if given is None:
        return price
    if net_price(given, rate_bp) != price:
        raise Unreadable(Refusal.INCONSISTENT, "a line's price with tax does not agree with the one without")
    return given


def _rate(node: etree._Element | None) -> tuple[int, int]:
    """Rate and reason of no tax; 0.13 and 13% are the same."""
    text = _value(node)
    reason = None if node is None else _digit(node, "zeroRateReason")
    if reason is None:
        reason = usual_reason("0" if text in {"0%", "0.00"} else text)
    if text in RATE_NAMES.values():
        if reason != usual_reason(text):
            raise Unreadable(Refusal.INCONSISTENT, "a line's reason for no tax is not the one shown")
        return 0, reason
    if percent := _PERCENT.fullmatch(text):
        return int(percent[1]) * 100 + int((percent[2] or "").ljust(2, "0")), reason
    if rate := _RATE.fullmatch(text):
        return int(rate[1]) * 10_000 + int((rate[2] or "").ljust(4, "0")), reason
    raise Unreadable(Refusal.MALFORMED, "a line's tax rate is none")


def _time(node: etree._Element) -> ReadMoment:
    text = _value(node).strip().replace("T", " ").replace("/", "-")
    exact = _extension(node, "time")
    if exact is not None:
        found = _EXACT_TIME.fullmatch(exact)
        moment = ReadMoment(int(found[1]), int(found[2])) if found else ReadMoment(0)
        if found is None or moment.seconds > limits.READ_SECONDS_MAX or local_time(moment) != text:
            raise Unreadable(Refusal.INCONSISTENT, "the exact time is not the one shown")
        return moment
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d"):
        try:
            return ReadMoment(int(dt.datetime.strptime(text, form).replace(tzinfo=_ZONE).timestamp()))
        except ValueError:
            continue
    raise Unreadable(Refusal.MALFORMED, "the time of issue is no time")


def _one(parent: etree._Element, tag: str) -> etree._Element:
    """The only child of that name: a second one could show people what programs do not read."""
    found = parent.findall(tag)
    if len(found) != 1:
        refusal = Refusal.INCONSISTENT if found else Refusal.NOT_AN_INVOICE
        raise Unreadable(refusal, f"the XML has {len(found)} times {tag}")
    return found[0]


def _text(parent: etree._Element, tag: str) -> str:
    found = parent.findall(tag)
    if len(found) > 1:
        raise Unreadable(Refusal.INCONSISTENT, f"the XML has {tag} twice")
    return _value(found[0]) if found else ""


def _value(node: etree._Element | None) -> str:
    """The text of an element, with the characters that XML cannot hold."""
    if node is None:
        return ""
    if len(node):
        raise Unreadable(Refusal.MALFORMED, "the XML has elements where text belongs")
    text = str(node.text or "")
    exact = _extension(node, "exact")
    if exact is None:
        return text
    if shown(exact) != text:
        raise Unreadable(Refusal.INCONSISTENT, "an exact text is not the one shown")
    return exact


def _extension(node: etree._Element | None, name: str) -> str | None:
    value = None if node is None else node.get(f"{{{EXTENSION}}}{name}")
    if value is None:
        return None
    plain = unescaped(str(value))
    if plain is None:
        raise Unreadable(Refusal.MALFORMED, "an attribute of the extension is not escaped as it should be")
    return plain


def _digit(node: etree._Element, name: str) -> int | None:
    value = _extension(node, name)
    if value is None:
        return None
    if len(value) != 1 or value not in "0123456789":
        raise Unreadable(Refusal.MALFORMED, "an attribute of the extension is no digit")
    return int(value)


def _amount(parent: etree._Element, tag: str) -> int:
    return _minor(_one(parent, tag))


def _minor(node: etree._Element | None) -> int:
    text = _value(node).strip()
    if not _AMOUNT.fullmatch(text):
        raise Unreadable(Refusal.MALFORMED, "an amount is none")
    whole, _, cents = text.partition(".")
    sign = -1 if whole.startswith("-") else 1
    return sign * (abs(int(whole)) * 100 + int(cents.ljust(2, "0")))

"""XML of the `cn` profile: the EInvoice structure of fully digitalised invoices (DOMAIN.md, "XML").

The bytes are canonical XML (C14N 1.0 without comments, UTF-8, no declaration), so that a signature digests them as
they lie. What the law's format has no place for stands in attributes of Billow's namespace, which other programs pass
over: the price basis, the kind of a line, the exact time. docs/adr/0016 has the measurements.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from core.documents.formats import XML
from core.documents.renderer import DocumentFormat
from core.documents.signing import sign_xml
from core.documents.signing_keys import Keys
from core.documents.xml_text import EXTENSION, attribute, element
from core.domain import decimals
from core.domain.capital import capital
from core.domain.decimals import minor_text
from core.domain.invoice import PartyInput
from core.domain.issued_invoice import IssuedInvoiceView, IssuedLine, Moment
from core.domain.kinds import InvoiceColor, InvoiceKind, ZeroRateReason
from core.domain.profile import CN
from core.limits import DECIMAL_CHARS_MAX, DECIMALS_MAX

KIND_LABELS: Final = {InvoiceKind.SPECIAL: ("01", "增值税专用发票"), InvoiceKind.GENERAL: ("02", "普通发票")}
RATE_NAMES: Final = {ZeroRateReason.EXEMPT: "免税", ZeroRateReason.NOT_TAXABLE: "不征税"}
PARTY_TAGS: Final = (
    ("IdNum", "tax_id"),
    ("Name", "name"),
    ("Addr", "address"),
    ("TelNum", "phone"),
    ("BankName", "bank_name"),
    ("BankAccNum", "bank_account"),
)

SIGNATURE_PLACE: Final = "TaxBureauSignature"  # the format has no other place; Billow's is the platform's signature

_ZONE: Final = dt.timezone(dt.timedelta(seconds=CN.utc_offset_s))


class CnXmlRenderer:
    """Writes XML of the `cn` profile, signed when there is a key; 170 µs for three lines, 4 ms signed."""

    def __init__(self, *, keys: Keys | None = None) -> None:
        self._keys = keys

    @property
    def format(self) -> DocumentFormat:
        """XML."""
        return XML

    def render(self, invoice: IssuedInvoiceView) -> bytes:
        """Returns the canonical bytes."""
        document = cn_xml(invoice)
        key = self._keys.of(invoice.seller.tax_id) if self._keys else None
        if key is None:
            return document
        return sign_xml(document, key=key, place=SIGNATURE_PLACE, signed_at_s=invoice.issue_time.seconds)


def cn_xml(invoice: IssuedInvoiceView) -> bytes:
    """Writes an issued invoice; `core.documents.read_xml.read_cn_xml` reads every value of it back."""
    number = element("InvoiceNumber", invoice.number)
    parts = (
        f'<EInvoice xmlns:b="{EXTENSION}">',
        _header(invoice),
        "<EInvoiceData>",
        _party("Seller", invoice.seller),
        _party("Buyer", invoice.buyer),
        _basic(invoice),
        *[_item(line, invoice.prices_include_tax) for line in invoice.lines],
        "<SpecificInformation>",
        _red(invoice) if invoice.color == InvoiceColor.RED else "",
        "</SpecificInformation><AdditionalInformation>",
        element("Remark", invoice.remark),
        "</AdditionalInformation></EInvoiceData>",
        "<SellerAuthentication></SellerAuthentication><TaxSupervisionInfo>",
        number,
        element("IssueTime", local_time(invoice.issue_time), attribute("time", exact_time(invoice.issue_time))),
        element("TaxBureauCode", invoice.number[2:4]),
        "<TaxBureauName></TaxBureauName></TaxSupervisionInfo>",
        f"<{SIGNATURE_PLACE}></{SIGNATURE_PLACE}></EInvoice>",
    )
    return "".join(parts).encode()


def local_time(moment: Moment) -> str:
    """The time as the profile's law writes it: local, to the second."""
    return dt.datetime.fromtimestamp(moment.seconds, _ZONE).strftime("%Y-%m-%d %H:%M:%S")


def exact_time(moment: Moment) -> str:
    """Seconds since the epoch with nine decimals."""
    return f"{moment.seconds}.{moment.nanos:09d}"


def rate_text(rate_bp: int, zero_rate_reason: int) -> str:
    """The rate as the format writes it: 1300 is 0.13, 150 is 0.015; exempt and not taxable are words."""
    if rate_bp == 0 and zero_rate_reason in (ZeroRateReason.EXEMPT, ZeroRateReason.NOT_TAXABLE):
        return RATE_NAMES[ZeroRateReason(zero_rate_reason)]
    whole, parts = divmod(rate_bp, 10_000)
    return f"{whole}.{parts:04d}".rstrip("0").rstrip(".")


def item_name(category: str, name: str) -> str:
    """The name as invoices print it: *category*name."""
    return f"*{category}*{name}" if category else name


def split_item_name(text: str) -> tuple[str, str]:
    """Reads category and name out of a printed name."""
    if text.startswith("*"):
        category, star, name = text[1:].partition("*")
        if star and category:
            return category, name
    return "", text


def net_price(unit_price: str, rate_bp: int) -> str:
    """A price without tax from one with tax, to 13 decimals; a text that is no decimal stays as it is."""
    price = decimals.parse(unit_price) if len(unit_price) <= DECIMAL_CHARS_MAX else None
    if price is None:
        return unit_price
    value, places = price
    scaled = decimals.divided(value * 10 ** (DECIMALS_MAX - places) * 10_000, 10_000 + rate_bp)
    whole, fraction = divmod(abs(scaled), 10**DECIMALS_MAX)
    return ("-" if scaled < 0 else "") + f"{whole}.{fraction:0{DECIMALS_MAX}d}".rstrip("0").rstrip(".")


def usual_reason(rate: str) -> int:
    """The reason for no tax as the written rate tells it."""
    reasons = {name: int(reason) for reason, name in RATE_NAMES.items()}
    return reasons.get(rate, int(ZeroRateReason.PLAIN) if rate == "0" else int(ZeroRateReason.NONE))


def _header(invoice: IssuedInvoiceView) -> str:
    code, name = KIND_LABELS[InvoiceKind(invoice.kind)]
    issue = ("Y", "红字") if invoice.color == InvoiceColor.RED else ("N", "蓝字")
    return (
        f"<Header>{element('EIid', invoice.number)}<EInvoiceTag>SWEI3200</EInvoiceTag><Version>1.0</Version>"
        f"<InherentLabel><InIssuType><LabelCode>{issue[0]}</LabelCode><LabelName>{issue[1]}</LabelName></InIssuType>"
        "<EInvoiceType><LabelCode>01</LabelCode><LabelName>全面数字化的电子发票</LabelName></EInvoiceType>"
        f"<GeneralOrSpecialVAT><LabelCode>{code}</LabelCode><LabelName>{name}</LabelName></GeneralOrSpecialVAT>"
        "</InherentLabel></Header>"
    )


def _party(side: str, party: PartyInput) -> str:
    fields = [element(side + tag, getattr(party, name)) for tag, name in PARTY_TAGS]
    return f"<{side}Information>{''.join(fields)}</{side}Information>"


def _basic(invoice: IssuedInvoiceView) -> str:
    basis = ' b:pricesIncludeTax="true"' if invoice.prices_include_tax else ""
    return "".join((
        "<BasicInformation", attribute("currency", invoice.currency), basis, ">",
        element("TotalAmWithoutTax", minor_text(invoice.net_total_minor)),
        element("TotalTaxAm", minor_text(invoice.tax_total_minor)),
        element("TotalTax-includedAmount", minor_text(invoice.gross_total_minor)),
        element("TotalTax-includedAmountInChinese", capital(invoice.gross_total_minor)),
        element("Drawer", invoice.drawer),
        element("RequestTime", local_time(invoice.issue_time)),
        "</BasicInformation>",
    ))  # fmt: skip


def _item(line: IssuedLine, with_tax: bool) -> str:
    name = item_name(line.category, line.name)
    named = "" if split_item_name(name) == (line.category, line.name) else attribute("category", line.category)
    rate = rate_text(line.tax_rate_bp, line.zero_rate_reason)
    kind = f' b:type="{int(line.type)}"' if line.type else ""
    reason = "" if usual_reason(rate) == line.zero_rate_reason else f' b:zeroRateReason="{int(line.zero_rate_reason)}"'
    price, given = line.unit_price, ""
    if with_tax and price:
        price, given = net_price(price, line.tax_rate_bp), attribute("unitPrice", price)
    return "".join((
        f"<IssuItemInformation{kind}>",
        element("ItemName", name, named),
        element("SpecMod", line.specification),
        element("MeaUnits", line.unit),
        element("Quantity", line.quantity),
        element("UnPrice", price, given),
        element("Amount", minor_text(line.net_minor)),
        element("TaxRate", rate, reason),
        element("ComTaxAm", minor_text(line.tax_minor)),
        element("TotaltaxIncludedAmount", minor_text(line.gross_minor)),
        element("TaxClassificationCode", line.goods_code),
        "</IssuItemInformation>",
    ))  # fmt: skip


def _red(invoice: IssuedInvoiceView) -> str:
    return f"<RedEInvoice>{element('OriginalInvoiceNumber', invoice.blue_number)}</RedEInvoice>"

"""What a reader found in a document: plain values, of the form of an issued invoice."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from core.domain.kinds import InvoiceColor
from core.domain.parties import Party


class Refusal(enum.StrEnum):
    """Why a document was not read."""

    TOO_LARGE = "too_large"  # more bytes, parts, tags or nesting than any invoice has
    FORBIDDEN = "forbidden"  # it holds what only attacks hold: a DTD, entities, a path out of its package
    MALFORMED = "malformed"  # it is not of the format
    NOT_AN_INVOICE = "not_an_invoice"  # of the format, but without an invoice in it
    INCONSISTENT = "inconsistent"  # what a program reads differs from what people see
    NO_INVOICE_DATA = "no_invoice_data"  # of the format, for people only: nothing in it for programs
    ENCRYPTED = "encrypted"  # a password is needed to open it
    TOO_COSTLY = "too_costly"  # reading it took more time or memory than any invoice does


class Unreadable(Exception):
    """A document was refused. The text is in words for the caller and quotes nothing of the document."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.message = message


@dataclass(frozen=True, slots=True)
class ReadMoment:
    """A time; nanos below the second."""

    seconds: int
    nanos: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLine:
    """A line; the fields are those of billow.types.v1.InvoiceLine, all amounts present."""

    type: int = 0
    name: str
    category: str = ""
    goods_code: str = ""
    specification: str = ""
    unit: str = ""
    quantity: str = ""
    unit_price: str = ""
    amount_minor: int
    tax_rate_bp: int = 0
    zero_rate_reason: int = 0
    tax_minor: int
    net_minor: int
    gross_minor: int

    def HasField(self, name: Any, /) -> bool:  # noqa: N802 (protobuf's name)
        """Every amount is there."""
        return hasattr(self, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadInvoice:
    """An invoice; the fields are those of billow.types.v1.Invoice as issued. Nothing in it has been verified."""

    number: str
    kind: int
    color: int = int(InvoiceColor.BLUE)
    blue_number: str = ""
    issue_time: ReadMoment
    seller: Party
    buyer: Party
    lines: tuple[ReadLine, ...] = field(repr=False)
    prices_include_tax: bool = False
    remark: str = ""
    drawer: str = ""
    currency: str
    net_total_minor: int
    tax_total_minor: int
    gross_total_minor: int

    def HasField(self, name: Any, /) -> bool:  # noqa: N802 (protobuf's name)
        """Every amount is there."""
        return hasattr(self, name)

"""The enumerations of an invoice; the values are those of billow.types.v1 (a test keeps them in step)."""

from __future__ import annotations

import enum


class InvoiceKind(enum.IntEnum):
    """The legal kind."""

    SPECIAL = 1
    GENERAL = 2


class InvoiceColor(enum.IntEnum):
    """Blue states a sale, red corrects one."""

    BLUE = 1
    RED = 2


class InvoiceState(enum.IntEnum):
    """What has become of an issued invoice."""

    NORMAL = 1
    PARTLY_RED = 2
    FULLY_RED = 3


class LineType(enum.IntEnum):
    """The part a line plays; UNSPECIFIED is the same as NORMAL."""

    UNSPECIFIED = 0
    NORMAL = 1
    DISCOUNTED = 2
    DISCOUNT = 3


class ZeroRateReason(enum.IntEnum):
    """Why a line bears no tax; NONE where it does."""

    NONE = 0
    EXPORT = 1
    EXEMPT = 2
    NOT_TAXABLE = 3
    PLAIN = 4


def state_of(gross_total_minor: int, red_total_minor: int) -> InvoiceState:
    """Tells the state of an invoice from its total and the (zero or negative) sum of its red invoices."""
    if not red_total_minor:
        return InvoiceState.NORMAL
    return InvoiceState.FULLY_RED if gross_total_minor + red_total_minor <= 0 else InvoiceState.PARTLY_RED

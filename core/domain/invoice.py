# ruff: noqa: D102 -- the attributes are those of billow.types.v1 and are documented there
"""What the domain needs to see of an invoice, whatever holds it.

The protobuf messages of billow.types.v1 have these attributes, so the rules read them without a conversion; tests
use plain objects. `HasField` tells an absent optional number from zero, as protobuf messages do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Item_co = TypeVar("Item_co", covariant=True)


class Items(Protocol[Item_co]):
    """A sequence as far as the rules need one."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Item_co]: ...


class PartyInput(Protocol):
    """A party as the caller gave it."""

    @property
    def name(self) -> str: ...
    @property
    def tax_id(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def phone(self) -> str: ...
    @property
    def bank_name(self) -> str: ...
    @property
    def bank_account(self) -> str: ...


class LineInput(Protocol):
    """A line as the caller gave it."""

    @property
    def type(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def goods_code(self) -> str: ...
    @property
    def specification(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def quantity(self) -> str: ...
    @property
    def unit_price(self) -> str: ...
    @property
    def amount_minor(self) -> int: ...
    @property
    def tax_rate_bp(self) -> int: ...
    @property
    def zero_rate_reason(self) -> int: ...
    @property
    def tax_minor(self) -> int: ...

    def HasField(self, name: Any, /) -> bool: ...  # noqa: N802 (protobuf's name)


class InvoiceInput(Protocol):
    """An invoice as the caller gave it."""

    @property
    def kind(self) -> int: ...
    @property
    def buyer(self) -> PartyInput: ...
    @property
    def lines(self) -> Items[LineInput]: ...
    @property
    def prices_include_tax(self) -> bool: ...
    @property
    def remark(self) -> str: ...
    @property
    def drawer(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def net_total_minor(self) -> int: ...
    @property
    def tax_total_minor(self) -> int: ...
    @property
    def gross_total_minor(self) -> int: ...

    def HasField(self, name: Any, /) -> bool: ...  # noqa: N802 (protobuf's name)


@dataclass(slots=True)
class LineAmounts:
    """The amounts of one line, minor units. `amount` is in the invoice's price basis."""

    amount: int
    tax: int
    net: int


@dataclass(slots=True)
class InvoiceAmounts:
    """The amounts of an invoice, minor units."""

    lines: list[LineAmounts]
    net_total: int
    tax_total: int

    @property
    def gross_total(self) -> int:
        """The total with tax."""
        return self.net_total + self.tax_total

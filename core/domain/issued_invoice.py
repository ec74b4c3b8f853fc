# ruff: noqa: D102 -- the attributes are those of billow.types.v1 and are documented there
"""What renderers need to see of an issued invoice: the caller's part and the server's."""

from __future__ import annotations

from typing import Protocol

from core.domain.invoice import InvoiceInput, Items, LineInput, PartyInput


class Moment(Protocol):
    """A time as google.protobuf.Timestamp holds it."""

    @property
    def seconds(self) -> int: ...
    @property
    def nanos(self) -> int: ...


class IssuedLine(LineInput, Protocol):
    """A line with all amounts."""

    @property
    def net_minor(self) -> int: ...
    @property
    def gross_minor(self) -> int: ...


class IssuedInvoiceView(InvoiceInput, Protocol):
    """An invoice as issued: every amount is there, and number, time and seller."""

    @property
    def lines(self) -> Items[IssuedLine]: ...
    @property
    def color(self) -> int: ...
    @property
    def blue_number(self) -> str: ...
    @property
    def seller(self) -> PartyInput: ...
    @property
    def issue_time(self) -> Moment: ...
    @property
    def number(self) -> str: ...

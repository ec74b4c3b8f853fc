"""The ports of red-lettering: issuing reds against what is left of their blues, and confirmation forms.

Nothing here is on the path of blue invoices. Unless said otherwise a method raises BillowError(STORAGE_UNAVAILABLE)
when its store is away. The twins are in core/storage/memory/red_letter.py.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.domain.errors import BillowError, Reason
from core.domain.red_letter import RedPart, Sums
from core.storage.ports import Answer, Draft


class FormState(enum.IntEnum):
    """Where a confirmation form stands: the law's 01 to 09, and billow.redletter.v1.ConfirmationState."""

    NOT_NEEDED = 1
    WAITING_FOR_BUYER = 2
    WAITING_FOR_SELLER = 3
    CONFIRMED = 4
    REFUSED_BY_BUYER = 5
    REFUSED_BY_SELLER = 6
    EXPIRED = 7
    WITHDRAWN = 8
    WITHDRAWN_AFTER_CONFIRMATION = 9


USABLE = frozenset({FormState.NOT_NEEDED, FormState.CONFIRMED})  # DOMAIN.md: only 01 and 04 allow the red
WAITING = frozenset({FormState.WAITING_FOR_BUYER, FormState.WAITING_FOR_SELLER})


@dataclass(frozen=True, slots=True)
class Form:
    """A confirmation form. `selection` is the serialised billow.redletter.v1.RedSelection it is about."""

    confirmation_id: str
    tenant_key: int  # who made it
    request_id: str
    request_sha256: bytes
    seller_key: int
    seller_tax_id: str
    buyer_tax_id: str
    blue_number: str
    selection: bytes
    gross_total_minor: int
    made_by_buyer: bool
    state: int
    red_number: str
    created_at_us: int
    expires_at_us: int


@dataclass(frozen=True, slots=True)
class RedShape:
    """A red invoice as decided: what it takes, and its draft."""

    parts: Sequence[RedPart]
    draft: Draft


@dataclass(frozen=True, slots=True)
class RedDraft:
    """A validated wish for a red invoice. `shape` is called while the blue one is locked, with what was taken so far.

    It is quick, changes nothing and raises BillowError when the wish exceeds what is left. `bytes_max` bounds the body.
    """

    seller_key: int
    kind: int
    request_id: str
    request_sha256: bytes
    blue_number: str
    confirmation_id: str
    selection: bytes
    bytes_max: int
    shape: Callable[[Sums], RedShape]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFilter:
    """Which forms to list; `seller_key` or `buyer_tax_id` or both are set. A state of 0 is any."""

    seller_key: int | None
    buyer_tax_id: str | None
    state: int
    after: tuple[int, str] | None  # (created_at_us, confirmation_id) of the last one of the page before
    items_max: int


class RedStore(Protocol):
    """Issues red invoices; the primary's."""

    async def commit(self, drafts: Sequence[RedDraft]) -> list[Answer]:
        """Issues the drafts in one durable transaction and answers each, in order (P1 to P4).

        A known request id is answered as in IssuingStore. While the blue invoices are locked, in the order of their
        numbers, the reds of each are added up: what exceeds the remainder gets RED_EXCEEDS_REMAINDER or
        ALREADY_FULLY_RED, what needs a form CONFIRMATION_REQUIRED, what has a wrong one CONFIRMATION_NOT_USABLE. At
        most RED_COMMIT_ITEMS_MAX drafts. Must not be cancelled. 6 to 9 round trips.
        """
        ...

    async def taken(self, blue_number: str) -> Sums:
        """Reads what the reds of an invoice took so far, by line; 1 round trip."""
        ...

    async def booked(self, blue_number: str) -> bool:
        """Tells whether the buyer has booked the invoice; at most 1 round trip."""
        ...

    async def time_us(self) -> int:
        """The store's own clock, by which it notes changes, µs since the epoch; 1 round trip."""
        ...

    async def changed(self, *, since_us: int, after: str, items_max: int) -> list[str]:
        """Lists the blue numbers of the balances changed since, by number; 1 round trip.

        `since_us` is by the store's clock: those of the servers that change them may differ.
        """
        ...


class FormStore(Protocol):
    """Keeps confirmation forms; the primary's."""

    async def create(self, form: Form) -> Form:
        """Stores a form, or returns the one its tenant made with that request id; 1 or 3 round trips."""
        ...

    async def made(self, tenant_key: int, request_id: str) -> Form | None:
        """Reads the form that a tenant made with a request id; 1 round trip, 2 when there is one."""
        ...

    async def get(self, confirmation_id: str) -> Form | None:
        """Reads a form of any tenant; 1 round trip."""
        ...

    async def move(self, confirmation_id: str, *, state: int, to_state: int) -> bool:
        """Moves a form that is in `state` and not used up; False when it is not. 1 or 2 round trips."""
        ...

    async def list(self, wanted: FormFilter) -> list[Form]:
        """Lists forms by (created_at_us, confirmation_id); 1 round trip."""
        ...

    async def expire(self, *, now_us: int, items_max: int) -> int:
        """Voids waiting forms whose time is up, at most so many, and returns how many; 1 round trip a state.

        By `now_us` and by the store's own clock: nothing undoes it, and one of them may be wrong.
        """
        ...


def not_usable(confirmation_id: str, state: int, words: str) -> BillowError:
    """The error for a form that does not allow what is asked."""
    metadata = {"confirmation_id": confirmation_id, "state": FormState(state).name}
    return BillowError(
        Reason.CONFIRMATION_NOT_USABLE, f"confirmation form {confirmation_id} {words}", metadata=metadata
    )

"""What becomes of the drafts of one red commit, decided between reading under lock and writing. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from core.domain.errors import BillowError, Reason
from core.domain.kinds import InvoiceColor
from core.domain.red_letter import Sums, Taken
from core.storage.allocation import Stock, shortage
from core.storage.red_letter_port import USABLE, Form, FormState, RedDraft, RedShape, not_usable


@dataclass(frozen=True, slots=True)
class LockedBlue:
    """A blue invoice as read under lock."""

    seller_key: int
    color: int


class RedRound:
    """Decides draft after draft; what one takes, the next one finds taken.

    `free` says how many numbers each stock has, `sums` what was taken of each blue before; both are counted on.
    """

    def __init__(
        self,
        *,
        blues: Mapping[str, LockedBlue],
        sums: dict[str, Sums],
        booked: Collection[str],
        forms: Mapping[str, Form],
        free: dict[Stock, int],
        had_ranges: Collection[Stock],
    ) -> None:
        self._blues = blues
        self.sums = sums
        self._booked = booked
        self._forms = forms
        self._free = free
        self._had_ranges = had_ranges
        self._used: set[str] = set()

    def decide(self, draft: RedDraft) -> RedShape | BillowError:
        """Accepts a draft and counts what it takes, or returns why not."""
        try:
            self._check(draft)
            shape = draft.shape(self.sums.get(draft.blue_number, {}))
        except BillowError as error:
            return error
        self._free[draft.seller_key, draft.kind] -= 1
        if draft.confirmation_id:
            self._used.add(draft.confirmation_id)
        sums = self.sums.setdefault(draft.blue_number, {})
        for part in shape.parts:
            taken = sums.setdefault(part.line, Taken())
            taken.net += part.net
            taken.tax += part.tax
        return shape

    def _check(self, draft: RedDraft) -> None:
        """Raises unless the blue, its form and a number are there."""
        blue = self._blues.get(draft.blue_number)
        if blue is None or blue.seller_key != draft.seller_key or blue.color != InvoiceColor.BLUE:
            words = f"there is no blue invoice {draft.blue_number}"
            raise BillowError(Reason.INVOICE_NOT_FOUND, words, metadata={"number": draft.blue_number})
        if draft.confirmation_id:
            self._check_form(draft)
        elif draft.blue_number in self._booked:
            words = f"the buyer has booked invoice {draft.blue_number}: a confirmation form goes first"
            raise BillowError(Reason.CONFIRMATION_REQUIRED, words, metadata={"number": draft.blue_number})
        stock = (draft.seller_key, draft.kind)
        if self._free.get(stock, 0) <= 0:
            raise shortage(stock, had_ranges=stock in self._had_ranges)

    def _check_form(self, draft: RedDraft) -> None:
        """Raises unless the form allows just this, and nothing has used it."""
        name = draft.confirmation_id
        form = self._forms.get(name)
        if form is None or form.seller_key != draft.seller_key:
            words = f"there is no confirmation form {name}"
            raise BillowError(Reason.CONFIRMATION_NOT_FOUND, words, metadata={"confirmation_id": name})
        if form.state not in USABLE:
            raise not_usable(name, form.state, f"is {FormState(form.state).name}")
        if form.red_number or name in self._used:
            raise not_usable(name, form.state, f"was used by invoice {form.red_number or 'before it in this batch'}")
        if form.selection != draft.selection:
            raise not_usable(name, form.state, "is about something else")
        if form.state == FormState.NOT_NEEDED and draft.blue_number in self._booked:
            raise not_usable(name, form.state, "was made before the buyer booked the invoice")

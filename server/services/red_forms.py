"""Confirmation forms: who may make, confirm, refuse and withdraw them, and when."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from core.domain import taxpayer_id
from core.domain.errors import BillowError, Reason, Violation
from core.storage.entry_port import TaxIdStore, tax_id_not_proven
from core.storage.ports import SellerRecord
from core.storage.red_letter_port import WAITING, Form, FormFilter, FormState, FormStore, RedStore, not_usable
from server.services import paging
from server.services.auth import Caller
from server.services.paging import Page
from server.services.patience import Patience
from server.services.reading import ReadingService, invoice_not_found
from server.services.red_letter import Blue
from server.services.registry_rules import refuse
from server.services.sellers import SellerDirectory

ANSWER_WITHIN_US: Final = 72 * 3_600 * 1_000_000  # DOMAIN.md: void after 72 h
ID_BYTES: Final = 16
ID_FORM: Final = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}")

# state -> (whether the buyer's side may, the state it leads to)
CONFIRM: Final = {
    FormState.WAITING_FOR_BUYER: (True, FormState.CONFIRMED),
    FormState.WAITING_FOR_SELLER: (False, FormState.CONFIRMED),
}
REFUSE: Final = {
    FormState.WAITING_FOR_BUYER: (True, FormState.REFUSED_BY_BUYER),
    FormState.WAITING_FOR_SELLER: (False, FormState.REFUSED_BY_SELLER),
}
WITHDRAW_SELLERS: Final = {
    FormState.NOT_NEEDED: (False, FormState.WITHDRAWN),
    FormState.WAITING_FOR_BUYER: (False, FormState.WITHDRAWN),
    FormState.CONFIRMED: (False, FormState.WITHDRAWN_AFTER_CONFIRMATION),
}
WITHDRAW_BUYERS: Final = {
    FormState.WAITING_FOR_SELLER: (True, FormState.WITHDRAWN),
    FormState.CONFIRMED: (True, FormState.WITHDRAWN_AFTER_CONFIRMATION),
}
Moves = dict[FormState, tuple[bool, FormState]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewForm:
    """A form as wanted; `gross_total_minor` is what it would come to now."""

    request_id: str
    request_sha256: bytes
    selection: bytes
    as_buyer: bool
    gross_total_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedForms:
    """Which forms to list, as the caller said it; empty texts are absent."""

    seller_id: str
    buyer_tax_id: str
    state: int
    page_size: int
    page_token: str


class RedFormService:
    """Keeps confirmation forms. A tenant is the seller's side by owning the seller, the buyer's by a proven tax id.

    Every method raises STORAGE_UNAVAILABLE after waiting for up to `wait_max_ms` for a store that is away.
    """

    def __init__(
        self,
        *,
        store: FormStore,
        reds: RedStore,
        reading: ReadingService,
        sellers: SellerDirectory,
        tax_ids: TaxIdStore,
        now_us: Callable[[], int],
        wait_max_ms: int,
    ) -> None:
        self._store = store
        self._reds = reds
        self._reading = reading
        self._sellers = sellers
        self._tax_ids = tax_ids
        self._now_us = now_us
        self._patiently = Patience(wait_max_ms=wait_max_ms)

    async def _is_proven(self, caller: Caller, tax_id: str) -> bool:
        """Tells whether the tax id is proven to be the caller's. 1 round trip."""
        return await self._patiently(lambda: self._tax_ids.is_proven(caller.tenant_key, tax_id))

    async def blue(self, caller: Caller, number: str, *, as_buyer: bool) -> Blue:
        """Reads the invoice a form is to be about, as the side the caller is; raises INVOICE_NOT_FOUND (P8)."""
        found = await self._reading.invoice_of_any(number)
        if found is None:
            raise invoice_not_found(number)
        row, seller = found
        if as_buyer:
            buyer_tax_id = row.issued.buyer_tax_id
            allowed = bool(buyer_tax_id) and await self._is_proven(caller, buyer_tax_id)
        else:
            allowed = seller.tenant_key == caller.tenant_key
        if not allowed:
            raise invoice_not_found(number)
        return Blue(row.issued, await self._reading.read_body(row), seller)

    async def create(self, caller: Caller, blue: Blue, wanted: NewForm) -> Form:
        """Makes a form, or returns the one of that request id; raises REQUEST_ID_REUSED. 2 to 4 round trips."""
        number = blue.issued.number
        if wanted.as_buyer:
            state = FormState.WAITING_FOR_SELLER
        elif await self._patiently(lambda: self._reds.booked(number)):
            state = FormState.WAITING_FOR_BUYER
        else:
            state = FormState.NOT_NEEDED
        now_us = self._now_us()
        form = Form(
            confirmation_id=secrets.token_hex(ID_BYTES),
            tenant_key=caller.tenant_key,
            request_id=wanted.request_id,
            request_sha256=wanted.request_sha256,
            seller_key=blue.seller.seller_key,
            seller_tax_id=blue.seller.party.tax_id,
            buyer_tax_id=blue.issued.buyer_tax_id,
            blue_number=number,
            selection=wanted.selection,
            gross_total_minor=wanted.gross_total_minor,
            made_by_buyer=wanted.as_buyer,
            state=int(state),
            red_number="",
            created_at_us=now_us,
            expires_at_us=now_us + ANSWER_WITHIN_US,
        )
        kept = await self._patiently(lambda: self._store.create(form))
        return self._repeated(kept, wanted.request_sha256)

    async def made(self, caller: Caller, request_id: str, request_sha256: bytes) -> Form | None:
        """Finds the form of a request id, made before; raises REQUEST_ID_REUSED. 1 round trip, or 2."""
        form = await self._patiently(lambda: self._store.made(caller.tenant_key, request_id))
        return None if form is None else self._repeated(form, request_sha256)

    def _repeated(self, form: Form, request_sha256: bytes) -> Form:
        """Compares a request with the one that made the form."""
        if form.request_sha256 != request_sha256:
            words = f"request id {form.request_id} was used with another body"
            raise BillowError(Reason.REQUEST_ID_REUSED, words, metadata={"request_id": form.request_id})
        return self._seen_now(form)

    async def get(self, caller: Caller, confirmation_id: str) -> Form:
        """Reads a form the caller is a side of; raises CONFIRMATION_NOT_FOUND (P8). 1 to 3 round trips."""
        return (await self._find(caller, confirmation_id))[0]

    async def confirm(self, caller: Caller, confirmation_id: str) -> Form:
        """Confirms a form that waits for the caller's side; raises CONFIRMATION_NOT_USABLE."""
        return await self._move(caller, confirmation_id, lambda _: CONFIRM)

    async def refuse(self, caller: Caller, confirmation_id: str) -> Form:
        """Refuses a form that waits for the caller's side; raises CONFIRMATION_NOT_USABLE."""
        return await self._move(caller, confirmation_id, lambda _: REFUSE)

    async def withdraw(self, caller: Caller, confirmation_id: str) -> Form:
        """Withdraws a form of the caller's side that is not used; raises CONFIRMATION_NOT_USABLE."""
        return await self._move(
            caller, confirmation_id, lambda form: WITHDRAW_BUYERS if form.made_by_buyer else WITHDRAW_SELLERS
        )

    async def list(self, caller: Caller, wanted: WantedForms) -> Page[Form]:
        """Lists forms, oldest first; raises INVALID_REQUEST, SELLER_NOT_FOUND, TAX_ID_NOT_PROVEN."""
        if not wanted.seller_id and not wanted.buyer_tax_id:
            refuse([Violation("seller_id", "REQUIRED", "seller_id or buyer_tax_id is required")])
        seller: SellerRecord | None = None
        if wanted.buyer_tax_id and taxpayer_id.check(wanted.buyer_tax_id) is not None:
            refuse([Violation("buyer_tax_id", taxpayer_id.BAD_FORM, "is not a taxpayer id")])
        if wanted.seller_id:
            seller = await self._sellers.one(caller.tenant_key, wanted.seller_id)
        elif not await self._is_proven(caller, wanted.buyer_tax_id):
            raise tax_id_not_proven(wanted.buyer_tax_id)
        listing = ("forms", caller.tenant_key, wanted.seller_id, wanted.buyer_tax_id, wanted.state)
        items_max = paging.size_of(wanted.page_size)
        at_us, _, last = paging.decode(listing, wanted.page_token).partition(":")
        if at_us and not at_us.isdigit():
            raise paging.invalid_token()
        query = FormFilter(
            seller_key=None if seller is None else seller.seller_key,
            buyer_tax_id=wanted.buyer_tax_id or None,
            state=wanted.state,
            after=(int(at_us), last) if at_us else None,
            items_max=items_max + 1,
        )
        found = await self._patiently(lambda: self._store.list(query))
        seen = [self._seen_now(form) for form in found]
        return paging.page_of(seen, items_max, listing, lambda form: f"{form.created_at_us}:{form.confirmation_id}")

    async def _move(self, caller: Caller, confirmation_id: str, moves_of: Callable[[Form], Moves]) -> Form:
        """Moves a form as the table says; a form that is where it would lead already stays as it is."""
        form, sides = await self._find(caller, confirmation_id)
        moves = moves_of(form)
        if any(form.state == to_state and by_buyer in sides for by_buyer, to_state in moves.values()):
            return form
        state = FormState(form.state)
        by_buyer, to_state = moves.get(state, (None, state))
        if by_buyer is None or by_buyer not in sides:
            raise not_usable(confirmation_id, form.state, f"is {state.name}, which is not for the caller to change so")
        has_moved = await self._patiently(
            lambda: self._store.move(confirmation_id, state=form.state, to_state=int(to_state))
        )
        moved = await self.get(caller, confirmation_id)
        if not has_moved and moved.state != to_state:  # else an earlier try of this call, or somebody with the same aim
            raise not_usable(confirmation_id, form.state, "was changed or used at the same moment")
        return moved

    async def _find(self, caller: Caller, confirmation_id: str) -> tuple[Form, set[bool]]:
        """Reads a form with the sides the caller is: True the buyer's, False the seller's."""
        form = None
        if ID_FORM.fullmatch(confirmation_id):
            form = await self._patiently(lambda: self._store.get(confirmation_id))
        sides: set[bool] = set()
        if form is not None:
            seller = (await self._sellers.by_key((form.seller_key,))).get(form.seller_key)
            if seller is not None and seller.tenant_key == caller.tenant_key:
                sides.add(False)
            if form.buyer_tax_id and await self._is_proven(caller, form.buyer_tax_id):
                sides.add(True)
        if form is None or not sides:
            words = f"there is no confirmation form {confirmation_id}"
            raise BillowError(Reason.CONFIRMATION_NOT_FOUND, words, metadata={"confirmation_id": confirmation_id})
        return self._seen_now(form), sides

    def _seen_now(self, form: Form) -> Form:
        """The form with the state it has by the clock: the worker voids it a little later."""
        if form.state in WAITING and form.expires_at_us <= self._now_us():
            return replace(form, state=int(FormState.EXPIRED))
        return form

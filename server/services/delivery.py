"""Delivery: a seller's endpoints, deliveries and their attempts, and the pull queue."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from core import limits
from core.domain.destinations import Guard, email_fault, phone_fault, url_fault
from core.domain.errors import BillowError, Reason, Violation
from core.domain.webhooks import ROTATION_MS, SECRET_BYTES
from core.storage.delivery_port import (
    Attempt,
    Delivery,
    DeliveryFilter,
    DeliveryQueue,
    DeliveryState,
    Due,
    Endpoint,
    EndpointKind,
    EndpointState,
    EndpointStore,
    delivery_not_found,
    endpoint_not_found,
)
from core.storage.ports import InvoiceReader
from server.services import paging
from server.services.auth import Caller
from server.services.paging import Page
from server.services.patience import Patience
from server.services.registry_rules import NUMBER_FORM, refuse
from server.services.sellers import SellerDirectory

ENDPOINT_ID_FORM: Final = re.compile(r"[0-9a-f]{16}")
DELIVERY_ID_FORM: Final = re.compile(r"dlv_([1-9][0-9]{0,18})")
BY_HAND: Final = "disabled by DisableEndpoint"
FORMATS_OFFERED: Final = ("pdf", "xml", "ofd")
FORMATS_DEFAULT: Final = ("pdf", "xml")
LEASE_MS_DEFAULT: Final = 60_000
LEASE_MS_MIN: Final = 1_000


@dataclass(frozen=True, slots=True)
class Targets:
    """What targets may be: which addresses, whether plain http; whether there is a mail relay, a gateway for SMS."""

    guard: Guard
    allow_http: bool
    email: bool
    sms: bool = False


class DeliveryService:
    """Everything about delivery but the sending. A caller sees and touches its own tenant's only (P8).

    `now_us` is the wall clock, `random_bytes` must be fit for secrets. Every method raises INVALID_REQUEST with all
    violations at once, and STORAGE_UNAVAILABLE after waiting for up to `wait_max_ms`.
    """

    def __init__(
        self,
        *,
        store: EndpointStore,
        queue: DeliveryQueue,
        invoices: InvoiceReader,
        sellers: SellerDirectory,
        targets: Targets,
        now_us: Callable[[], int],
        wait_max_ms: int,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._queue = queue
        self._invoices = invoices
        self._sellers = sellers
        self._targets = targets
        self._now_us = now_us
        self._patiently = Patience(wait_max_ms=wait_max_ms)
        self._random_bytes = random_bytes

    # --- endpoints ------------------------------------------------------------------------------------------------
    async def create_endpoint(
        self,
        caller: Caller,
        *,
        seller_id: str,
        kind: int,
        target: str,
        every_invoice: bool,
        formats: Sequence[str] = (),
    ) -> tuple[Endpoint, str]:
        """Creates an endpoint; raises SELLER_NOT_FOUND, ENDPOINTS_EXHAUSTED. 2 round trips. Returns the seller's id."""
        refuse([*self._target_faults(kind, target), *_format_faults(kind, formats)])
        if kind == EndpointKind.EMAIL:
            formats = formats or FORMATS_DEFAULT
        seller = await self._sellers.one(caller.tenant_key, seller_id)
        endpoint = Endpoint(
            endpoint_key=0,
            endpoint_id=self._random_bytes(8).hex(),
            seller_key=seller.seller_key,
            kind=EndpointKind(kind),
            target=target,
            every_invoice=every_invoice,
            state=EndpointState.ACTIVE,
            state_reason="",
            secret=self._random_bytes(SECRET_BYTES) if kind == EndpointKind.WEBHOOK else b"",
            old_secret=b"",
            old_secret_until_us=0,
            failures=0,
            open_until_us=0,
            created_at_us=self._now_us(),
            formats=tuple(formats),
        )
        return await self._patiently(lambda: self._store.create_endpoint(endpoint)), seller.seller_id

    def _target_faults(self, kind: int, target: str) -> list[Violation]:
        """Checks kind and target."""
        match kind:
            case EndpointKind.WEBHOOK:
                fault = url_fault(target, allow_http=self._targets.allow_http, guard=self._targets.guard)
            case EndpointKind.EMAIL:
                fault = email_fault(target) if self._targets.email else ""
                if not self._targets.email:
                    return [Violation("kind", "EMAIL_OFF", "no mail relay is set up on this platform")]
            case EndpointKind.SMS:
                fault = phone_fault(target) if self._targets.sms else ""
                if not self._targets.sms:
                    return [Violation("kind", "SMS_OFF", "no gateway for text messages is set up on this platform")]
            case EndpointKind.PULL:
                fault = "must be empty for pull" if target else ""
            case _:
                return [Violation("kind", "KIND_REQUIRED", "must be webhook, pull, email or sms")]
        return [Violation("target", "TARGET_FORM", fault)] if fault else []

    async def list_endpoints(
        self, caller: Caller, *, seller_id: str, page_size: int, page_token: str
    ) -> Page[Endpoint]:
        """Lists a seller's endpoints; raises SELLER_NOT_FOUND, INVALID_PAGE_TOKEN. 1 round trip."""
        items_max = paging.size_of(page_size)
        seller = await self._sellers.one(caller.tenant_key, seller_id)
        listing = ("endpoints", seller.seller_key)
        after = paging.decode(listing, page_token)
        found = await self._patiently(
            lambda: self._store.endpoints(seller.seller_key, after=after, items_max=items_max + 1)
        )
        return paging.page_of(found, items_max, listing, lambda endpoint: endpoint.endpoint_id)

    async def disable(self, caller: Caller, endpoint_id: str) -> tuple[Endpoint, str]:
        """Stops an endpoint; raises ENDPOINT_NOT_FOUND. 3 round trips."""
        return await self._set_state(caller, endpoint_id, EndpointState.DISABLED, BY_HAND)

    async def enable(self, caller: Caller, endpoint_id: str) -> tuple[Endpoint, str]:
        """Lets an endpoint go on; raises ENDPOINT_NOT_FOUND. 3 round trips."""
        return await self._set_state(caller, endpoint_id, EndpointState.ACTIVE, "")

    async def _set_state(
        self, caller: Caller, endpoint_id: str, state: EndpointState, reason: str
    ) -> tuple[Endpoint, str]:
        endpoint, _ = await self._endpoint(caller, endpoint_id)
        await self._patiently(lambda: self._store.set_state(endpoint.endpoint_key, state, reason))
        return await self._endpoint(caller, endpoint_id)

    async def rotate_secret(self, caller: Caller, endpoint_id: str) -> tuple[Endpoint, str]:
        """Gives a webhook a new secret; raises ENDPOINT_NOT_FOUND. 3 round trips."""
        endpoint, _ = await self._endpoint(caller, endpoint_id)
        _require_kind(endpoint, EndpointKind.WEBHOOK)
        until_us = self._now_us() + ROTATION_MS * 1_000
        secret = self._random_bytes(SECRET_BYTES)
        await self._patiently(lambda: self._store.rotate(endpoint.endpoint_key, secret, old_until_us=until_us))
        return await self._endpoint(caller, endpoint_id)

    async def _endpoint(self, caller: Caller, endpoint_id: str) -> tuple[Endpoint, str]:
        """Reads the caller's endpoint and its seller's id; raises ENDPOINT_NOT_FOUND. 1 round trip."""
        found = None
        if ENDPOINT_ID_FORM.fullmatch(endpoint_id):
            found = await self._patiently(lambda: self._store.endpoint(endpoint_id))
        if found is not None:
            seller = (await self._sellers.by_key((found.seller_key,))).get(found.seller_key)
            if seller is not None and seller.tenant_key == caller.tenant_key:
                return found, seller.seller_id
        raise endpoint_not_found(endpoint_id)

    # --- deliveries -----------------------------------------------------------------------------------------------
    async def deliver(self, caller: Caller, *, number: str, endpoint_id: str) -> Delivery:
        """Orders a delivery; raises ENDPOINT_NOT_FOUND, INVOICE_NOT_FOUND. 4 round trips."""
        refuse(_number_faults(number))
        endpoint, _ = await self._endpoint(caller, endpoint_id)
        row = (await self._patiently(lambda: self._invoices.by_number((number,)))).get(number)
        if row is None or row.issued.seller_key != endpoint.seller_key:
            words = f"there is no invoice {number} of this endpoint's seller"
            raise BillowError(Reason.INVOICE_NOT_FOUND, words, metadata={"number": number})
        now_us = self._now_us()
        await self._patiently(lambda: self._store.deliver(endpoint, (number,), now_us=now_us))
        wanted = DeliveryFilter(seller_key=endpoint.seller_key, number=number, endpoint_id=endpoint_id, items_max=1)
        return (await self._patiently(lambda: self._store.deliveries(wanted)))[0]

    async def list_deliveries(
        self,
        caller: Caller,
        *,
        seller_id: str,
        number: str,
        endpoint_id: str,
        state: int,
        page_size: int,
        page_token: str,
    ) -> Page[Delivery]:
        """Lists a seller's deliveries; raises SELLER_NOT_FOUND, ENDPOINT_NOT_FOUND, INVALID_PAGE_TOKEN. 1 round trip.

        An endpoint id of another form than ours is not found; one that is nobody's has no deliveries.
        """
        faults = _number_faults(number) if number else []
        if state not in {0, *DeliveryState}:
            faults.append(Violation("state", "STATE_UNKNOWN", "must be pending, delivered or failed"))
        refuse(faults)
        items_max = paging.size_of(page_size)
        seller = await self._sellers.one(caller.tenant_key, seller_id)
        if endpoint_id and not ENDPOINT_ID_FORM.fullmatch(endpoint_id):
            raise endpoint_not_found(endpoint_id)
        listing = ("deliveries", seller.seller_key, number, endpoint_id, state)
        wanted = DeliveryFilter(
            seller_key=seller.seller_key,
            number=number,
            endpoint_id=endpoint_id,
            state=state,
            after=int(paging.decode(listing, page_token) or 0),
            items_max=items_max + 1,
        )
        found = await self._patiently(lambda: self._store.deliveries(wanted))
        return paging.page_of(found, items_max, listing, lambda delivery: str(delivery.delivery_id))

    async def get_delivery(self, caller: Caller, delivery_id: str) -> tuple[Delivery, list[Attempt]]:
        """Reads a delivery with its attempts; raises DELIVERY_NOT_FOUND. 2 round trips."""
        delivery = await self._delivery(caller, delivery_id)
        return delivery, await self._patiently(lambda: self._store.attempts(delivery.delivery_id))

    async def redeliver(self, caller: Caller, delivery_id: str) -> Delivery:
        """Delivers again; raises DELIVERY_NOT_FOUND. 3 round trips."""
        delivery = await self._delivery(caller, delivery_id)
        now_us = self._now_us()
        await self._patiently(lambda: self._store.redeliver(delivery.delivery_id, now_us=now_us))
        return await self._delivery(caller, delivery_id)

    async def _delivery(self, caller: Caller, delivery_id: str) -> Delivery:
        """Reads the caller's delivery; raises DELIVERY_NOT_FOUND. 1 round trip."""
        form = DELIVERY_ID_FORM.fullmatch(delivery_id)
        found = None
        if form is not None:
            found = await self._patiently(lambda: self._store.delivery(int(form[1])))
        if found is not None:
            seller = (await self._sellers.by_key((found.seller_key,))).get(found.seller_key)
            if seller is not None and seller.tenant_key == caller.tenant_key:
                return found
        raise delivery_not_found(delivery_id)

    # --- the pull queue -------------------------------------------------------------------------------------------
    async def claim(self, caller: Caller, *, endpoint_id: str, max_items: int, lease_ms: int) -> list[Due]:
        """Leases deliveries of a pull endpoint; raises ENDPOINT_NOT_FOUND. At most 6 round trips."""
        lease_ms, max_items = lease_ms or LEASE_MS_DEFAULT, max_items or limits.PAGE_ITEMS_DEFAULT
        faults = []
        if not 0 < max_items <= limits.CLAIM_DELIVERIES_MAX:
            faults.append(Violation("max_items", "OUT_OF_RANGE", f"must be 1 to {limits.CLAIM_DELIVERIES_MAX}"))
        if not LEASE_MS_MIN <= lease_ms <= limits.PULL_LEASE_MS_MAX:
            words = f"must be {LEASE_MS_MIN} to {limits.PULL_LEASE_MS_MAX}"
            faults.append(Violation("lease_ms", "OUT_OF_RANGE", words))
        refuse(faults)
        endpoint, _ = await self._endpoint(caller, endpoint_id)
        _require_kind(endpoint, EndpointKind.PULL)
        owner = f"pull-{caller.key_id}"
        return await self._patiently(
            lambda: self._queue.claim(endpoint.endpoint_key, owner=owner, items_max=max_items, lease_ms=lease_ms)
        )

    async def acknowledge(self, caller: Caller, *, endpoint_id: str, delivery_ids: Sequence[str]) -> list[int]:
        """Finishes deliveries of a pull endpoint; raises ENDPOINT_NOT_FOUND. At most 5 round trips."""
        faults = []
        if not 0 < len(delivery_ids) <= limits.CLAIM_DELIVERIES_MAX:
            faults.append(Violation("delivery_ids", "ITEMS", f"must be 1 to {limits.CLAIM_DELIVERIES_MAX}"))
        forms = [DELIVERY_ID_FORM.fullmatch(text) for text in delivery_ids[: limits.CLAIM_DELIVERIES_MAX]]
        for place, form in enumerate(forms):
            if form is None and len(faults) < limits.VIOLATIONS_MAX:
                faults.append(Violation(f"delivery_ids[{place}]", "DELIVERY_ID_FORM", "must be dlv_ and digits"))
        refuse(faults)
        endpoint, _ = await self._endpoint(caller, endpoint_id)
        _require_kind(endpoint, EndpointKind.PULL)
        ids = sorted({int(form[1]) for form in forms if form})
        now_us = self._now_us()
        return await self._patiently(lambda: self._store.acknowledge(endpoint.endpoint_key, ids, now_us=now_us))


def _require_kind(endpoint: Endpoint, kind: EndpointKind) -> None:
    """Raises INVALID_REQUEST for an endpoint of another kind."""
    if endpoint.kind is not kind:
        words = f"must be a {kind.name.lower()} endpoint, not {endpoint.kind.name.lower()}"
        refuse([Violation("endpoint_id", "ENDPOINT_KIND", words)])


def _format_faults(kind: int, formats: Sequence[str]) -> list[Violation]:
    """Checks which documents an e-mail is to carry."""
    if formats and kind != EndpointKind.EMAIL:
        return [Violation("formats", "FORMATS_NOT_ALLOWED", "are for e-mail only")]
    if set(formats) - set(FORMATS_OFFERED):
        return [Violation("formats", "FORMAT_UNKNOWN", f"must be of {', '.join(FORMATS_OFFERED)}")]
    if len(set(formats)) != len(formats):
        return [Violation("formats", "FORMAT_TWICE", "must be different")]
    return []


def _number_faults(number: str) -> list[Violation]:
    """Checks an invoice's number."""
    if NUMBER_FORM.fullmatch(number):
        return []
    words = f"must be {limits.NUMBER_CHARS} digits"
    return [Violation("number", "NUMBER_FORM" if number else "REQUIRED", words)]

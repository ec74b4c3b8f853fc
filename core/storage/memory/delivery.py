"""The twin of delivery: both ports over dictionaries."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from core.limits import ENDPOINTS_OF_SELLER_MAX
from core.storage import block
from core.storage.delivery_port import (
    Attempt,
    Delivery,
    DeliveryFilter,
    DeliveryState,
    Due,
    Endpoint,
    EndpointKind,
    EndpointState,
    Facts,
    Outcome,
    endpoints_exhausted,
)
from core.storage.memory.tables import MemoryTables


class MemoryDelivery:
    """EndpointStore and DeliveryQueue in one. `sellers` are (seller_id, name) by key."""

    def __init__(
        self, *, tables: MemoryTables, sellers: Mapping[int, tuple[str, str]], now_us: Callable[[], int]
    ) -> None:
        self._tables = tables
        self._sellers = sellers
        self._now_us = now_us
        self._endpoints: dict[int, Endpoint] = {}
        self._since: dict[int, int] = {}
        self._deliveries: dict[int, Delivery] = {}
        self._owners: dict[int, str] = {}
        self._attempts: dict[int, list[Attempt]] = {}
        self._fed: set[int] = set()

    # --- endpoints ------------------------------------------------------------------------------------------------
    async def create_endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Stores an endpoint; see the port."""
        known = await self.endpoint(endpoint.endpoint_id)
        if known is not None:
            return known
        own = [item for item in self._endpoints.values() if item.seller_key == endpoint.seller_key]
        if len(own) >= ENDPOINTS_OF_SELLER_MAX:
            raise endpoints_exhausted(ENDPOINTS_OF_SELLER_MAX)
        stored = dataclasses.replace(endpoint, endpoint_key=len(self._endpoints) + 1)
        self._endpoints[stored.endpoint_key] = stored
        self._since[stored.endpoint_key] = stored.created_at_us
        return stored

    async def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Reads an endpoint; see the port."""
        return next((item for item in self._endpoints.values() if item.endpoint_id == endpoint_id), None)

    async def endpoints(self, seller_key: int, *, after: str, items_max: int) -> list[Endpoint]:
        """Lists endpoints; see the port."""
        own = [e for e in self._endpoints.values() if e.seller_key == seller_key and e.endpoint_id > after]
        return sorted(own, key=lambda item: item.endpoint_id)[:items_max]

    async def set_state(self, endpoint_key: int, state: EndpointState, reason: str) -> None:
        """Enables or disables; see the port."""
        if state is EndpointState.ACTIVE:
            if self._endpoints[endpoint_key].state is not EndpointState.ACTIVE:
                self._since[endpoint_key] = self._now_us()
            self._change(endpoint_key, failures=0, open_until_us=0)
        self._change(endpoint_key, state=state, state_reason=reason)

    def _change(self, endpoint_key: int, **fields: object) -> None:
        self._endpoints[endpoint_key] = dataclasses.replace(self._endpoints[endpoint_key], **fields)  # type: ignore[arg-type] # by name

    async def rotate(self, endpoint_key: int, secret: bytes, *, old_until_us: int) -> None:
        """Gives a new secret; see the port."""
        old = self._endpoints[endpoint_key].secret
        if old != secret:
            self._change(endpoint_key, secret=secret, old_secret=old, old_secret_until_us=old_until_us)

    # --- deliveries -----------------------------------------------------------------------------------------------
    async def deliver(self, endpoint: Endpoint, numbers: Sequence[str], *, now_us: int) -> None:
        """Orders deliveries; see the port."""
        known = {item.number for item in self._deliveries.values() if item.endpoint_id == endpoint.endpoint_id}
        for number in numbers:
            if number in known:
                continue
            delivery_id = len(self._deliveries) + 1
            self._deliveries[delivery_id] = Delivery(
                delivery_id=delivery_id,
                seller_key=endpoint.seller_key,
                endpoint_id=endpoint.endpoint_id,
                number=number,
                state=DeliveryState.PENDING,
                attempts=0,
                tries=0,
                due_at_us=now_us,
                created_at_us=now_us,
                finished_at_us=None,
            )

    async def deliveries(self, wanted: DeliveryFilter) -> list[Delivery]:
        """Lists deliveries; see the port."""
        found = [
            item
            for item in self._deliveries.values()
            if item.seller_key == wanted.seller_key
            and item.delivery_id > wanted.after
            and wanted.number in {"", item.number}
            and wanted.endpoint_id in {"", item.endpoint_id}
            and wanted.state in {0, item.state}
        ]
        return found[: wanted.items_max]

    async def delivery(self, delivery_id: int) -> Delivery | None:
        """Reads a delivery; see the port."""
        return self._deliveries.get(delivery_id)

    async def attempts(self, delivery_id: int) -> list[Attempt]:
        """Reads attempts; see the port."""
        return list(self._attempts.get(delivery_id, ()))

    async def redeliver(self, delivery_id: int, *, now_us: int) -> None:
        """Makes a delivery due; see the port."""
        if delivery_id in self._deliveries:
            self._owners.pop(delivery_id, None)
            self._set(delivery_id, state=DeliveryState.PENDING, tries=0, due_at_us=now_us, finished_at_us=None)

    def _set(self, delivery_id: int, **fields: object) -> None:
        self._deliveries[delivery_id] = dataclasses.replace(self._deliveries[delivery_id], **fields)  # type: ignore[arg-type] # by name

    async def acknowledge(self, endpoint_key: int, delivery_ids: Sequence[int], *, now_us: int) -> list[int]:
        """Finishes deliveries of a pull endpoint; see the port."""
        endpoint_id = self._endpoints[endpoint_key].endpoint_id
        own = [item for key in sorted(set(delivery_ids)) if (item := self._deliveries.get(key))]
        own = [item for item in own if item.endpoint_id == endpoint_id]
        for item in own:
            if item.state is not DeliveryState.DELIVERED:
                attempt = Attempt(
                    attempt=item.attempts + 1,
                    at_us=now_us,
                    duration_us=0,
                    delivered=True,
                    code=0,
                    detail="acknowledged",
                )
                self._attempts.setdefault(item.delivery_id, []).append(attempt)
                self._owners.pop(item.delivery_id, None)
                self._set(
                    item.delivery_id,
                    state=DeliveryState.DELIVERED,
                    attempts=attempt.attempt,
                    due_at_us=None,
                    finished_at_us=now_us,
                )
        return [item.delivery_id for item in own]

    # --- the queue ------------------------------------------------------------------------------------------------
    async def fan_out(self, *, batches_max: int) -> int:
        """Makes the deliveries of standing rules; see the port."""
        fresh = [batch for key, batch in sorted(self._tables.batches.items()) if key not in self._fed][:batches_max]
        for batch in fresh:
            self._fed.add(batch.batch_id)
            for endpoint in self._endpoints.values():
                if (
                    endpoint.every_invoice
                    and endpoint.state is EndpointState.ACTIVE
                    and batch.issued_at_us >= self._since[endpoint.endpoint_key]
                ):
                    runs = [run for run in batch.runs if run.seller_key == endpoint.seller_key]
                    await self.deliver(endpoint, block.numbers(runs), now_us=batch.issued_at_us)
        return len(fresh)

    async def due_endpoints(self, *, kinds: Sequence[EndpointKind], items_max: int) -> dict[int, int]:
        """Returns endpoints with something due; see the port."""
        now_us = self._now_us()
        due = {item.endpoint_id for item in self._deliveries.values() if _is_due(item, now_us)}
        found = [
            item
            for item in self._endpoints.values()
            if item.endpoint_id in due
            and item.kind in kinds
            and item.state is EndpointState.ACTIVE
            and item.open_until_us <= now_us
        ]
        return {item.endpoint_key: item.failures for item in found[:items_max]}

    async def claim(self, endpoint_key: int, *, owner: str, items_max: int, lease_ms: int) -> list[Due]:
        """Leases due deliveries; see the port."""
        endpoint, now_us = self._endpoints.get(endpoint_key), self._now_us()
        if endpoint is None or endpoint.state is not EndpointState.ACTIVE:
            return []
        own = [item for item in self._deliveries.values() if item.endpoint_id == endpoint.endpoint_id]
        due = sorted((item for item in own if _is_due(item, now_us)), key=lambda item: item.due_at_us or 0)[:items_max]
        for item in due:
            self._owners[item.delivery_id] = owner
            self._set(item.delivery_id, due_at_us=now_us + lease_ms * 1_000)
        return [
            Due(
                delivery_id=item.delivery_id,
                endpoint=endpoint,
                attempts=item.attempts,
                tries=item.tries,
                facts=self._facts(item.number),
                created_at_us=item.created_at_us,
            )
            for item in sorted(due, key=lambda item: item.delivery_id)
        ]

    def _facts(self, number: str) -> Facts:
        issued = self._tables.invoices[number].issued
        seller_id, seller_name = self._sellers[issued.seller_key]
        return Facts(
            number=number,
            seller_id=seller_id,
            seller_name=seller_name,
            request_id=issued.request_id,
            kind=issued.kind,
            color=issued.color,
            issued_at_us=issued.issued_at_us,
            net_total_minor=issued.net_total_minor,
            tax_total_minor=issued.tax_total_minor,
            gross_total_minor=issued.gross_total_minor,
            buyer_tax_id=issued.buyer_tax_id,
            body_sha256=issued.body_sha256,
        )

    async def finish(self, owner: str, outcomes: Sequence[Outcome]) -> int:
        """Notes attempts and what follows; see the port."""
        held = [item for item in outcomes if self._owners.get(item.delivery_id) == owner]
        for item in held:
            attempt = item.attempt
            del self._owners[item.delivery_id]
            self._attempts.setdefault(item.delivery_id, []).append(attempt)
            self._set(
                item.delivery_id,
                state=item.state,
                attempts=attempt.attempt,
                tries=self._deliveries[item.delivery_id].tries + item.counts,
                due_at_us=item.due_at_us,
                finished_at_us=None if item.due_at_us is not None else attempt.at_us + attempt.duration_us,
            )
            endpoint = self._endpoints[item.endpoint_key]
            if item.disable:
                self._change(item.endpoint_key, state=EndpointState.DISABLED, state_reason=item.disable)
            elif attempt.delivered:
                self._change(item.endpoint_key, failures=0, open_until_us=0)
            elif item.counts:
                open_until_us = max(endpoint.open_until_us, item.open_until_us)
                self._change(item.endpoint_key, failures=endpoint.failures + 1, open_until_us=open_until_us)
        return len(held)

    async def release(self, owner: str, delivery_ids: Sequence[int]) -> None:
        """Gives leases back; see the port."""
        for delivery_id in delivery_ids:
            if self._owners.get(delivery_id) == owner:
                del self._owners[delivery_id]
                self._set(delivery_id, due_at_us=self._now_us())

    async def give_up(self, *, failures_min: int, due_for_ms: int, items_max: int) -> int:
        """Fails what waits for endpoints that do not recover; see the port."""
        now_us = self._now_us()
        before_us = now_us - due_for_ms * 1_000
        failing = {
            item.endpoint_id
            for item in self._endpoints.values()
            if item.state is EndpointState.ACTIVE
            and item.kind is not EndpointKind.PULL
            and item.failures >= failures_min
            and self._since[item.endpoint_key] <= before_us
        }
        late = [item for item in self._deliveries.values() if item.endpoint_id in failing and _is_due(item, before_us)]
        for item in late[:items_max]:
            words = "given up: the endpoint failed for as long as the schedule lasts"
            attempt = Attempt(
                attempt=item.attempts + 1, at_us=now_us, duration_us=0, delivered=False, code=0, detail=words
            )
            self._attempts.setdefault(item.delivery_id, []).append(attempt)
            self._owners.pop(item.delivery_id, None)
            self._set(
                item.delivery_id,
                state=DeliveryState.FAILED,
                attempts=attempt.attempt,
                due_at_us=None,
                finished_at_us=now_us,
            )
        return len(late[:items_max])


def _is_due(item: Delivery, now_us: int) -> bool:
    return item.due_at_us is not None and item.due_at_us <= now_us

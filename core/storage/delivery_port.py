"""The port of delivery: endpoints, deliveries, attempts. As in core/storage/ports.py, methods raise
STORAGE_UNAVAILABLE when the store is away; the in-memory twin is core/storage/memory/delivery.py.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from core.domain.errors import BillowError, Reason


class EndpointKind(enum.IntEnum):
    """How an endpoint gets its invoices; the numbers are those of billow.delivery.v1.EndpointKind."""

    WEBHOOK = 1
    PULL = 2
    EMAIL = 3
    SMS = 4


class EndpointState(enum.IntEnum):
    """Whether an endpoint is served; as billow.delivery.v1.EndpointState."""

    ACTIVE = 1
    DISABLED = 2


class DeliveryState(enum.IntEnum):
    """What has become of a delivery; as billow.delivery.v1.DeliveryState."""

    PENDING = 1
    DELIVERED = 2
    FAILED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Somebody who gets a seller's invoices. `target` is a URL, an e-mail address, a telephone number, or empty
    for pull.

    `formats` names the documents that an e-mail carries, in their order; empty for other kinds.
    `every_invoice` is the standing rule: every invoice issued from `created_at_us` on. `old_secret` is what the secret
    was before it was rotated; it signs too until `old_secret_until_us`.
    """

    endpoint_key: int
    endpoint_id: str
    seller_key: int
    kind: EndpointKind
    target: str
    every_invoice: bool
    state: EndpointState
    state_reason: str
    secret: bytes
    old_secret: bytes
    old_secret_until_us: int
    failures: int
    open_until_us: int
    created_at_us: int
    formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One invoice for one endpoint. `attempts` counts all, `tries` those since it was last (re)delivered by order."""

    delivery_id: int
    seller_key: int
    endpoint_id: str
    number: str
    state: DeliveryState
    attempts: int
    tries: int
    due_at_us: int | None
    created_at_us: int
    finished_at_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try. `code`: HTTP or SMTP status, 0 when there was none; `detail`: words, at most 200 characters."""

    attempt: int
    at_us: int
    duration_us: int
    delivered: bool
    code: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a delivery tells of its invoice."""

    number: str
    seller_id: str
    seller_name: str
    request_id: str
    kind: int
    color: int
    issued_at_us: int
    net_total_minor: int
    tax_total_minor: int
    gross_total_minor: int
    buyer_tax_id: str
    body_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery leased for one attempt. `created_at_us`: when it was first ordered."""

    delivery_id: int
    endpoint: Endpoint
    attempts: int
    tries: int
    facts: Facts
    created_at_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one attempt, and what follows.

    `due_at_us` None: finished, as `state` says. `disable` says why the endpoint is to get nothing more, "" if it is.
    `open_until_us`: until when the endpoint is left alone. `counts`: whether a failure is the receiver's; otherwise it
    uses up no try of the schedule and says nothing about the endpoint.
    """

    delivery_id: int
    endpoint_key: int
    attempt: Attempt
    state: DeliveryState
    due_at_us: int | None
    disable: str = ""
    open_until_us: int = 0
    counts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries of a seller to list, by id; empty texts and 0 are absent."""

    seller_key: int
    number: str = ""
    endpoint_id: str = ""
    state: int = 0
    after: int = 0
    items_max: int


class EndpointStore(Protocol):
    """The sellers' endpoints and their deliveries, as the service needs them. Reads are the primary's."""

    async def create_endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Stores an endpoint and returns it with its key; raises ENDPOINTS_EXHAUSTED. 2 round trips."""
        ...

    async def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Reads an endpoint of any seller; 1 round trip."""
        ...

    async def endpoints(self, seller_key: int, *, after: str, items_max: int) -> list[Endpoint]:
        """Lists a seller's endpoints by id; 1 round trip."""
        ...

    async def set_state(self, endpoint_key: int, state: EndpointState, reason: str) -> None:
        """Enables or disables an endpoint; enabling closes its circuit too. Again changes nothing. 1 round trip."""
        ...

    async def rotate(self, endpoint_key: int, secret: bytes, *, old_until_us: int) -> None:
        """Gives an endpoint a new secret; the one it had signs too until `old_until_us`. 1 round trip."""
        ...

    async def deliver(self, endpoint: Endpoint, numbers: Sequence[str], *, now_us: int) -> None:
        """Orders invoices of the endpoint's seller to be delivered; those ordered before stay as they are. 1 trip."""
        ...

    async def deliveries(self, wanted: DeliveryFilter) -> list[Delivery]:
        """Lists deliveries; 1 round trip."""
        ...

    async def delivery(self, delivery_id: int) -> Delivery | None:
        """Reads a delivery of any seller; 1 round trip."""
        ...

    async def attempts(self, delivery_id: int) -> list[Attempt]:
        """Reads the attempts of a delivery, oldest first; 1 round trip."""
        ...

    async def redeliver(self, delivery_id: int, *, now_us: int) -> None:
        """Makes a delivery pending and due now, with a new schedule, whatever it was; 1 round trip."""
        ...

    async def acknowledge(self, endpoint_key: int, delivery_ids: Sequence[int], *, now_us: int) -> list[int]:
        """Finishes pending deliveries of a pull endpoint as delivered; returns those that are delivered now. 3 trips.

        What was acknowledged before is among them, what is not the endpoint's is not.
        """
        ...


class DeliveryQueue(Protocol):
    """Deliveries as workers and pullers take them; the primary's. Times are the database's."""

    async def fan_out(self, *, batches_max: int) -> int:
        """Makes the deliveries of standing rules for batches not looked at yet, exactly once; returns the batches.

        All in one transaction with the feed's progress (core/storage/mysql/batch_feed.py).
        """
        ...

    async def due_endpoints(self, *, kinds: Sequence[EndpointKind], items_max: int) -> dict[int, int]:
        """Returns the failures in a row of active endpoints of these kinds that have something due, by key.

        Not of those left alone for a while. 1 round trip.
        """
        ...

    async def claim(self, endpoint_key: int, *, owner: str, items_max: int, lease_ms: int) -> list[Due]:
        """Leases due deliveries of an endpoint, oldest first; nothing of a disabled one. At most 5 round trips.

        A lease that runs out makes the delivery due again. What `owner` is does not matter to the next claim.
        """
        ...

    async def finish(self, owner: str, outcomes: Sequence[Outcome]) -> int:
        """Notes attempts and what follows; returns how many were still leased to `owner`. A lost lease changes nothing.

        A success closes the endpoint's circuit. One transaction; at most 6 round trips, 1 for every CASES_MAX outcomes
        more, and 1 for each endpoint whose failures change.
        """
        ...

    async def release(self, owner: str, delivery_ids: Sequence[int]) -> None:
        """Gives leases of `owner` back: the deliveries are due at once. A lost lease changes nothing. 1 round trip."""
        ...

    async def give_up(self, *, failures_min: int, due_for_ms: int, items_max: int) -> int:
        """Fails what has been due for so long at endpoints with so many failures in a row; returns how many.

        Never of pull endpoints, disabled ones, or ones enabled since. What it fails gets an attempt that says why. One
        transaction; 3 round trips and 3 for each of at most ENDPOINTS_GIVEN_UP_MAX endpoints.
        """
        ...


def endpoint_not_found(endpoint_id: str) -> BillowError:
    """The error for an endpoint the tenant does not have."""
    words = f"there is no endpoint {endpoint_id!r}"
    return BillowError(Reason.ENDPOINT_NOT_FOUND, words, metadata={"endpoint_id": endpoint_id[:64]})


def delivery_not_found(delivery_id: str) -> BillowError:
    """The error for a delivery the tenant does not have."""
    words = f"there is no delivery {delivery_id!r}"
    return BillowError(Reason.DELIVERY_NOT_FOUND, words, metadata={"delivery_id": delivery_id[:64]})


def endpoints_exhausted(endpoints_max: int) -> BillowError:
    """The error for a seller with as many endpoints as it may have."""
    words = f"a seller has at most {endpoints_max} endpoints"
    return BillowError(Reason.ENDPOINTS_EXHAUSTED, words, metadata={"endpoints_max": str(endpoints_max)})

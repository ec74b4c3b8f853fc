"""Delivery: endpoints, deliveries, the pull queue."""

from collections.abc import AsyncIterator, Iterator, Sequence

from grpc import aio

from ._call import Caller, Safety
from ._drain import drain
from ._loop_thread import LoopThread
from .delivery.v1 import delivery_pb2, delivery_pb2_grpc

_PAGE_ITEMS = 500


class AsyncDeliveries:
    """Delivery as seen with the client's API key. One round trip a method, or a page."""

    def __init__(self, *, channel: aio.Channel, caller: Caller, timeout_s: float) -> None:
        self._stub = delivery_pb2_grpc.DeliveryServiceStub(channel)
        self._caller = caller
        self._timeout_s = timeout_s

    async def create_endpoint(
        self,
        seller_id: str,
        *,
        kind: delivery_pb2.EndpointKind.ValueType,
        target: str = "",
        every_invoice: bool = False,
        formats: Sequence[str] = (),
    ) -> delivery_pb2.CreateEndpointResponse:
        """Creates an endpoint. A webhook's secret is in the answer and nowhere else, ever.

        ``target``: an https URL, an e-mail address or a telephone number (E.164); none for pull. ``every_invoice``: the
        standing rule. ``formats``: what an e-mail carries, of ``pdf``, ``xml``, ``ofd``; none means the first two. Not
        repeated after an error that leaves open whether it was done. Raises SellerNotFound, EndpointsExhausted,
        InvalidRequest.
        """
        request = delivery_pb2.CreateEndpointRequest(
            seller_id=seller_id, kind=kind, target=target, every_invoice=every_invoice, formats=formats
        )
        return await self._caller.unary(
            self._stub.CreateEndpoint, request, timeout_s=self._timeout_s, safety=Safety.ONCE
        )

    def list_endpoints(self, seller_id: str) -> AsyncIterator[delivery_pb2.Endpoint]:
        """Yields a seller's endpoints by id. Raises SellerNotFound."""
        request = delivery_pb2.ListEndpointsRequest(seller_id=seller_id, page_size=_PAGE_ITEMS)
        return self._caller.pages(
            self._stub.ListEndpoints, request, lambda page: page.endpoints, timeout_s=self._timeout_s
        )

    async def disable_endpoint(self, endpoint_id: str) -> delivery_pb2.Endpoint:
        """Stops an endpoint; what it has waits. Again changes nothing. Raises EndpointNotFound."""
        request = delivery_pb2.DisableEndpointRequest(endpoint_id=endpoint_id)
        return (await self._caller.unary(self._stub.DisableEndpoint, request, timeout_s=self._timeout_s)).endpoint

    async def enable_endpoint(self, endpoint_id: str) -> delivery_pb2.Endpoint:
        """Lets an endpoint go on. Raises EndpointNotFound."""
        request = delivery_pb2.EnableEndpointRequest(endpoint_id=endpoint_id)
        return (await self._caller.unary(self._stub.EnableEndpoint, request, timeout_s=self._timeout_s)).endpoint

    async def rotate_secret(self, endpoint_id: str) -> delivery_pb2.RotateSecretResponse:
        """Gives a webhook a new secret; the old one signs too for 24 hours. Raises EndpointNotFound."""
        request = delivery_pb2.RotateSecretRequest(endpoint_id=endpoint_id)
        return await self._caller.unary(self._stub.RotateSecret, request, timeout_s=self._timeout_s, safety=Safety.ONCE)

    async def deliver(self, number: str, endpoint_id: str) -> delivery_pb2.Delivery:
        """Orders an invoice for an endpoint; again returns the delivery there is.

        Raises InvoiceNotFound, EndpointNotFound.
        """
        request = delivery_pb2.DeliverInvoiceRequest(number=number, endpoint_id=endpoint_id)
        return (await self._caller.unary(self._stub.DeliverInvoice, request, timeout_s=self._timeout_s)).delivery

    def list_deliveries(
        self,
        seller_id: str,
        *,
        number: str = "",
        endpoint_id: str = "",
        state: delivery_pb2.DeliveryState.ValueType = delivery_pb2.DELIVERY_STATE_UNSPECIFIED,
    ) -> AsyncIterator[delivery_pb2.Delivery]:
        """Yields a seller's deliveries, oldest first: all, or those of an invoice, an endpoint, a state."""
        request = delivery_pb2.ListDeliveriesRequest(
            seller_id=seller_id, number=number, endpoint_id=endpoint_id, state=state, page_size=_PAGE_ITEMS
        )
        return self._caller.pages(
            self._stub.ListDeliveries, request, lambda page: page.deliveries, timeout_s=self._timeout_s
        )

    async def get(self, delivery_id: str) -> delivery_pb2.GetDeliveryResponse:
        """Reads a delivery with all its attempts. Raises DeliveryNotFound."""
        request = delivery_pb2.GetDeliveryRequest(delivery_id=delivery_id)
        return await self._caller.unary(self._stub.GetDelivery, request, timeout_s=self._timeout_s)

    async def redeliver(self, delivery_id: str) -> delivery_pb2.Delivery:
        """Delivers again at once, with the same id. Raises DeliveryNotFound."""
        request = delivery_pb2.RedeliverRequest(delivery_id=delivery_id)
        return (await self._caller.unary(self._stub.Redeliver, request, timeout_s=self._timeout_s)).delivery

    async def claim(
        self, endpoint_id: str, *, max_items: int = 100, lease_ms: int = 60_000
    ) -> Sequence[delivery_pb2.ClaimedDelivery]:
        """Leases up to ``max_items`` (1 to 1,000) deliveries of a pull endpoint for ``lease_ms`` (1,000 to 12 h).

        A claim whose answer was lost is not repeated: its deliveries come again when the lease has run out. Raises
        EndpointNotFound.
        """
        request = delivery_pb2.ClaimDeliveriesRequest(endpoint_id=endpoint_id, max_items=max_items, lease_ms=lease_ms)
        response = await self._caller.unary(
            self._stub.ClaimDeliveries, request, timeout_s=self._timeout_s, safety=Safety.ONCE
        )
        return response.deliveries

    async def acknowledge(self, endpoint_id: str, delivery_ids: Sequence[str]) -> Sequence[str]:
        """Finishes 1 to 1,000 deliveries of a pull endpoint and returns those of them that are its own."""
        request = delivery_pb2.AcknowledgeDeliveriesRequest(endpoint_id=endpoint_id, delivery_ids=delivery_ids)
        response = await self._caller.unary(self._stub.AcknowledgeDeliveries, request, timeout_s=self._timeout_s)
        return response.delivery_ids


class Deliveries:
    """AsyncDeliveries for code without asyncio."""

    def __init__(self, *, core: AsyncDeliveries, thread: LoopThread) -> None:
        self._core = core
        self._thread = thread

    def create_endpoint(
        self,
        seller_id: str,
        *,
        kind: delivery_pb2.EndpointKind.ValueType,
        target: str = "",
        every_invoice: bool = False,
        formats: Sequence[str] = (),
    ) -> delivery_pb2.CreateEndpointResponse:
        """See AsyncDeliveries.create_endpoint."""
        return self._thread.run(
            self._core.create_endpoint(
                seller_id, kind=kind, target=target, every_invoice=every_invoice, formats=formats
            )
        )

    def list_endpoints(self, seller_id: str) -> Iterator[delivery_pb2.Endpoint]:
        """See AsyncDeliveries.list_endpoints."""
        return drain(self._thread, self._core.list_endpoints(seller_id))

    def disable_endpoint(self, endpoint_id: str) -> delivery_pb2.Endpoint:
        """See AsyncDeliveries.disable_endpoint."""
        return self._thread.run(self._core.disable_endpoint(endpoint_id))

    def enable_endpoint(self, endpoint_id: str) -> delivery_pb2.Endpoint:
        """See AsyncDeliveries.enable_endpoint."""
        return self._thread.run(self._core.enable_endpoint(endpoint_id))

    def rotate_secret(self, endpoint_id: str) -> delivery_pb2.RotateSecretResponse:
        """See AsyncDeliveries.rotate_secret."""
        return self._thread.run(self._core.rotate_secret(endpoint_id))

    def deliver(self, number: str, endpoint_id: str) -> delivery_pb2.Delivery:
        """See AsyncDeliveries.deliver."""
        return self._thread.run(self._core.deliver(number, endpoint_id))

    def list_deliveries(
        self,
        seller_id: str,
        *,
        number: str = "",
        endpoint_id: str = "",
        state: delivery_pb2.DeliveryState.ValueType = delivery_pb2.DELIVERY_STATE_UNSPECIFIED,
    ) -> Iterator[delivery_pb2.Delivery]:
        """See AsyncDeliveries.list_deliveries."""
        return drain(
            self._thread,
            self._core.list_deliveries(seller_id, number=number, endpoint_id=endpoint_id, state=state),
        )

    def get(self, delivery_id: str) -> delivery_pb2.GetDeliveryResponse:
        """See AsyncDeliveries.get."""
        return self._thread.run(self._core.get(delivery_id))

    def redeliver(self, delivery_id: str) -> delivery_pb2.Delivery:
        """See AsyncDeliveries.redeliver."""
        return self._thread.run(self._core.redeliver(delivery_id))

    def claim(
        self, endpoint_id: str, *, max_items: int = 100, lease_ms: int = 60_000
    ) -> Sequence[delivery_pb2.ClaimedDelivery]:
        """See AsyncDeliveries.claim."""
        return self._thread.run(self._core.claim(endpoint_id, max_items=max_items, lease_ms=lease_ms))

    def acknowledge(self, endpoint_id: str, delivery_ids: Sequence[str]) -> Sequence[str]:
        """See AsyncDeliveries.acknowledge."""
        return self._thread.run(self._core.acknowledge(endpoint_id, delivery_ids))

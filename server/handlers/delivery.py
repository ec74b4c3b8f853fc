# ruff: noqa: N802 -- the methods are called as in the contract
"""DeliveryService. Round trips as the methods of DeliveryService say."""

from __future__ import annotations

from billow.delivery.v1 import delivery_pb2
from core.domain.webhooks import secret_text
from server.convert import delivery
from server.interceptors import Access, Call
from server.services.delivery import DeliveryService

SERVICE = delivery_pb2.DESCRIPTOR.services_by_name["DeliveryService"]
ACCESS = {
    "CreateEndpoint": Access("registry"),
    "ListEndpoints": Access("read", or_scope="registry"),
    "DisableEndpoint": Access("registry"),
    "EnableEndpoint": Access("registry"),
    "RotateSecret": Access("registry"),
    "DeliverInvoice": Access("issue"),
    "ListDeliveries": Access("read"),
    "GetDelivery": Access("read"),
    "Redeliver": Access("issue"),
    "ClaimDeliveries": Access("read"),
    "AcknowledgeDeliveries": Access("read"),
}


class DeliveryHandlers:
    """The methods of billow.delivery.v1.DeliveryService."""

    def __init__(self, *, delivery: DeliveryService) -> None:
        self._delivery = delivery

    async def CreateEndpoint(
        self, request: delivery_pb2.CreateEndpointRequest, call: Call
    ) -> delivery_pb2.CreateEndpointResponse:
        """Creates an endpoint. Round trips: 2 primary."""
        made, seller_id = await self._delivery.create_endpoint(
            call.caller,
            seller_id=request.seller_id,
            kind=request.kind,
            target=request.target,
            every_invoice=request.every_invoice,
            formats=request.formats,
        )
        secret = secret_text(made.secret) if made.secret else ""
        return delivery_pb2.CreateEndpointResponse(endpoint=delivery.endpoint(made, seller_id), secret=secret)

    async def ListEndpoints(
        self, request: delivery_pb2.ListEndpointsRequest, call: Call
    ) -> delivery_pb2.ListEndpointsResponse:
        """Lists a seller's endpoints. Round trips: 1 primary."""
        page = await self._delivery.list_endpoints(
            call.caller, seller_id=request.seller_id, page_size=request.page_size, page_token=request.page_token
        )
        endpoints = [delivery.endpoint(item, request.seller_id) for item in page.items]
        return delivery_pb2.ListEndpointsResponse(endpoints=endpoints, next_page_token=page.next_page_token)

    async def DisableEndpoint(
        self, request: delivery_pb2.DisableEndpointRequest, call: Call
    ) -> delivery_pb2.DisableEndpointResponse:
        """Stops an endpoint. Round trips: 3 primary."""
        endpoint = delivery.endpoint(*await self._delivery.disable(call.caller, request.endpoint_id))
        return delivery_pb2.DisableEndpointResponse(endpoint=endpoint)

    async def EnableEndpoint(
        self, request: delivery_pb2.EnableEndpointRequest, call: Call
    ) -> delivery_pb2.EnableEndpointResponse:
        """Lets an endpoint go on. Round trips: 3 primary."""
        endpoint = delivery.endpoint(*await self._delivery.enable(call.caller, request.endpoint_id))
        return delivery_pb2.EnableEndpointResponse(endpoint=endpoint)

    async def RotateSecret(
        self, request: delivery_pb2.RotateSecretRequest, call: Call
    ) -> delivery_pb2.RotateSecretResponse:
        """Gives a webhook a new secret. Round trips: 3 primary."""
        rotated, seller_id = await self._delivery.rotate_secret(call.caller, request.endpoint_id)
        return delivery_pb2.RotateSecretResponse(
            endpoint=delivery.endpoint(rotated, seller_id), secret=secret_text(rotated.secret)
        )

    async def DeliverInvoice(
        self, request: delivery_pb2.DeliverInvoiceRequest, call: Call
    ) -> delivery_pb2.DeliverInvoiceResponse:
        """Orders a delivery. Round trips: 4 primary."""
        ordered = await self._delivery.deliver(call.caller, number=request.number, endpoint_id=request.endpoint_id)
        return delivery_pb2.DeliverInvoiceResponse(delivery=delivery.delivery(ordered))

    async def ListDeliveries(
        self, request: delivery_pb2.ListDeliveriesRequest, call: Call
    ) -> delivery_pb2.ListDeliveriesResponse:
        """Lists a seller's deliveries. Round trips: 1 primary."""
        page = await self._delivery.list_deliveries(
            call.caller,
            seller_id=request.seller_id,
            number=request.number,
            endpoint_id=request.endpoint_id,
            state=request.state,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        deliveries = [delivery.delivery(item) for item in page.items]
        return delivery_pb2.ListDeliveriesResponse(deliveries=deliveries, next_page_token=page.next_page_token)

    async def GetDelivery(
        self, request: delivery_pb2.GetDeliveryRequest, call: Call
    ) -> delivery_pb2.GetDeliveryResponse:
        """Reads a delivery with its attempts. Round trips: 2 primary."""
        found, attempts = await self._delivery.get_delivery(call.caller, request.delivery_id)
        return delivery_pb2.GetDeliveryResponse(
            delivery=delivery.delivery(found), attempts=[delivery.attempt(item) for item in attempts]
        )

    async def Redeliver(self, request: delivery_pb2.RedeliverRequest, call: Call) -> delivery_pb2.RedeliverResponse:
        """Delivers again. Round trips: 3 primary."""
        again = await self._delivery.redeliver(call.caller, request.delivery_id)
        return delivery_pb2.RedeliverResponse(delivery=delivery.delivery(again))

    async def ClaimDeliveries(
        self, request: delivery_pb2.ClaimDeliveriesRequest, call: Call
    ) -> delivery_pb2.ClaimDeliveriesResponse:
        """Leases deliveries of a pull endpoint. Round trips: 7 primary."""
        claimed = await self._delivery.claim(
            call.caller, endpoint_id=request.endpoint_id, max_items=request.max_items, lease_ms=request.lease_ms
        )
        return delivery_pb2.ClaimDeliveriesResponse(deliveries=[delivery.claimed(due) for due in claimed])

    async def AcknowledgeDeliveries(
        self, request: delivery_pb2.AcknowledgeDeliveriesRequest, call: Call
    ) -> delivery_pb2.AcknowledgeDeliveriesResponse:
        """Finishes deliveries of a pull endpoint. Round trips: 6 primary."""
        done = await self._delivery.acknowledge(
            call.caller, endpoint_id=request.endpoint_id, delivery_ids=request.delivery_ids
        )
        ids = [delivery.delivery_id(number) for number in done]
        return delivery_pb2.AcknowledgeDeliveriesResponse(delivery_ids=ids)

"""Wires the service of endpoints and deliveries."""

from __future__ import annotations

import ipaddress

import grpc

from core.domain import destinations
from core.settings import Settings
from core.storage.mysql.delivery_queue import MySQLDeliveryQueue
from core.storage.mysql.endpoints import MySQLEndpointStore
from core.storage.mysql.reader import PrimaryReader
from core.storage.mysql.topology import Topology
from server.handlers import delivery
from server.interceptors import Guard
from server.services.delivery import DeliveryService, Targets
from server.services.sellers import SellerDirectory
from server.wiring.clock import now_us


def delivery_handler(
    guard: Guard, config: Settings, topology: Topology, sellers: SellerDirectory
) -> grpc.GenericRpcHandler:
    """The handler of the DeliveryService; the sending itself is the workers'."""
    networks = [ipaddress.ip_network(network) for network in config.delivery.allowed_networks]
    service = DeliveryService(
        store=MySQLEndpointStore(primary=topology.primary),
        queue=MySQLDeliveryQueue(primary=topology.primary),
        invoices=PrimaryReader(primary=topology.primary),
        sellers=sellers,
        targets=Targets(
            guard=destinations.Guard(networks),
            allow_http=config.delivery.allow_http,
            email=bool(config.delivery.smtp_host),
            sms=bool(config.delivery.sms_url),
        ),
        now_us=now_us,
        wait_max_ms=config.server.commit_wait_max_ms,
    )
    return guard.handlers(delivery.SERVICE, delivery.DeliveryHandlers(delivery=service), delivery.ACCESS)

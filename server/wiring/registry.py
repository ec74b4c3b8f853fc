"""Wires the service of tenants, keys, sellers, number ranges and credit quotas."""

from __future__ import annotations

import grpc

from core.storage.mysql.quotas import MySQLQuotaStore
from core.storage.mysql.registry import MySQLRegistryStore
from core.storage.mysql.topology import Topology
from server.handlers import registry
from server.interceptors import Guard
from server.services.credit_quota import CreditQuotaService
from server.services.registry import RegistryService
from server.services.sellers import SellerDirectory
from server.wiring.clock import now_us


def registry_handler(
    guard: Guard, topology: Topology, store: MySQLRegistryStore, sellers: SellerDirectory, wait_max_ms: int
) -> grpc.GenericRpcHandler:
    """Builds the service of tenants, keys, sellers, number ranges and credit quotas."""
    quotas = MySQLQuotaStore(primary=topology.primary, now_us=now_us)
    handlers = registry.RegistryHandlers(
        registry=RegistryService(store=store, sellers=sellers, now_us=now_us, wait_max_ms=wait_max_ms),
        quotas=CreditQuotaService(store=quotas, sellers=sellers, wait_max_ms=wait_max_ms),
    )
    return guard.handlers(registry.SERVICE, handlers, registry.ACCESS)

"""Which senders a worker has: those that the settings switch on."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from core.settings import Address, DeliverySettings, MySQLSettings, ObjectStoreSettings, RedisSettings, Settings
from core.storage.delivery_port import EndpointKind
from core.storage.memory.objects import MemoryObjectStore
from core.storage.mysql.topology import Topology
from workers.bootstrap import _senders


@pytest.mark.parametrize(
    ("delivery", "kinds"),
    [
        (DeliverySettings(), {EndpointKind.WEBHOOK}),
        (DeliverySettings(smtp_host="relay.example"), {EndpointKind.WEBHOOK, EndpointKind.EMAIL}),
        (
            DeliverySettings(sms_url="https://sms.example/send", sms_token="t"),
            {EndpointKind.WEBHOOK, EndpointKind.SMS},
        ),
    ],
    ids=["webhooks", "e-mail", "sms"],
)
async def test_a_kind_is_sent_when_it_is_switched_on(delivery: DeliverySettings, kinds: set[EndpointKind]) -> None:
    settings = Settings(
        mysql=MySQLSettings(primary=Address("127.0.0.1", 1), user="u", password="p"),
        redis=RedisSettings(url="redis://127.0.0.1:1"),
        object_store=ObjectStoreSettings(endpoint="http://127.0.0.1:1", access_key="a", secret_key="s"),
        delivery=delivery,
    )
    async with AsyncExitStack() as stack:
        topology = Topology(settings=settings.mysql)
        stack.push_async_callback(topology.close)
        assert set(_senders(settings, topology, MemoryObjectStore(), stack)) == kinds

# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""Endpoints and their deliveries on MySQL, as the service needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pymysql

from core.limits import ENDPOINTS_OF_SELLER_MAX
from core.storage.delivery_port import (
    Attempt,
    Delivery,
    DeliveryFilter,
    DeliveryState,
    Endpoint,
    EndpointState,
    endpoints_exhausted,
)
from core.storage.mysql import delivery_rows
from core.storage.mysql.batch_feed import NOW_US
from core.storage.mysql.pool import DUPLICATE_KEY, Primary, rows

_DELIVERIES: Final = (
    f"SELECT {delivery_rows.DELIVERY} FROM deliveries d JOIN delivery_endpoints e ON e.endpoint_key = d.endpoint_key"
)
_PENDING, _DELIVERED = int(DeliveryState.PENDING), int(DeliveryState.DELIVERED)


class MySQLEndpointStore:
    """The EndpointStore of core/storage/delivery_port.py. `primary` is asked for the primary before every use."""

    def __init__(self, *, primary: Callable[[], Primary]) -> None:
        self._primary = primary

    async def create_endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Stores an endpoint; see the port."""
        primary = self._primary()
        sql = (
            "INSERT INTO delivery_endpoints (endpoint_id, seller_key, kind, target, every_invoice, state,"
            " state_reason, secret, old_secret, old_secret_until_us, created_at_us, since_us, formats)"
            " SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s FROM DUAL"
            " WHERE (SELECT COUNT(*) FROM delivery_endpoints WHERE seller_key = %s) < %s"
        )
        values = (
            endpoint.endpoint_id,
            endpoint.seller_key,
            int(endpoint.kind),
            endpoint.target.encode(),
            endpoint.every_invoice,
            int(endpoint.state),
            endpoint.state_reason.encode(),
            endpoint.secret,
            endpoint.old_secret,
            endpoint.old_secret_until_us,
            endpoint.created_at_us,
            endpoint.created_at_us,
            ",".join(endpoint.formats),
            endpoint.seller_key,
            ENDPOINTS_OF_SELLER_MAX,
        )
        try:
            added = (await primary.write(sql, values)).rows
        except pymysql.err.IntegrityError as error:
            if error.args[0] != DUPLICATE_KEY:
                raise
            added = 0
        sql = f"SELECT {delivery_rows.ENDPOINT} FROM delivery_endpoints e WHERE e.endpoint_id = %s"
        found = await primary.rows(sql, (endpoint.endpoint_id,))
        if not found:
            raise endpoints_exhausted(ENDPOINTS_OF_SELLER_MAX)
        if not added:  # by an earlier try of the same call: the answer rests on it as on a commit (docs/adr/0029)
            await primary.confirm()
        return delivery_rows.endpoint(found[0])

    async def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Reads an endpoint; see the port."""
        found = await self._endpoints("WHERE e.endpoint_id = %s", (endpoint_id,))
        return found[0] if found else None

    async def endpoints(self, seller_key: int, *, after: str, items_max: int) -> list[Endpoint]:
        """Lists endpoints; see the port."""
        tail = "WHERE e.seller_key = %s AND e.endpoint_id > %s ORDER BY e.endpoint_id LIMIT %s"
        return await self._endpoints(tail, (seller_key, after, items_max))

    async def _endpoints(self, tail: str, arguments: Sequence[Any]) -> list[Endpoint]:
        sql = f"SELECT {delivery_rows.ENDPOINT} FROM delivery_endpoints e {tail}"
        return [delivery_rows.endpoint(row) for row in await self._primary().rows(sql, arguments)]

    async def set_state(self, endpoint_key: int, state: EndpointState, reason: str) -> None:
        """Enables or disables; see the port."""
        again = ""
        if state is EndpointState.ACTIVE:  # assignments are made from left to right: `state` is still the former one
            again = f"since_us = IF(state = {int(state):d}, since_us, {NOW_US}), failures = 0, open_until_us = 0, "
        await self._primary().write(
            f"UPDATE delivery_endpoints SET {again}state = %s, state_reason = %s WHERE endpoint_key = %s",
            (int(state), reason.encode(), endpoint_key),
        )

    async def rotate(self, endpoint_key: int, secret: bytes, *, old_until_us: int) -> None:
        """Gives a new secret; see the port."""
        primary = self._primary()
        done = await primary.write(  # assignments are made from left to right
            "UPDATE delivery_endpoints SET old_secret = secret, old_secret_until_us = %s, secret = %s"
            " WHERE endpoint_key = %s AND secret <> %s",
            (old_until_us, secret, endpoint_key, secret),
        )
        if not done.rows:  # an earlier try of the same call gave it, and a replica must have that (docs/adr/0029)
            await primary.confirm()

    async def deliver(self, endpoint: Endpoint, numbers: Sequence[str], *, now_us: int) -> None:
        """Orders deliveries; see the port."""
        places = ",".join(["(%s, %s, %s, %s, %s, %s)"] * len(numbers))
        values: list[Any] = []
        for number in numbers:
            values += [endpoint.seller_key, endpoint.endpoint_key, number, _PENDING, now_us, now_us]
        await self._primary().write(
            "INSERT INTO deliveries (seller_key, endpoint_key, number, state, due_at_us, created_at_us)"
            f" VALUES {places} ON DUPLICATE KEY UPDATE delivery_id = delivery_id",
            values,
        )

    async def deliveries(self, wanted: DeliveryFilter) -> list[Delivery]:
        """Lists deliveries; see the port."""
        sql, values = f"{_DELIVERIES} WHERE d.seller_key = %s AND d.delivery_id > %s", [wanted.seller_key, wanted.after]
        for column, value in (
            ("d.number", wanted.number),
            ("e.endpoint_id", wanted.endpoint_id),
            ("d.state", wanted.state),
        ):
            if value:
                sql += f" AND {column} = %s"
                values.append(value)  # type: ignore[arg-type] # texts and numbers
        values.append(wanted.items_max)
        found = await self._primary().rows(f"{sql} ORDER BY d.delivery_id LIMIT %s", values)
        return [delivery_rows.delivery(row) for row in found]

    async def delivery(self, delivery_id: int) -> Delivery | None:
        """Reads a delivery; see the port."""
        found = await self._primary().rows(f"{_DELIVERIES} WHERE d.delivery_id = %s", (delivery_id,))
        return delivery_rows.delivery(found[0]) if found else None

    async def attempts(self, delivery_id: int) -> list[Attempt]:
        """Reads attempts; see the port."""
        found = await self._primary().rows(
            "SELECT attempt, at_us, duration_us, delivered, code, detail FROM delivery_attempts"
            " WHERE delivery_id = %s ORDER BY attempt",
            (delivery_id,),
        )
        return [delivery_rows.attempt(row) for row in found]

    async def redeliver(self, delivery_id: int, *, now_us: int) -> None:
        """Makes a delivery due; see the port."""
        await self._primary().write(
            "UPDATE deliveries SET state = %s, tries = 0, due_at_us = %s, lease_owner = NULL, finished_at_us = NULL"
            " WHERE delivery_id = %s",
            (_PENDING, now_us, delivery_id),
        )

    async def acknowledge(self, endpoint_key: int, delivery_ids: Sequence[int], *, now_us: int) -> list[int]:
        """Finishes deliveries of a pull endpoint; see the port."""
        if not delivery_ids:
            return []
        places = ",".join(["%s"] * len(delivery_ids))
        primary = self._primary()
        async with primary.connection() as connection:
            await primary.begin(connection)
            locked = await rows(
                connection,
                "SELECT delivery_id, state, attempts FROM deliveries"
                f" WHERE endpoint_key = %s AND delivery_id IN ({places}) ORDER BY delivery_id FOR UPDATE",
                (endpoint_key, *delivery_ids),
            )
            fresh = [row for row in locked if row[1] != _DELIVERED]
            if fresh:
                values: list[Any] = []
                for delivery_id, _, attempts in fresh:
                    values += [delivery_id, attempts + 1, now_us, b"acknowledged"]
                await rows(
                    connection,
                    "INSERT INTO delivery_attempts (delivery_id, attempt, at_us, duration_us, delivered, code, detail)"
                    f" VALUES {','.join(['(%s, %s, %s, 0, 1, 0, %s)'] * len(fresh))}",
                    values,
                )
                await rows(
                    connection,
                    "UPDATE deliveries SET state = %s, due_at_us = NULL, lease_owner = NULL, finished_at_us = %s,"
                    f" attempts = attempts + 1 WHERE delivery_id IN ({','.join(['%s'] * len(fresh))})",
                    (_DELIVERED, now_us, *(row[0] for row in fresh)),
                )
            await connection.commit()
        return [row[0] for row in locked]

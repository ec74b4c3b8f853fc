"""Delivery: every invoice that a standing rule wants is ordered, and every delivery accounted for by its attempts."""

from __future__ import annotations

from typing import Final, NamedTuple

from admin.audit.check import Check, Sources
from core.domain.webhooks import SCHEDULE_MS, schedule_length_ms
from core.storage.delivery_port import DeliveryState, EndpointKind, EndpointState
from core.storage.mysql.batch_feed import NOW_US

SINCE_SLACK_US: Final = 5_000_000  # clocks of servers and database may differ so much
PAGE_ENDPOINTS: Final = 1_000
PAGE_DELIVERIES: Final = 10_000
_PENDING, _DELIVERED = int(DeliveryState.PENDING), int(DeliveryState.DELIVERED)

RULES: Final = (
    "SELECT e.endpoint_key, e.endpoint_id, COUNT(i.number), COUNT(d.delivery_id) FROM"
    " (SELECT endpoint_key, endpoint_id, seller_key, since_us FROM delivery_endpoints"
    "  WHERE endpoint_key > %s AND every_invoice AND state = %s ORDER BY endpoint_key LIMIT %s) e"
    " JOIN seller_runs r ON r.seller_key = e.seller_key AND r.issued_at_us >= e.since_us + %s"
    " JOIN invoices i ON i.number BETWEEN r.first_number AND r.last_number"
    " JOIN batches b ON b.batch_id = i.batch_id"
    " LEFT JOIN batch_feeds f ON f.consumer = 'delivery' AND b.batch_id <= f.through_batch_id"
    " LEFT JOIN batch_feed_done n ON n.consumer = 'delivery' AND n.batch_id = b.batch_id"
    " LEFT JOIN deliveries d ON d.endpoint_key = e.endpoint_key AND d.number = i.number"
    " WHERE f.consumer IS NOT NULL OR n.batch_id IS NOT NULL"
    " GROUP BY e.endpoint_key, e.endpoint_id ORDER BY e.endpoint_key"
)
LAST_RULE: Final = (
    "SELECT MAX(endpoint_key) FROM (SELECT endpoint_key FROM delivery_endpoints"
    " WHERE endpoint_key > %s AND every_invoice AND state = %s ORDER BY endpoint_key LIMIT %s) e"
)
DELIVERIES: Final = (
    "SELECT d.delivery_id, d.state, d.attempts, d.due_at_us IS NOT NULL, d.finished_at_us IS NOT NULL,"
    " i.seller_key = d.seller_key, e.seller_key = d.seller_key, COUNT(a.attempt), COALESCE(SUM(a.delivered), 0) FROM"
    " (SELECT delivery_id, seller_key, endpoint_key, number, state, attempts, due_at_us, finished_at_us"
    "  FROM deliveries WHERE delivery_id > %s ORDER BY delivery_id LIMIT %s) d"
    " LEFT JOIN invoices i ON i.number = d.number"
    " LEFT JOIN delivery_endpoints e ON e.endpoint_key = d.endpoint_key"
    " LEFT JOIN delivery_attempts a ON a.delivery_id = d.delivery_id"
    " GROUP BY d.delivery_id, d.state, d.attempts, d.due_at_us, d.finished_at_us, i.seller_key, e.seller_key,"
    " d.seller_key ORDER BY d.delivery_id"
)

# due for so long is nothing that is sent: it is delivered, or given up (workers/deliver.py)
LATE_US: Final = (schedule_length_ms(SCHEDULE_MS) + 86_400_000) * 1_000
LATE: Final = (
    "SELECT e.endpoint_id, COUNT(*) FROM delivery_endpoints e"  # noqa: S608 -- constants and placeholders
    " JOIN deliveries d FORCE INDEX (due) ON d.endpoint_key = e.endpoint_key"
    f" WHERE e.state = %s AND e.kind <> %s AND e.since_us <= {NOW_US} - %s AND d.due_at_us <= {NOW_US} - %s"
    " GROUP BY e.endpoint_id ORDER BY e.endpoint_id"
)


class Row(NamedTuple):
    """A delivery beside its invoice, endpoint and attempts; columns as in DELIVERIES."""

    delivery_id: int
    state: int
    attempts: int
    due: int
    finished: int
    own_invoice: int
    own_endpoint: int
    noted: int
    taken: int


class DeliveriesCheck(Check):
    """Standing rules have been followed; what is delivered was taken once, what is pending is due, and not for ever."""

    name = "deliveries are accounted for"
    promise = "delivery"

    async def finish(self, sources: Sources) -> None:
        """Walks rules and deliveries in pages."""
        await self._rules(sources)
        after = 0
        while found := await sources.snapshot.rows(DELIVERIES, (after, PAGE_DELIVERIES)):
            after = int(found[-1][0])
            for row in found:
                self.report.examined += 1
                self._look(Row(*map(_integer, row)))
        await self._late(sources)

    async def _late(self, sources: Sources) -> None:
        """Finds what nobody sends and nobody gives up; disabled endpoints and pull queues may let theirs lie."""
        active, pull = int(EndpointState.ACTIVE), int(EndpointKind.PULL)
        for endpoint_id, late in await sources.snapshot.rows(LATE, (active, pull, LATE_US, LATE_US)):
            self.report.add(f"endpoint {endpoint_id}", f"{late} deliveries are due for longer than a schedule lasts")

    async def _rules(self, sources: Sources) -> None:
        """Compares the invoices of batches that were fanned out with the deliveries of active standing rules."""
        after, active = 0, int(EndpointState.ACTIVE)
        while (last := await sources.snapshot.value(LAST_RULE, (after, active, PAGE_ENDPOINTS))) is not None:
            rows = await sources.snapshot.rows(RULES, (after, active, PAGE_ENDPOINTS, SINCE_SLACK_US))
            for _, endpoint_id, invoices, deliveries in rows:
                if invoices != deliveries:
                    words = f"wants every invoice: {invoices} there are, {deliveries} deliveries"
                    self.report.add(f"endpoint {endpoint_id}", words)
            after = int(last)

    def _look(self, row: Row) -> None:
        """Judges one delivery."""
        subject = f"delivery dlv_{row.delivery_id}"
        if not row.own_invoice or not row.own_endpoint:
            self.report.add(subject, "its invoice or endpoint is not of its seller")
        if row.noted != row.attempts:
            self.report.add(subject, f"{row.attempts} attempts are counted, {row.noted} are noted")
        if row.state == _DELIVERED and not row.taken:
            self.report.add(subject, "is delivered, and no attempt was")
        if (row.state == _PENDING) != bool(row.due) or (row.state == _PENDING) == bool(row.finished):
            self.report.add(subject, "its times do not go with its state")


def _integer(value: object) -> int:
    """A number as MySQL gives it (NULL is 0, sums are decimals)."""
    return int(str(value)) if value is not None else 0

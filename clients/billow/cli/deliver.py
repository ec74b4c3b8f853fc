"""`billow deliver`: endpoints, deliveries, the pull queue."""

import click

from billow import (
    DELIVERY_STATE_DELIVERED,
    DELIVERY_STATE_FAILED,
    DELIVERY_STATE_PENDING,
    DELIVERY_STATE_UNSPECIFIED,
    ENDPOINT_KIND_EMAIL,
    ENDPOINT_KIND_PULL,
    ENDPOINT_KIND_SMS,
    ENDPOINT_KIND_WEBHOOK,
    Attempt,
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointKind,
    EndpointState,
)

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .show import moment, print_json, print_message, print_table, say

KINDS = {
    "webhook": ENDPOINT_KIND_WEBHOOK,
    "pull": ENDPOINT_KIND_PULL,
    "email": ENDPOINT_KIND_EMAIL,
    "sms": ENDPOINT_KIND_SMS,
}
FORMATS = ("pdf", "xml", "ofd")
STATES = {
    "pending": DELIVERY_STATE_PENDING,
    "delivered": DELIVERY_STATE_DELIVERED,
    "failed": DELIVERY_STATE_FAILED,
}
ENDPOINT_COLUMNS = (
    *("endpoint", "seller", "kind", "target", "every invoice", "carries"),
    *("state", "failures", "created"),
)
DELIVERY_COLUMNS = ("delivery", "endpoint", "number", "state", "attempts", "due", "finished")
ATTEMPT_COLUMNS = ("attempt", "time", "ms", "result", "code", "detail")


@click.group(epilog=EXIT_CODES_HELP, short_help="Deliver invoices: webhooks, e-mail, SMS, pull queues.")
def deliver() -> None:
    """Deliver invoices to endpoints of a seller, and see what became of it.

    An endpoint gets every invoice of its seller (--every-invoice), or those given to `billow deliver invoice`.
    """


@deliver.command("add")
@click.argument("seller_id")
@click.argument("kind", type=click.Choice(tuple(KINDS)))
@click.argument("where", default="")
@click.option("--every-invoice", is_flag=True, help="Deliver every invoice issued from now on.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    help="What an e-mail carries; may be given several times. Default: pdf and xml.",
)
@connected
async def add(
    connection: Connection, *, seller_id: str, kind: str, where: str, every_invoice: bool, formats: tuple[str, ...]
) -> Exit:
    """Add an endpoint: WHERE is a webhook's https URL, an e-mail address or a telephone; a pull queue has none.

    A webhook's secret is printed this once, and never again.
    """
    async with connection.client() as client:
        made = await client.deliveries.create_endpoint(
            seller_id, kind=KINDS[kind], target=where, every_invoice=every_invoice, formats=formats
        )
    if connection.as_json:
        print_message(made)
        return Exit.OK
    print_table(ENDPOINT_COLUMNS, [_endpoint_row(made.endpoint)])
    _show_secret(made.secret)
    return Exit.OK


@deliver.command("endpoints")
@click.argument("seller_id")
@connected
async def endpoints(connection: Connection, *, seller_id: str) -> Exit:
    """List a seller's endpoints."""
    rows = []
    async with connection.client() as client:
        async for found in client.deliveries.list_endpoints(seller_id):
            if connection.as_json:
                print_message(found)
            else:
                rows.append(_endpoint_row(found))
    if not connection.as_json:
        print_table(ENDPOINT_COLUMNS, rows, right=frozenset(("failures",)))
    return Exit.OK


@deliver.command("disable")
@click.argument("endpoint_id")
@connected
async def disable(connection: Connection, *, endpoint_id: str) -> Exit:
    """Stop an endpoint; what it has waits."""
    async with connection.client() as client:
        return _show_endpoint(connection, await client.deliveries.disable_endpoint(endpoint_id))


@deliver.command("enable")
@click.argument("endpoint_id")
@connected
async def enable(connection: Connection, *, endpoint_id: str) -> Exit:
    """Let a disabled endpoint go on."""
    async with connection.client() as client:
        return _show_endpoint(connection, await client.deliveries.enable_endpoint(endpoint_id))


@deliver.command("rotate")
@click.argument("endpoint_id")
@connected
async def rotate(connection: Connection, *, endpoint_id: str) -> Exit:
    """Give a webhook a new secret; the old one signs too for 24 hours."""
    async with connection.client() as client:
        rotated = await client.deliveries.rotate_secret(endpoint_id)
    if connection.as_json:
        print_message(rotated)
    else:
        _show_secret(rotated.secret)
    return Exit.OK


@deliver.command("invoice")
@click.argument("number")
@click.argument("endpoint_id")
@connected
async def invoice(connection: Connection, *, number: str, endpoint_id: str) -> Exit:
    """Deliver one invoice to one endpoint."""
    async with connection.client() as client:
        return _show_delivery(connection, await client.deliveries.deliver(number, endpoint_id))


@deliver.command("list")
@click.argument("seller_id")
@click.option("--number", default="", help="Only of this invoice.")
@click.option("--endpoint", "endpoint_id", default="", metavar="ID", help="Only of this endpoint.")
@click.option("--state", type=click.Choice(tuple(STATES)), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Most to show.")
@connected
async def listing(
    connection: Connection, *, seller_id: str, number: str, endpoint_id: str, state: str | None, limit: int
) -> Exit:
    """List a seller's deliveries, oldest first."""
    rows = []
    wanted = STATES[state] if state else DELIVERY_STATE_UNSPECIFIED
    async with connection.client() as client:
        found = client.deliveries.list_deliveries(seller_id, number=number, endpoint_id=endpoint_id, state=wanted)
        async for delivery in found:
            if connection.as_json:
                print_message(delivery)
            else:
                rows.append(_delivery_row(delivery))
            limit -= 1
            if not limit:
                break
    if not connection.as_json:
        print_table(DELIVERY_COLUMNS, rows, right=frozenset(("attempts",)))
    return Exit.OK


@deliver.command("show")
@click.argument("delivery_id")
@connected
async def show(connection: Connection, *, delivery_id: str) -> Exit:
    """Show a delivery with all its attempts."""
    async with connection.client() as client:
        found = await client.deliveries.get(delivery_id)
    if connection.as_json:
        print_message(found)
        return Exit.OK
    print_table(DELIVERY_COLUMNS, [_delivery_row(found.delivery)])
    print_table(ATTEMPT_COLUMNS, [_attempt_row(item) for item in found.attempts], right=frozenset(("ms",)))
    return Exit.OK


@deliver.command("again")
@click.argument("delivery_id")
@connected
async def again(connection: Connection, *, delivery_id: str) -> Exit:
    """Deliver again, whatever became of it, with the same id."""
    async with connection.client() as client:
        return _show_delivery(connection, await client.deliveries.redeliver(delivery_id))


@deliver.command("claim")
@click.argument("endpoint_id")
@click.option("--max", "max_items", type=click.IntRange(1, 1_000), default=100, show_default=True, help="Most to take.")
@click.option("--lease", "lease_s", type=click.IntRange(1, 43_200), default=60, show_default=True, help="Seconds.")
@connected
async def claim(connection: Connection, *, endpoint_id: str, max_items: int, lease_s: int) -> Exit:
    """Lease deliveries of a pull queue; acknowledge them within the lease, or they come again."""
    async with connection.client() as client:
        taken = await client.deliveries.claim(endpoint_id, max_items=max_items, lease_ms=lease_s * 1_000)
    if connection.as_json:
        for item in taken:
            print_message(item)
        return Exit.OK
    print_table(("delivery", "number"), [(item.delivery_id, item.invoice.number) for item in taken])
    return Exit.OK


@deliver.command("ack")
@click.argument("endpoint_id")
@click.argument("delivery_ids", nargs=-1, required=True)
@connected
async def acknowledge(connection: Connection, *, endpoint_id: str, delivery_ids: tuple[str, ...]) -> Exit:
    """Say that deliveries of a pull queue have arrived."""
    async with connection.client() as client:
        done = await client.deliveries.acknowledge(endpoint_id, delivery_ids)
    if connection.as_json:
        print_json({"deliveryIds": list(done)})
    else:
        say(f"{len(done)} of {len(set(delivery_ids))} acknowledged")
    return Exit.OK if len(done) == len(set(delivery_ids)) else Exit.REFUSED


def _show_secret(secret: str) -> None:
    if secret:
        print(secret)  # the one thing on standard output that a script wants
        say("This secret is shown only now: the receiver verifies signatures with it.")


def _show_endpoint(connection: Connection, found: Endpoint) -> Exit:
    if connection.as_json:
        print_message(found)
    else:
        print_table(ENDPOINT_COLUMNS, [_endpoint_row(found)])
    return Exit.OK


def _show_delivery(connection: Connection, found: Delivery) -> Exit:
    if connection.as_json:
        print_message(found)
    else:
        print_table(DELIVERY_COLUMNS, [_delivery_row(found)])
    return Exit.OK


def _endpoint_row(found: Endpoint) -> tuple[str, ...]:
    return (
        found.endpoint_id,
        found.seller_id,
        EndpointKind.Name(found.kind).removeprefix("ENDPOINT_KIND_").lower(),
        found.target,
        "yes" if found.every_invoice else "no",
        " ".join(found.formats),
        EndpointState.Name(found.state).removeprefix("ENDPOINT_STATE_").lower(),
        str(found.failures),
        moment(found.create_time),
    )


def _delivery_row(found: Delivery) -> tuple[str, ...]:
    return (
        found.delivery_id,
        found.endpoint_id,
        found.number,
        DeliveryState.Name(found.state).removeprefix("DELIVERY_STATE_").lower(),
        str(found.attempt_count),
        moment(found.due_time),
        moment(found.finish_time),
    )


def _attempt_row(found: Attempt) -> tuple[str, ...]:
    result = "delivered" if found.delivered else "failed"
    code = str(found.code) if found.code else ""
    return str(found.attempt), moment(found.time), str(found.duration_ms), result, code, found.detail

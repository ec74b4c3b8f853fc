"""`billow-admin epoch`: what fences an old primary off, for databases whose failover Billow does not do itself."""

from __future__ import annotations

import dataclasses

import click

from admin.command import fail, json_option, print_json, print_table, run, settings_option
from core.domain.errors import BillowError
from core.settings import Address, MySQLSettings, Settings
from core.storage.mysql.pool import Node, read, rows


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A node, and what it says of itself; `epoch` is -1 when it does not answer."""

    address: str
    epoch: int
    writable: bool


@click.group()
def epoch() -> None:
    """Show or raise the epoch; a failover's hook raises it on the node that was promoted."""


@epoch.command("show")
@settings_option
@json_option
def show(*, settings: Settings, as_json: bool) -> None:
    """Show the epoch of every node, and who takes writes."""
    seen = run(_look(settings.mysql))
    if as_json:
        print_json({"nodes": [dataclasses.asdict(item) for item in seen]})
    else:
        print_table("epochs", ("node", "epoch", "writes"), [(s.address, s.epoch, str(s.writable)) for s in seen])


@epoch.command("raise")
@click.option("--node", required=True, metavar="HOST:PORT", help="The node that was promoted and takes writes.")
@settings_option
@json_option
def raise_(*, node: str, settings: Settings, as_json: bool) -> None:
    """Raise the epoch above that of every node that answers. Processes then write to this node and to no other."""
    try:
        address = Address.parse(node)
    except ValueError as error:
        fail(str(error))
    if address not in _addresses(settings.mysql):
        fail(f"{node} is none of the nodes in the settings")
    raised = run(_raise(settings.mysql, address))
    if as_json:
        print_json({"node": node, "epoch": raised})
    else:
        click.echo(f"epoch {raised} on {node}")


def _addresses(mysql: MySQLSettings) -> tuple[Address, ...]:
    return tuple(dict.fromkeys((mysql.primary, *mysql.replicas)))


async def _look(mysql: MySQLSettings) -> list[Seen]:
    """Asks every node."""
    seen: list[Seen] = []
    for address in _addresses(mysql):
        node = Node(mysql, address)
        try:
            (found,) = await read(node, "SELECT epoch, @@GLOBAL.read_only FROM fencing")
            seen.append(Seen(f"{address.host}:{address.port}", found[0], not found[1]))
        except BillowError:
            seen.append(Seen(f"{address.host}:{address.port}", -1, writable=False))
        finally:
            node.drop()
    return seen


async def _raise(mysql: MySQLSettings, address: Address) -> int:
    """Raises the epoch on a node; returns when a replica has received that, as with every commit."""
    highest = max(item.epoch for item in await _look(mysql))
    admin = dataclasses.replace(
        mysql, user=mysql.admin_user or mysql.user, password=mysql.admin_password or mysql.password
    )
    node = Node(admin, address)
    try:
        async with node.connection() as connection:
            await rows(connection, "UPDATE fencing SET epoch = GREATEST(epoch, %s) + 1", (highest,))
            return int((await rows(connection, "SELECT epoch FROM fencing"))[0][0])
    finally:
        node.drop()

"""The proxies of a run: one before each database node, Redis, the object store, Envoy and each server (docs/chaos.md).

Servers, workers and web processes find the first three by the settings file, and the clients of the load find Envoy's.
Envoy goes straight to the servers, and replicas to the primary, and through proxies only while a fault asks for it: the
stack writes Envoy's list of servers anew whenever one starts, and replication whenever it changes. Health checks and
the comparison never go through a proxy.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil

from stack import Stack, StackError, cache, edge, replication
from stack.state import write
from tests.chaos.faults.fault import LONG_S, Site
from tests.chaos.proxy import Link, Loop, Proxy

PORT: Final = re.compile(r"(?<=@127\.0\.0\.1:)\d+")
SEEN_S: Final = 30.0


@dataclass(slots=True)
class Proxies:
    """By what they stand before."""

    nodes: dict[str, Proxy]
    redis: Proxy
    s3: Proxy
    edge: Proxy
    loop: Loop


_OPEN: Final[dict[Path, Proxies]] = {}  # by the stack's folder


def of(site: Site) -> Proxies:
    """The proxies of a site's stack; raises StackError when there are none."""
    found = _OPEN.get(site.stack.folder.root)
    if found is None:
        raise StackError("no proxies stand between the parts of this stack")
    return found


def edge_address(stack: Stack) -> str:
    """Where the clients of the load find Envoy."""
    found = _OPEN.get(stack.folder.root)
    return f"127.0.0.1:{found.edge.port}" if found else f"{stack.envoy.host}:{stack.envoy.port}"


@contextmanager
def wire(stack: Stack) -> Iterator[dict[str, dict[str, Any]]]:
    """Opens the proxies; yields what to write into the settings. See tests/chaos/wiring.py."""
    state = stack.state
    with ExitStack() as opened:
        loop = opened.enter_context(Loop())

        def proxy(name: str) -> Proxy:
            made = Proxy(target=state.ports[name], loop=loop)
            made.open()
            opened.callback(made.close)
            return made

        nodes = {node: proxy(node) for node in state.nodes}
        proxies = Proxies(nodes, proxy("redis"), proxy("s3"), proxy("envoy"), loop)
        _OPEN[stack.folder.root] = proxies
        opened.callback(_OPEN.pop, stack.folder.root)
        ports = {node: f"127.0.0.1:{made.port}" for node, made in proxies.nodes.items()}
        yield {
            # first guesses only: who is the primary is found out by looking, also after a failover
            "mysql": {"primary": ports[state.primary], "replicas": [ports[node] for node in state.others]},
            "redis": {"url": PORT.sub(str(proxies.redis.port), cache.url(state))},
            "object_store": {"endpoint": f"http://127.0.0.1:{proxies.s3.port}"},
        }


@contextmanager
def before_servers(site: Site) -> Iterator[list[Proxy]]:
    """Lets Envoy reach the servers through proxies; in the end it goes straight to them again. Both take a second.

    What Envoy shall no longer use is named as draining: it keeps servers that are healthy though they are left out.
    """
    stack, loop = site.stack, of(site).loop
    straight = {name: stack.state.ports[name] for name in site.names("server")}
    with ExitStack() as opened:
        opened.callback(edge.write_endpoints, stack.folder, stack.state)
        made = {name: Proxy(target=port, loop=loop) for name, port in straight.items()}
        for proxy in made.values():
            proxy.open()
            opened.callback(proxy.close)
        through = {name: proxy.port for name, proxy in made.items()}
        opened.callback(_point, stack, to=straight, draining=through)
        _point(stack, to=through, draining=straight)
        yield list(made.values())


@contextmanager
def before_primary(site: Site) -> Iterator[list[Proxy]]:
    """Lets each replica follow the primary through a proxy of its own; in the end they follow it straight again."""
    stack, loop = site.stack, of(site).loop
    with ExitStack() as opened:
        opened.callback(_follow_straight, site)
        made = []
        for node in site.replicas():
            proxy = Proxy(target=stack.state.ports[site.primary], loop=loop)
            proxy.open()
            opened.callback(proxy.close)
            with site.sql(node) as cursor:
                cursor.execute("STOP SLAVE")
                cursor.execute("CHANGE MASTER TO MASTER_PORT = %s", (proxy.port,))
                cursor.execute("START SLAVE")
            replication.wait_joined(stack.folder, stack.state)
            made.append(proxy)
        yield made


def _follow_straight(site: Site) -> None:
    """Lets the replicas follow the primary as the stack has it."""
    for node in site.replicas():
        with site.sql(node, read_s=LONG_S) as cursor:
            replication.follow(cursor, site.stack.state)


def _point(stack: Stack, *, to: dict[str, int], draining: dict[str, int]) -> None:
    """Tells Envoy where to find servers and where no more, and waits until it does so."""
    answer = edge.render_endpoints(replace(stack.state, ports={**stack.state.ports, **to}))
    endpoints: list[dict[str, Any]] = answer["resources"][0]["endpoints"][0]["lb_endpoints"]
    for port in draining.values():
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        endpoints.append({"health_status": "DRAINING", "endpoint": {"address": address}})
    write(stack.folder.envoy / "endpoints" / f"{edge.CLUSTER}.json", json.dumps(answer))
    deadline = time.monotonic() + SEEN_S
    while _used(stack) != set(to.values()):
        if time.monotonic() > deadline:
            raise StackError(f"Envoy uses servers at {_used(stack)}, not at {to}")
        time.sleep(0.05)


def _used(stack: Stack) -> set[int]:
    """The ports at which Envoy sends calls to servers now."""
    text = edge.admin(stack.state, "clusters?format=json")
    return {
        host["address"]["socket_address"]["port_value"]
        for cluster in json.loads(text or "{}").get("cluster_statuses", [])
        if cluster["name"] == edge.CLUSTER
        for host in cluster.get("host_statuses", [])
        if set(host["health_status"]) <= {"eds_health_status"}
        and host["health_status"].get("eds_health_status") != "DRAINING"
    }


def caller(site: Site, link: Link) -> str:
    """The process of the stack at the other end of a connection to a proxy; raises StackError when it is gone."""
    port = link.caller_port
    for name, known in site.stack.status().items():
        try:
            connections = psutil.Process(known.pid).net_connections(kind="tcp4") if known.pid else []
        except psutil.Error:
            continue
        if any(item.laddr and item.laddr.port == port for item in connections):
            return name
    raise StackError(f"nobody calls from port {port} any more")

"""Several Redis of one test's own: a master and its replica with sentinels, and a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from core.settings import Address, RedisSettings
from core.storage.redis.keys import run_key
from tests.support.redis_server import RedisServer, free_port

PATIENCE_S = 90.0  # of a machine with other things to do; a sentinel that was held up does nothing for 30 s (TILT)
MASTER_NAME = "cache"
PASSWORD, SENTINEL_PASSWORD = "of-the-nodes", "of-the-sentinels"
TIMEOUT_MS = 2_000
SLOTS = ((0, 7_499), (7_500, 7_799), (7_800, 16_383))  # {wake} and {c}, {v}, {r}: every node has a family, one has two

SENTINEL_CONFIG = """\
port {port}
bind 127.0.0.1
dir {folder}
requirepass {password}
sentinel sentinel-pass {password}
sentinel monitor {name} 127.0.0.1 {master_port} 2
sentinel auth-pass {name} {master_password}
sentinel down-after-milliseconds {name} 1000
sentinel failover-timeout {name} 5000
"""


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    """Waits for what servers do by themselves."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, f"in vain: {what}"
        time.sleep(0.05)


def ask(client: redis.Redis, *command: str | int) -> Any:
    """Sends a command that redis-py has no method for."""
    return client.execute_command(*command)  # type: ignore[no-untyped-call]  # it has no annotations


def address(server: RedisServer) -> Address:
    """Where a server is."""
    return Address("127.0.0.1", server.port)


class Sentinel(RedisServer):
    """A process that watches a master."""

    def __init__(self, folder: Path, *, master: RedisServer) -> None:
        self._master_port = master.port
        super().__init__(folder, password=SENTINEL_PASSWORD)

    def _command(self) -> list[str]:
        path = self._folder / f"sentinel-{self.port}.conf"
        if not path.exists():  # it keeps in it what it learns
            path.write_text(
                SENTINEL_CONFIG.format(
                    port=self.port,
                    folder=self._folder,
                    password=SENTINEL_PASSWORD,
                    name=MASTER_NAME,
                    master_port=self._master_port,
                    master_password=PASSWORD,
                )
            )
        return ["redis-server", str(path), "--sentinel"]

    def master_port(self) -> int:
        """Where the master is, by what it knows."""
        with self.client() as client:
            return int(ask(client, "SENTINEL GET-MASTER-ADDR-BY-NAME", MASTER_NAME)[1])

    def knows_all(self) -> bool:
        """Whether it could do a failover."""
        with self.client() as client:
            found = ask(client, "SENTINEL MASTERS")[MASTER_NAME]
        return int(found["num-other-sentinels"]) == 2 and int(found["num-slaves"]) == 1  # Redis's own word


@dataclass(frozen=True)
class SentinelGroup:
    """Two nodes, one of them the master, and three sentinels."""

    nodes: Sequence[RedisServer]
    sentinels: Sequence[Sentinel]

    def settings(self) -> RedisSettings:
        """How it is reached."""
        return RedisSettings(
            sentinels=tuple(address(sentinel) for sentinel in self.sentinels),
            sentinel_master=MASTER_NAME,
            sentinel_password=SENTINEL_PASSWORD,
            password=PASSWORD,
            connections=4,
            timeout_ms=TIMEOUT_MS,
        )

    def master_and_replica(self) -> tuple[RedisServer, RedisServer]:
        """Who is who now."""
        port = self.sentinels[0].master_port()
        first, second = self.nodes
        return (first, second) if first.port == port else (second, first)


@contextmanager
def sentinel_group(folder: Path) -> Iterator[SentinelGroup]:
    """Runs the group for the time of the block."""
    with ExitStack() as stack:
        options = ["--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"]
        master = RedisServer(folder, options=options, password=PASSWORD)
        stack.callback(master.stop)
        follow = ["--replicaof", f"127.0.0.1 {master.port}"]
        replica = RedisServer(folder, options=[*options, *follow], password=PASSWORD)
        stack.callback(replica.stop)
        with replica.client() as client:
            wait_until("replication", lambda: client.info("replication")["master_link_status"] == "up")
        sentinels = []
        for _ in range(3):
            sentinels.append(Sentinel(folder, master=master))
            stack.callback(sentinels[-1].stop)
        wait_until("acquaintance", lambda: all(sentinel.knows_all() for sentinel in sentinels))
        yield SentinelGroup((master, replica), sentinels)


class RedisCluster:
    """Three masters without replicas."""

    def __init__(self, nodes: Sequence[RedisServer]) -> None:
        self.nodes = nodes

    def settings(self) -> RedisSettings:
        """How it is reached: by one of them, the others are found."""
        return RedisSettings(cluster=(address(self.nodes[1]),), password=PASSWORD, connections=4, timeout_ms=TIMEOUT_MS)

    def form(self) -> None:
        """Makes the nodes one cluster and waits until all agree."""
        clients = [node.client() for node in self.nodes]
        for number, (client, slots) in enumerate(zip(clients, SLOTS, strict=True)):
            ask(client, "CLUSTER SET-CONFIG-EPOCH", number + 1)
            ask(client, "CLUSTER ADDSLOTSRANGE", *slots)
            bus = str(clients[0].config_get("cluster-port")["cluster-port"])
            ask(client, "CLUSTER MEET", "127.0.0.1", self.nodes[0].port, bus)
        wait_until("one cluster", lambda: all(self._whole(client) for client in clients))
        for client in clients:
            client.close()

    def _whole(self, client: redis.Redis) -> bool:
        info = ask(client, "CLUSTER INFO")
        return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self.nodes)))

    def node_of(self, family: str) -> RedisServer:
        """The node that holds a family, by its own word."""
        for node in self.nodes:
            with node.client() as client:
                try:
                    client.exists(run_key(family))
                except redis.ResponseError:  # MOVED
                    continue
                return node
        raise AssertionError(family)

    def move(self, family: str, target: RedisServer) -> None:
        """Moves the family's slot with all its keys to another node, as redis-cli's reshard does."""
        source, slot = self.node_of(family), key_slot(run_key(family).encode())
        with source.client() as giver, target.client() as taker:
            ids = [ask(client, "CLUSTER MYID").decode() for client in (giver, taker)]
            ask(taker, "CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
            ask(giver, "CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
            while names := ask(giver, "CLUSTER GETKEYSINSLOT", slot, 100):
                where = ("127.0.0.1", target.port, "", 0, TIMEOUT_MS, "AUTH", PASSWORD)
                ask(giver, "MIGRATE", *where, "KEYS", *names)
            for client in (taker, giver):
                ask(client, "CLUSTER SETSLOT", slot, "NODE", ids[1])


@contextmanager
def redis_cluster(folder: Path) -> Iterator[RedisCluster]:
    """Runs a cluster for the time of the block."""
    with ExitStack() as stack:
        nodes = []
        for number in range(3):
            own = ["--cluster-port", str(free_port()), "--cluster-config-file", f"nodes-{number}.conf"]
            options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "10000", *own]
            nodes.append(RedisServer(folder, options=options, password=PASSWORD))
            stack.callback(nodes[-1].stop)
        cluster = RedisCluster(nodes)
        cluster.form()
        yield cluster

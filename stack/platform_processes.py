"""The platform's own processes: servers, workers, web processes, and the migration that runs before them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from stack import loopback
from stack.options import CHECKOUT, RunFolder, StackError, StackOptions
from stack.state import State
from stack.supervision import Program

ANSWER_S: Final = 2.0
MIGRATIONS: Final = CHECKOUT / "core" / "storage" / "migrations" / "versions"
MIGRATE_S: Final = 600.0
MODULES: Final = {"server": "server", "web": "server.web"}  # of those that listen
SERVER_GRACE_S: Final = 30  # longer than server.drain_wait_ms + server.drain_grace_ms


def server_names(options: StackOptions) -> list[str]:
    """The names of the server processes."""
    return [f"server-{slot}" for slot in range(1, options.server_count + 1)]


def worker_names(options: StackOptions) -> list[str]:
    """The names of the worker processes."""
    return [f"worker-{slot}" for slot in range(1, options.worker_count + 1)]


def web_names(options: StackOptions) -> list[str]:
    """The names of the web processes."""
    return [f"web-{slot}" for slot in range(1, options.web_count + 1)]


def names(options: StackOptions) -> list[str]:
    """The names of all of them."""
    return server_names(options) + worker_names(options) + web_names(options)


def port_names(options: StackOptions) -> list[str]:
    """The names of the ports they listen on."""
    return server_names(options) + web_names(options) + [f"{name}-metrics" for name in names(options)]


def programs(folder: RunFolder, state: State) -> list[Program]:
    """Their processes."""
    python = (sys.executable, "-m")
    config = ("--config", str(folder.settings))
    made = []
    for name in names(state.options):
        kind, _, slot = name.partition("-")
        metrics = ("--metrics-port", str(state.ports[f"{name}-metrics"]), "--slot", slot)
        if kind in MODULES:
            command = (*python, MODULES[kind], *config, "--port", str(state.ports[name]), *metrics)
            made.append(Program(name=name, command=command, stop_grace_s=SERVER_GRACE_S))
        else:
            made.append(
                Program(name=name, command=(*python, "workers", *config, *metrics), stop_grace_s=SERVER_GRACE_S)
            )
    return made


def migrate(folder: RunFolder) -> None:
    """Brings the schema up to date; raises StackError with the output when that fails. Blocks for about a second."""
    command = [sys.executable, "-m", "admin", "migrate", "--config", str(folder.settings)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=MIGRATE_S, check=False)
    if done.returncode != 0:
        raise StackError(f"billow-admin migrate failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def migrations_digest() -> str:
    """Returns what tells one set of migrations from another."""
    digest = hashlib.sha256()
    for path in sorted(MIGRATIONS.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def answers(state: State, name: str) -> bool:
    """Tells whether a process is well: a server by grpc.health.v1, a web process by HTTP, a worker by its metrics."""
    if name.startswith("web-"):
        return loopback.get(state.ports[name], "/health") is not None
    if not name.startswith("server-"):
        return loopback.get(state.ports[f"{name}-metrics"], "/metrics") is not None
    with grpc.insecure_channel(f"127.0.0.1:{state.ports[name]}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=ANSWER_S)
        except grpc.RpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
